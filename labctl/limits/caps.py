"""What a search may try on a node without taking the node down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labctl.limits.plan import MEBIBYTE, Plan
from labctl.records import dataclass

MEMORY_RESERVE = 256 * MEBIBYTE
DISK_RESERVE = 256 * MEBIBYTE
RESERVE_SHARE = 0.05  # of all the node has, where that is more
BEYOND = 2  # nothing is tried above so many times the container's own limit


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The largest amount to try, and what it is that could not take more; None where the container's own limit
    ends the search before the node is in danger."""

    amount: int
    why: str | None = None


def ceiling_of(plan: Plan, capacity: Mapping[str, Any]) -> Ceiling:
    """The ceiling by what the node says it has. `capacity`: `limits` {cpu (cores), memory, disk (bytes)} of the
    container, and of the node `mem_available`, `mem_total`, `disk_free`, `disk_total` (bytes), null where unknown."""
    if plan.resource == "cpu":
        return Ceiling(plan.start + plan.step * (plan.max_steps - 1))
    limit = _number((capacity.get("limits") or {}).get(plan.resource))
    if plan.resource == "memory":
        held = _number(capacity.get("memory_usage")) or 0
        free, total, reserve = (
            _number(capacity.get("mem_available")),
            _number(capacity.get("mem_total")),
            MEMORY_RESERVE,
        )
    else:
        held = _number(capacity.get("disk_held")) or 0
        free, total, reserve = (
            _number(capacity.get("disk_free")),
            _number(capacity.get("disk_total")),
            DISK_RESERVE,
        )
    own = None if limit is None else limit * BEYOND
    if free is None:
        if own is None:
            raise ValueError(f"neither the container's {plan.resource} limit nor what the node has is known")
        return Ceiling(own)
    spare = max(0, free - max(reserve, int((total or 0) * RESERVE_SHARE)))
    if limit is not None and own is not None and spare >= limit - held:
        return Ceiling(own)
    kind = "memory available" if plan.resource == "memory" else "of its disk free"
    return Ceiling(
        spare // plan.quantum * plan.quantum,
        f"the node has only {free // MEBIBYTE} MiB {kind}, of which {(free - spare) // MEBIBYTE} MiB are left to it",
    )


def _number(value: object) -> int | None:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
