"""Add a host to the inventory of this run, for later plays; arguments of other names are its variables.

Runs once for all hosts of a play. Returns add_host (host_name, groups, host_vars).
"""

from dataclasses import dataclass
from typing import Any

from labctl.errors import TaskFailed
from labctl.inventory.names import split_port
from labctl.task_types import Args, Context, arg

ON_CONTROLLER = True
RUN_ONCE = True


@dataclass(kw_only=True)
class Arguments(Args):
    name: str | None = arg(None, doc="The host's name, or name:port.", aliases=["hostname"])
    host: str | None = arg(None, doc="As name; it is a variable of the host as well.")
    groups: Any = arg(None, doc="Groups to put it into, made where there are none.", aliases=["groupname"])
    group: Any = arg(None, doc="As groups; it is a variable of the host as well.")

    any_name = True
    required_one_of = (("name", "host"),)


def run(args: Arguments, ctx: Context) -> dict[str, Any]:
    given = args.name or args.host
    if not given:
        raise TaskFailed("the name of the host to add is empty")
    name, port = split_port(given)
    groups = _groups(args.groups or args.group or [])
    variables = dict(args.others)
    variables |= {key: value for key, value in (("host", args.host), ("group", args.group)) if value}
    if port is not None:
        variables["ansible_ssh_port"] = port
    changed = ctx.add_host(name, groups, variables)
    return {"add_host": {"host_name": name, "groups": groups, "host_vars": variables}, "changed": changed}


def _groups(given: Any) -> list[str]:
    if not isinstance(given, str | list):
        raise TaskFailed("groups must be a list of names, or names with commas between them")
    names = given.split(",") if isinstance(given, str) else given
    return list(dict.fromkeys(name for each in names if (name := str(each).strip())))
