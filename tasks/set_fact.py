"""Set variables of the host for the rest of the run. Arguments are their names; a name may be a template.

Returns ansible_facts.
"""

from dataclasses import dataclass
from typing import Any

from labctl.errors import TaskFailed
from labctl.task_types import Args, Context, arg
from labctl.variables import is_template

ON_CONTROLLER = True
COMPUTES = True


@dataclass(kw_only=True)
class Arguments(Args):
    cacheable: bool = arg(False, doc="Keep them with the host's facts.")

    any_name = True


def run(args: Arguments, ctx: Context) -> dict[str, Any]:
    if not args.others:
        raise TaskFailed("it needs at least one variable to set")
    facts: dict[str, Any] = {}
    for key, value in args.others.items():
        name = ctx.template(key) if is_template(key) else str(key)
        if not name.isidentifier():
            raise TaskFailed(f"'{name}' is not a variable name: letters, digits and '_' only", mark=ctx.mark)
        facts[name] = value
    return {"ansible_facts": facts, "_ansible_facts_cacheable": args.cacheable, "changed": False}
