"""Note figures of the run: shown after its recap as CUSTOM STATS, and kept in run.json.

Returns ansible_stats: data, per_host, aggregate.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from labctl.errors import TaskFailed
from labctl.task_types import Args, Context, arg

ON_CONTROLLER = True


@dataclass(kw_only=True)
class Arguments(Args):
    data: dict[str, Any] = arg(doc="The figures, by name.")
    per_host: bool = arg(False, doc="Keep them for this host, else for the run as a whole.")
    aggregate: bool = arg(True, doc="Add to what is there: numbers and texts are added, mappings merged.")


def run(args: Arguments, ctx: Context) -> dict[str, Any]:
    for name in args.data:
        if not str(name).isidentifier():
            raise TaskFailed(f"'{name}' is not a variable name: letters, digits and '_' only", mark=ctx.mark)
    kept: dict[str, dict[str, Any]] = ctx.shared.setdefault("set_stats", {})
    owner = kept.setdefault(ctx.host if args.per_host else "_run", {})
    for name, value in args.data.items():
        new = copy.deepcopy(value)
        owner[name] = _sum(owner[name], new) if args.aggregate and name in owner else new
    stats = {"data": dict(args.data), "per_host": args.per_host, "aggregate": args.aggregate}
    return {"ansible_stats": stats, "changed": False}


def _sum(old: Any, new: Any) -> Any:
    """Both together; values of different types cannot be, and the old one stays."""
    if isinstance(old, dict) and isinstance(new, dict):
        return {
            **old,
            **{
                key: _sum(old[key], value) if _both(old.get(key), value) else value
                for key, value in new.items()
            },
        }
    if type(old) is not type(new):
        return old
    return old + new


def _both(old: Any, new: Any) -> bool:
    return isinstance(old, dict) and isinstance(new, dict)
