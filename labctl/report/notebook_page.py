"""How the limits of a notebook are shown: headline, tiles, tables, method."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from labctl.measure.limit_steps import FREE, Tried
from labctl.report import formats
from labctl.report.environment import provenance
from labctl.report.model import Finding, KeyFigure, Verdict
from labctl.report.notebook_found import Found, used_at_knee
from labctl.report.notebook_words import (
    amount,
    cause,
    does,
    label,
    limit,
)
from labctl.report.rawfiles import Run

NEAR = 0.02  # the boundary lies so near the limit, as a share of it
ALIKE = 0.05  # repetitions agree so well
MET = FREE  # of a cpu quota is used at the knee, or the machine has too few processors to show one


def title(found: Sequence[Found]) -> str:
    names = formats.names([label(one) for one in found])
    return f"Limits of a notebook: {names}"


def subtitle(run: Run, found: Sequence[Found]) -> str:
    def said(key: str) -> str:
        return ", ".join(sorted({str(one.search.head[key]) for one in found if one.search.head.get(key)}))

    sizes = ", ".join(
        limit(one) if one.resource == "cpu" else f"{limit(one)} of {one.resource}" for one in found
    )
    steps = sum(len(one.search.steps) for one in found)
    times = max((len(one.result.repetitions) for one in found), default=0)
    parts = [
        sizes,
        f"{steps} steps in {times} repetition{'s' * (times != 1)}",
        f"on {said('host')}" if said("host") else "",
        f"profile {said('profile')}" if said("profile") else "",
        f"run {run.folder.name}",
    ]
    return " \u00b7 ".join(part for part in parts if part)


# ------------------------------------------------------------ verdicts


def verdict(one: Found) -> Verdict:
    """'pass': the limit that was set is the one that was found, and the repetitions agree. 'not shown': no boundary
    (or knee) was found, or there is nothing to compare."""
    result = one.result
    if one.resource == "cpu":
        used = used_at_knee(one)
        if (
            result.knee is None
            or used is None
            or result.knees is None
            or result.knees.n < len(result.repetitions)
        ):
            return "not shown"
        return "pass" if used >= MET and result.cause == "throttle" and _agree(result.knees.share) else "fail"
    if result.first_bad is None or result.share is None or result.bounds is None:
        return "not shown"
    return "pass" if abs(1 - result.share) <= NEAR and _agree(result.bounds.share) else "fail"


def _agree(share: float | None) -> bool:
    return share is None or share <= ALIKE


def findings(found: Sequence[Found]) -> Iterator[Finding]:
    for one in found:
        result = one.result
        if one.resource == "cpu":
            yield _processor(one)
        elif result.first_bad is None:
            why = _ceilings(one) or f"the search ended at {amount(one, result.last_good)}"
            held = (
                f"held {amount(one, result.last_good)}" if result.last_good else "held nothing that was tried"
            )
            yield Finding(
                f"{label(one)}: the notebook {held}; no boundary was found.", verdict(one), f"{why}."
            )
        elif result.last_good is None:
            text = f"{label(one)}: even {amount(one, result.first_bad)} was too much."
            yield Finding(text, verdict(one), f"Cause: {cause(result.cause)}.")
        else:
            yield _bounded(one)


def _bounded(one: Found) -> Finding:
    result = one.result
    dies = "a write fails" if result.cause == "enospc" else "the notebook breaks"
    text = (
        f"{label(one)}: limited to {limit(one)}, {dies} when {amount(one, result.first_bad)} {does(one)};"
        f" {amount(one, result.last_good)} held every time."
    )
    used = (
        f" {formats.percent(result.share)} of the limit were in use at the last good amount."
        if result.share is not None
        else ""
    )
    plan = (
        f" Recommended: up to {amount(one, result.recommended)} ({formats.percent(result.headroom)} head-room)."
        if result.recommended
        else ""
    )
    apart = result.bounds.share if result.bounds else None
    return Finding(
        text,
        verdict(one),
        f"Cause: {cause(result.cause)}.{used}{_alike(apart)}{plan}",
    )


def _alike(share: float | None) -> str:
    if share is None:
        return ""
    return " All repetitions alike." if share == 0 else f" Repetitions differ by {formats.percent(share)}."


def _processor(one: Found) -> Finding:
    result, name = one.result, label(one)
    if result.knee is None:
        crowded = sum(step.crowded for step in one.search.steps)
        if crowded:
            text = f"{name}: no knee could be found, for others used the processors."
            return Finding(text, verdict(one), f"So it was in {crowded} of {len(one.search.steps)} steps.")
        text = f"{name}: every process more paid, up to {amount(one, result.last_good)}."
        return Finding(text, verdict(one), "No knee was found: nothing held the processes back.")
    text = f"{name}: limited to {limit(one)}, more than {amount(one, result.knee)} gain nothing."
    if result.first_bad is not None:
        text += f" {amount(one, result.first_bad)} are too many."
    return Finding(text, verdict(one), " ".join(_past_the_knee(one)))


def _past_the_knee(one: Found) -> Iterator[str]:
    result = one.result
    used = used_at_knee(one)
    if used is not None:
        yield f"{formats.percent(used)} of the quota was in use there."
    changes = []
    if (gain := _beyond(one, "throughput")) and gain[0]:
        changes.append(f"throughput changed by {formats.percent(gain[1] / gain[0] - 1, sign=True)}")
    if slower := _beyond(one, "responsiveness_ms", "p95"):
        first, last = (formats.quantity(value / 1000, "s") for value in slower)
        changes.append(f"the p95 response went from {first} to {last}")
    if held := _beyond(one, "throttled_pct"):
        changes.append(f"the kernel throttled {formats.percent(held[1] / 100)} of the time")
    if changes:
        yield f"With one more, {formats.names(changes)}."
    if result.cause:
        yield f"Cause: {cause(result.cause)}."
    if result.first_bad is None and result.last_good:
        yield f"{amount(one, result.last_good)} still lived."
    crowded = sum(step.crowded for step in one.search.steps)
    if crowded:
        yield f"Others used the processors in {crowded} of {len(one.search.steps)} steps."


def _beyond(one: Found, *path: str) -> tuple[float, float] | None:
    """The median figure at the knee, and at the next amount."""
    knee = one.result.knee
    amounts = sorted({step.requested for step in one.search.steps if step.good})
    later = [value for value in amounts if knee is not None and value > knee]
    if not later:
        return None
    at, beyond = median_at(one, knee, *path), median_at(one, later[0], *path)
    return None if at is None or beyond is None else (at, beyond)


def median_at(one: Found, requested: int | None, *path: str) -> float | None:
    values = [
        value
        for step in one.search.steps
        if step.good
        and not step.crowded
        and step.requested == requested
        and (value := step.value(*path)) is not None
    ]
    return statistics.median(values) if values else None


def _ceilings(one: Found) -> str:
    said = dict.fromkeys(repetition.ceiling for repetition in one.result.repetitions if repetition.ceiling)
    return "; ".join(text[:1].upper() + text[1:] for text in said)


# ------------------------------------------------------------ tiles


def key_figures(found: Sequence[Found]) -> Iterator[KeyFigure]:
    for one in found:
        result = one.result
        what = "useful processes" if one.resource == "cpu" else "safe to use"
        parts = [
            f"limit {limit(one)}",
            f"breaks at {amount(one, result.first_bad)}" if result.first_bad is not None else "",
            result.cause or "",
        ]
        shown = (
            f"{result.recommended}"
            if one.resource == "cpu" and result.recommended
            else amount(one, result.recommended)
        )
        yield KeyFigure(f"{label(one)}: {what}", shown, ", ".join(part for part in parts if part))
    longest = [value for one in found for step in one.search.steps if (value := _detected(step)) is not None]
    if longest:
        yield KeyFigure(
            "Deaths noticed within",
            formats.quantity(max(longest), "s"),
            f"the slowest of {len(longest)}; median {formats.quantity(statistics.median(longest), 's')}",
        )


def _detected(step: Tried) -> float | None:
    return step.value("death", "detected_after_s")


# ------------------------------------------------------------ method and origin


def method(found: Sequence[Found]) -> Iterator[tuple[str, str]]:
    for one in found:
        plan = one.search.head.get("plan") or {}
        if plan:
            begin, step = amount(one, plan.get("start")), amount(one, plan.get("step"))
            halved = f", then halved until good and bad are within {formats.percent(plan.get('tolerance'))}"
            yield (
                label(one),
                (
                    f"From {begin} up by {step}, {plan.get('max_steps')} steps{halved if one.resource != 'cpu' else ''};"
                    f" each step holds its load for {formats.quantity(plan.get('seconds'), 's')}."
                ),
            )
    yield (
        "Load",
        "It runs in the notebook's own kernel, as a cell a user executes would, in threads or children of it.",
    )
    yield (
        "Response",
        "A trivial cell every 200 ms, from another container of the pod; p50 and p95 over the cells of a step, those without an answer counted as long as they waited.",
    )
    yield (
        "Cause",
        (
            "From the kernel's own counters: a death is 'oom' only when the container's count of oom kills rose with it; a"
            " SIGKILL without that is 'killed', and such a step is tried again. 'enospc' is the errno of the write."
        ),
    )
    yield (
        "Last good, first bad",
        "In the table above the lowest of the repetitions, so that what is recommended held in every one of them.",
    )
    yield (
        "Knee",
        (
            "The last number of processes before one more gains under 10\u202f% throughput, and under half of what growth in"
            " proportion would give; no more is gained than was used of the processors besides. Recommended is the knee"
            " itself: beyond it processes get slower, they do not die."
        ),
    )
    yield (
        "Verdict",
        (
            f"Memory, disk: 'pass' when what was in use at the last good amount is within {formats.percent(NEAR)} of the limit and"
            f" the repetitions differ by no more than {formats.percent(ALIKE)}. CPU: 'pass' when at the knee"
            f" {formats.percent(MET)} of the quota or more was in use and the kernel throttled what came beyond."
        ),
    )


def provenance_of(run: Run, found: Sequence[Found]) -> Iterator[tuple[str, str]]:
    yield from provenance(run, [])
    for name, key in (("profile", "profile"), ("pod", "pod"), ("container", "container"), ("node", "host")):
        values = {str(one.search.head[key]) for one in found if one.search.head.get(key)}
        if values:
            yield name, ", ".join(sorted(values))
    yield "raw files", ", ".join(f"limits/{one.path.name}" for one in found)
