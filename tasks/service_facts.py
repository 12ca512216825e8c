"""Gather the host's services. Returns ansible_facts.services: by name their state, status and source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from labctl.task_types import Args, Context


@dataclass(kw_only=True)
class Arguments(Args):
    pass


def run(args: Arguments, ctx: Context) -> dict[str, Any]:
    told = ctx.node.call("inventories", "services")
    for problem in told["problems"]:
        ctx.warn(problem)
    if not told["services"]:
        return {
            "skipped": True,
            "msg": "Failed to find any services. This can be due to privileges or some other configuration issue.",
        }
    return {"ansible_facts": {"services": told["services"]}, "changed": False}
