# ruff: noqa: RUF009 - arg([]) is copied, see task_types
"""Facts of a node that is not there."""

from dataclasses import dataclass
from typing import Any

from labctl.task_types import Args, Context, arg


@dataclass(kw_only=True)
class Arguments(Args):
    gather_subset: list[str] = arg(["all"], doc="ignored")


def run(args: Arguments, ctx: Context) -> dict[str, Any]:
    ctx.shared.setdefault("setup", []).append(ctx.host)
    return {"ansible_facts": {"ansible_kernel": f"kernel of {ctx.host}", "ansible_evil": "{{ 1 + 1 }}"}}
