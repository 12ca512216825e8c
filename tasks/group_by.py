"""Put the host into a group named after what is known of it, for later plays.

Returns add_group and parent_groups.
"""

from dataclasses import dataclass
from typing import Any

from labctl.task_types import Args, Context, arg

ON_CONTROLLER = True


@dataclass(kw_only=True)
class Arguments(Args):
    key: str = arg(doc="The group's name; blanks become '-'.")
    parents: list[str] = arg(["all"], doc="Groups to put that group into.")


def run(args: Arguments, ctx: Context) -> dict[str, Any]:
    group = args.key.replace(" ", "-")
    parents = [name.replace(" ", "-") for name in args.parents]
    changed = ctx.add_group(group, parents)
    return {"add_group": group, "parent_groups": parents, "changed": changed}
