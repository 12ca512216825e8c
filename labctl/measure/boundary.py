"""Where something stops working: boundary, knee, head-room and spread, from what was tried. Pure arithmetic."""

from __future__ import annotations

import itertools
import operator
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

OUTSIDE = frozenset({"killed", "controller lost"})  # ended by someone else: says nothing of the limit
TRIES = 2  # so often an amount is tried before what ends it from outside counts as well
KNEE_GAIN = 0.10  # more than a step may gain because another was crowded (limit_steps.FREE)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One amount that was tried (bytes, processes). `cause` says why it was bad. `crowded`: it was good, and others
    took so much of the processors that its figures say nothing."""

    amount: int
    good: bool
    cause: str | None = None
    crowded: bool = False


@dataclass(frozen=True, slots=True)
class Boundary:
    """The largest amount below which all was good, and the smallest that was bad with its cause. None where
    there was none: nothing was bad, or nothing good."""

    last_good: int | None
    first_bad: int | None
    cause: str | None = None


@dataclass(frozen=True, slots=True)
class Spread:
    """How repetitions agree. `share` is (highest - lowest) / median, None for fewer than two values."""

    n: int
    median: float
    low: float
    high: float
    share: float | None


def counted(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Those that tell something of the limit, in order: a step that somebody outside ended is left out unless
    the same amount was ended so TRIES times."""
    ended = Counter(one.amount for one in outcomes if not one.good and one.cause in OUTSIDE)
    return [one for one in outcomes if one.good or one.cause not in OUTSIDE or ended[one.amount] >= TRIES]


def boundary(outcomes: Sequence[Outcome]) -> Boundary:
    """What a search found. Where an amount above a bad one was good, the lower bad one still counts: what may
    fail is no amount to recommend."""
    known = counted(outcomes)
    bad = min((one for one in known if not one.good), key=lambda one: one.amount, default=None)
    below = [one.amount for one in known if one.good and (bad is None or one.amount < bad.amount)]
    return Boundary(max(below, default=None), bad.amount if bad else None, bad.cause if bad else None)


def knee(points: Sequence[tuple[int, float, float | None]]) -> int | None:
    """The last number of workers before one more stopped paying: (workers, work per second, processors used) in any
    order, the last None where it is unknown. None when each one paid, or fewer than two numbers were measured.

    The next number does not pay when throughput gains under KNEE_GAIN and under half of what growth in proportion
    would have given (ten workers that scale gain 10 % from the eleventh, too). No more is gained than was used of the
    processors besides: what a clock that rose between two steps brings is no gain of the workers."""
    ordered = sorted(points, key=operator.itemgetter(0))
    for (fewer, before, little), (more, after, much) in itertools.pairwise(ordered):
        if before <= 0 or fewer <= 0:
            continue
        gain, proportional = after / before - 1, more / fewer - 1
        if little and much is not None:
            gain = min(gain, much / little - 1)
        if gain < KNEE_GAIN and gain < proportional / 2:
            return fewer
    return None


def recommended(last_good: int, headroom: float, quantum: int = 1) -> int:
    """What to plan with: `last_good` less a share of head-room, in whole quanta, never less than one."""
    return max(quantum, int(last_good * (1 - headroom)) // quantum * quantum)


def spread(values: Sequence[float]) -> Spread | None:
    """None without values."""
    if not values:
        return None
    middle, low, high = statistics.median(values), min(values), max(values)
    share = (high - low) / middle if len(values) > 1 and middle else None
    return Spread(len(values), middle, low, high, share)
