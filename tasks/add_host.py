"""Add a host to the inventory of this run, for later plays.

Arguments of other names are its variables. Runs once for all hosts of a play. Returns add_host (host_name, groups, host_vars).
"""

from dataclasses import dataclass
from typing import Any

from labctl.errors import TaskFailed
from labctl.inventory.names import split_port
from labctl.task_types import Args, Context, arg

ON_CONTROLLER = True
RUN_ONCE = True

_NO_VARIABLES = ("name", "hostname", "groups", "groupname")


@dataclass(kw_only=True)
class Arguments(Args):
    name: str | None = arg(None, doc="The host's name, or name:port.", aliases=["hostname"])
    host: str | None = arg(None, doc="As name; it is a variable of the host as well.")
    groups: Any = arg(None, doc="Groups to put it into, made where there are none.", aliases=["groupname"])
    group: Any = arg(None, doc="As groups; it is a variable of the host as well.")
    raw_params: Any = arg(None, doc="A mapping with all of these, as one template.", free_form=True)

    any_name = True


def run(args: Arguments, ctx: Context) -> dict[str, Any]:
    values = {**_mapping(args.raw_params), **args.others}
    named = {"name": args.name, "host": args.host, "groups": args.groups, "group": args.group}
    values |= {key: value for key, value in named.items() if value is not None}
    given = values.get("name", values.get("hostname", values.get("host")))
    if not given:
        raise TaskFailed("name, host or hostname needs to be provided")
    name, port = split_port(str(given))
    groups = _groups(values.get("groupname", values.get("groups", values.get("group"))) or [])
    variables = {key: value for key, value in values.items() if key not in _NO_VARIABLES}
    if port is not None:
        variables["ansible_ssh_port"] = port
    changed = ctx.add_host(name, groups, variables)
    return {"add_host": {"host_name": name, "groups": groups, "host_vars": variables}, "changed": changed}


def _mapping(given: Any) -> dict[str, Any]:
    if given is not None and not isinstance(given, dict):
        raise TaskFailed("what is given as a whole must be a mapping of names to values")
    return given or {}


def _groups(given: Any) -> list[str]:
    if not isinstance(given, str | list):
        raise TaskFailed("groups must be a list of names, or names with commas between them")
    names = given.split(",") if isinstance(given, str) else given
    return list(dict.fromkeys(name for each in names if (name := str(each).strip())))
