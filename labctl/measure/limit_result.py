"""What a search for a limit came to: the boundary of each repetition, and what they say together."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from labctl.measure.boundary import Boundary, Spread, boundary, knee, recommended, spread
from labctl.measure.limit_steps import THROTTLED, Search, Tried


@dataclass(frozen=True, slots=True)
class Repetition:
    """One repetition. `last` and `first` are the steps at its boundary: the one that reached the last good amount,
    and the one at the first bad. `knee`: workers, cpu alone. `ceiling`: why it went no further."""

    number: int
    steps: tuple[Tried, ...]
    boundary: Boundary
    last: Tried | None
    first: Tried | None
    knee: int | None
    ceiling: str | None

    @property
    def share(self) -> float | None:
        """What was in use of the limit at the last good amount, as a share."""
        return self.last.in_use if self.last else None


@dataclass(frozen=True, slots=True)
class Result:
    """`last_good` and `first_bad`: the lowest of the repetitions, so that what is recommended held in all.
    `bounds`: how the repetitions' last good amounts agree, `knees` their knees; `share`: the median over them of what
    was used of the limit at the last good amount. `cause`: of the first bad amounts, the most frequent; for a cpu
    that only got slower 'throttle'. `recommended` None: nothing was good."""

    resource: str
    unit: str
    repetitions: tuple[Repetition, ...]
    last_good: int | None
    first_bad: int | None
    cause: str | None
    bounds: Spread | None
    share: float | None
    knee: int | None
    knees: Spread | None
    recommended: int | None
    headroom: float

    def as_data(self) -> dict[str, Any]:
        """For report.json and what `find_limit` returns."""
        return {
            "resource": self.resource,
            "unit": self.unit,
            "last_good": self.last_good,
            "first_bad": self.first_bad,
            "cause": self.cause,
            "share_of_limit": self.share,
            "knee": self.knee,
            "recommended": self.recommended,
            "headroom": self.headroom,
            "spread": _spread(self.bounds),
            "knee_spread": _spread(self.knees),
            "repetitions": [
                {
                    "repetition": one.number,
                    "steps": len(one.steps),
                    "last_good": one.boundary.last_good,
                    "first_bad": one.boundary.first_bad,
                    "cause": one.boundary.cause,
                    "share_of_limit": one.share,
                    "knee": one.knee,
                    "ceiling": one.ceiling,
                }
                for one in self.repetitions
            ],
        }


def result_of(search: Search) -> Result:
    """Reduce a journal. Figures that no step bears out are None."""
    plan = search.head.get("plan") or {}
    found = tuple(_repetition(search, number) for number in search.repetitions)
    goods = [one.boundary.last_good for one in found if one.boundary.last_good is not None]
    bads = [one.boundary.first_bad for one in found if one.boundary.first_bad is not None]
    causes = [one.boundary.cause for one in found if one.boundary.cause is not None]
    shares = [one.share for one in found if one.share is not None]
    knees = [one.knee for one in found if one.knee is not None]
    last_good = min(goods, default=None)
    bent = min(knees, default=None)
    useful = last_good if bent is None or last_good is None else min(bent, last_good)
    headroom = float(plan.get("headroom") or 0.0)
    return Result(
        search.resource,
        str(plan.get("unit") or "bytes"),
        found,
        last_good,
        min(bads, default=None),
        statistics.mode(causes) if causes else _held_back(found, knees),
        spread(goods),
        statistics.median(shares) if shares else None,
        bent,
        spread(knees),
        _recommended(search, useful, bent, headroom, int(plan.get("quantum") or 1)),
        headroom,
    )


def _spread(found: Spread | None) -> dict[str, float | None] | None:
    if found is None:
        return None
    return {"n": found.n, "median": found.median, "low": found.low, "high": found.high, "share": found.share}


def _recommended(
    search: Search, useful: int | None, bent: int | None, headroom: float, quantum: int
) -> int | None:
    """Of processes the knee itself: they are held back beyond it, they do not die there. None where there may be one
    that a crowded machine did not show."""
    if useful is None or (bent is None and any(step.crowded for step in search.steps)):
        return None
    return useful if search.resource == "cpu" else recommended(useful, headroom, quantum)


def _repetition(search: Search, number: int) -> Repetition:
    steps = search.of(number)
    found = boundary([step.outcome for step in steps])
    last = [step for step in steps if step.good and step.requested == found.last_good]
    first = [step for step in steps if not step.good and step.requested == found.first_bad]
    bent = knee(_worked(steps)) if search.resource == "cpu" else None
    said = search.note("ceiling", repetition=number)
    return Repetition(
        number,
        tuple(steps),
        found,
        last[-1] if last else None,
        first[-1] if first else None,
        bent,
        str(said["why"]) if said else None,
    )


def _worked(steps: Sequence[Tried]) -> list[tuple[int, float, float | None]]:
    """(amount, work per second, processors used) of good steps, medians where an amount was tried more than once; up to
    the first amount that was crowded each time, for a knee is one only where all before it is known."""
    known: dict[int, list[tuple[float, float | None]]] = {step.requested: [] for step in steps if step.good}
    for step in steps:
        value = step.value("throughput")
        if step.good and not step.crowded and value is not None:
            known[step.requested].append((value, step.value("usage")))
    ordered = itertools.takewhile(lambda amount: known[amount], sorted(known))
    return [(amount, *_medians(known[amount])) for amount in ordered]


def _medians(measured: Sequence[tuple[float, float | None]]) -> tuple[float, float | None]:
    used = [use for _work, use in measured if use is not None]
    return statistics.median(work for work, _use in measured), statistics.median(used) if used else None


def _held_back(found: Sequence[Repetition], knees: Sequence[int]) -> str | None:
    """'throttle' when, past the knee, a quota held the workers back; None when nothing says so."""
    if not knees:
        return None
    held = [
        step.value("throttled_pct")
        for one in found
        if one.knee is not None
        for step in one.steps
        if step.good and not step.crowded and step.requested > one.knee
    ]
    known = [value for value in held if value is not None]
    return "throttle" if known and statistics.median(known) >= THROTTLED else None
