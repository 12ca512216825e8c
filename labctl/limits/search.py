"""Which amount to try next: a ramp until something breaks, then halving what lies between good and bad.

A pure function of what was tried, so a search goes on after an interruption from its journal alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal

from labctl.limits.plan import Plan
from labctl.measure.boundary import Outcome, boundary
from labctl.records import dataclass

CROWDED_TRIES = 3  # so often a step is made that others leave too little of the processors

Phase = Literal["ramp", "bisect"]


@dataclass(frozen=True, slots=True)
class Attempt:
    amount: int
    phase: Phase


def next_attempt(plan: Plan, ceiling: int | None, outcomes: Sequence[Outcome]) -> Attempt | None:
    """What one repetition tries next after these outcomes; None when it is done. Nothing above `ceiling` is tried
    (None: there is none). What somebody outside ended is tried again, as `measure.boundary.counted` says, and what was
    crowded up to CROWDED_TRIES times."""
    found = boundary(outcomes)
    if found.first_bad is None:
        settled = {one.amount for one in outcomes if one.good and not one.crowded}
        crowded = Counter(one.amount for one in outcomes if one.crowded)
        settled |= {amount for amount, times in crowded.items() if times >= CROWDED_TRIES}
        reached = max(settled, default=None)
        amount = next((a for a in ramp(plan, ceiling) if reached is None or a > reached), None)
        return None if amount is None else Attempt(amount, "ramp")
    low, high = found.last_good or 0, found.first_bad
    if high - low <= plan.resolution(high):
        return None
    middle = (low + (high - low) // 2) // plan.quantum * plan.quantum
    if ceiling is not None:
        middle = min(middle, ceiling)
    return Attempt(middle, "bisect") if low < middle < high else None


def ramp(plan: Plan, ceiling: int | None) -> Iterator[int]:
    """The amounts of the ramp in order; the ceiling is its last where it lies below the ramp's own end."""
    amount, step, number = plan.start, plan.step, 1
    while ceiling is None or amount < ceiling:
        yield amount
        number += 1
        if number > plan.max_steps:
            if not plan.extends or ceiling is None:
                return
            step *= 2
        amount += step
    if ceiling is not None and ceiling >= plan.quantum:
        yield ceiling
