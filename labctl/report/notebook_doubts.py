"""What the raw files say of what a limit promises, and what to know before believing them."""

from __future__ import annotations

from collections.abc import Sequence

from labctl.measure.boundary import OUTSIDE
from labctl.measure.limit_steps import FREE, Tried
from labctl.report import formats
from labctl.report.environment import one_machine
from labctl.report.model import Claim
from labctl.report.notebook_found import Found
from labctl.report.notebook_page import ALIKE, NEAR
from labctl.report.notebook_words import amount, label
from labctl.report.rawfiles import Run

NOTICED = 1.0  # seconds from a death until it is known


def claims_of(found: Sequence[Found]) -> list[Claim]:
    claims = [
        claim for one in found if one.resource != "cpu" for claim in (_honoured(one), _repeats(one)) if claim
    ]
    claims += [_held_back(one) for one in found if one.resource == "cpu"]
    claims += [_noticed(found), _lived_on(found)]
    return claims


def _honoured(one: Found) -> Claim:
    result = one.result
    text = f"{label(one)}: the boundary lies within {formats.percent(NEAR)} of the container's limit"
    if result.first_bad is None or result.share is None:
        return Claim(text, None, "No boundary was found.")
    shares = [formats.percent(r.share) for r in result.repetitions if r.share is not None]
    return Claim(
        text,
        abs(1 - result.share) <= NEAR,
        f"In use at the last good amount: {formats.names(shares)} of the limit.",
    )


def _repeats(one: Found) -> Claim:
    text = f"{label(one)}: the repetitions agree within {formats.percent(ALIKE)}"
    bounds = one.result.bounds
    if bounds is None or bounds.share is None:
        return Claim(text, None, "There are fewer than two repetitions with a boundary.")
    goods = [amount(one, r.boundary.last_good) for r in one.result.repetitions]
    return Claim(text, bounds.share <= ALIKE, f"Last good: {formats.names(goods)}.")


def _held_back(one: Found) -> Claim:
    text = f"{label(one)}: the kernel throttles what goes beyond the quota"
    knee = one.result.knee
    beyond = [
        value
        for step in one.search.steps
        if step.good
        and not step.crowded
        and knee is not None
        and step.requested > knee
        and (value := step.value("throttled_pct")) is not None
    ]
    if not beyond:
        return Claim(text, None, "No step beyond a knee was measured.")
    seen = f"{formats.percent(min(beyond) / 100)} to {formats.percent(max(beyond) / 100)} of the time beyond the knee"
    crowded = any(step.crowded for step in one.search.steps)
    holds = True if one.result.cause == "throttle" else None if crowded else False
    return Claim(text, holds, f"Throttled {seen}{', and others used the processors' if crowded else ''}.")


def _noticed(found: Sequence[Found]) -> Claim:
    text = f"Every death was noticed within {formats.quantity(NOTICED, 's')}, with its cause"
    died = [step for one in found for step in one.search.steps if step.death is not None]
    if not died:
        return Claim(text, None, "Nothing died.")
    times = [value for step in died if (value := step.value("death", "detected_after_s")) is not None]
    named = [step for step in died if step.death and step.death.get("cause")]
    if not times:
        return Claim(text, None, "How long it took was not recorded.")
    seen = f"{len(died)} deaths, noticed after {formats.span(min(times), max(times), 's')}; {len(named)} with a cause."
    return Claim(text, len(times) == len(named) == len(died) and max(times) <= NOTICED, seen)


def _lived_on(found: Sequence[Found]) -> Claim:
    """From what the node ran before and after each search: `neighbours` notes hold {name: id of its first process}."""
    text = "The node and its other containers live on"
    gone: list[str] = []
    seen: set[str] = set()
    for one in found:
        before, after = (one.search.note("neighbours", when=when) for when in ("before", "after"))
        if before is None or after is None:
            return Claim(text, None, f"{label(one)}: what ran on the node was not recorded before and after.")
        if before.get("boot") != after.get("boot"):
            gone.append("the node was started again")
        earlier, later = before.get("containers") or {}, after.get("containers") or {}
        seen |= set(earlier)
        gone += [name for name, process in earlier.items() if later.get(name) != process]
    if gone:
        return Claim(text, False, f"Not the same afterwards: {formats.names(sorted(set(gone)))}.")
    names = formats.names(sorted(seen)) or "no other container"
    return Claim(text, True, f"The same boot, the same processes before and after: {names}.")


def doubts_of(run: Run, found: Sequence[Found]) -> list[str]:
    doubts = [text for one in found for text in _of_search(one)]
    doubts += _unmeasured([step for one in found for step in one.search.steps])
    if one_machine(run):
        doubts.append(
            "All nodes share one machine and one kernel: what runs on the others competes for its CPUs, which the"
            " throughput and response of a step show."
        )
    if run.head.get("exit_code") not in (0, None):
        doubts.append(f"The run did not end well (exit code {run.head['exit_code']}).")
    return doubts


def _of_search(one: Found) -> list[str]:
    name, steps, head = label(one), one.search.steps, one.search.head
    doubts = []
    if head.get("oom_group_asked") and not head.get("oom_group"):
        doubts.append(
            f"{name}: the node cannot kill a container as a whole, so lack of memory ended single processes."
        )
    outside = [step for step in steps if step.cause in OUTSIDE]
    if outside:
        what = formats.names(sorted({str(step.cause) for step in outside}))
        doubts.append(
            f"{name}: {len(outside)} step{'s' * (len(outside) != 1)} ended from outside ({what}); such an amount is tried again."
        )
    crowded = [step for step in steps if step.crowded]
    if crowded:
        doubts.append(
            f"{name}: in {len(crowded)} of {len(steps)} steps others used the processors: the notebook got under"
            f" {formats.percent(FREE)} of what it could have used, or no more than its quota without being throttled. No knee is"
            " taken from them."
        )
    doubts += [
        f"{name}, repetition {repetition.number}: the search stopped early, {repetition.ceiling}."
        for repetition in one.result.repetitions
        if repetition.ceiling
    ]
    wanted = (head.get("plan") or {}).get("repetitions")
    if isinstance(wanted, int) and len(one.result.repetitions) < wanted:
        doubts.append(f"{name}: {len(one.result.repetitions)} of {wanted} repetitions were made.")
    swapped = [value for step in steps if (value := step.value("swap_used"))]
    if swapped:
        doubts.append(
            f"{name}: up to {formats.quantity(max(swapped), 'B')} were swapped out, so more than the limit fits."
        )
    if one.search.unreadable:
        doubts.append(f"{name}: {one.search.unreadable} lines of the journal could not be read.")
    return doubts


def _unmeasured(steps: Sequence[Tried]) -> list[str]:
    """Figures without a value, with the reason the node gave."""
    reasons: dict[str, None] = {}
    for step in steps:
        if reason := (step.record or {}).get("psi_reason"):
            reasons[f"Pressure (PSI) has no value: {reason}."] = None
    return list(reasons)
