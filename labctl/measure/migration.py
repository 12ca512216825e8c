"""Figures of one migration from its raw files: downtime, progress regained, work done twice, phases.

Times are seconds since the epoch on the controller's clock.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from labctl.measure.recording import Recording, entries
from labctl.measure.series import Measured, Window, cpu_seconds


@dataclass(frozen=True, slots=True)
class Probe:
    """One question, sent at `t`. `ms` (good ones): until the whole answer was there."""

    t: float
    ok: bool
    ms: float | None = None
    step: int | None = None
    completed: frozenset[str] = frozenset()
    boot: str | None = None
    error: str | None = None

    @property
    def answered(self) -> float:
        """When the answer was there."""
        return self.t + (self.ms or 0.0) / 1000


@dataclass(frozen=True, slots=True)
class Probes:
    """One `probe.jsonl`; `period` and `timeout` in seconds, `end` the prober's own account or None."""

    period: float
    timeout: float
    probes: tuple[Probe, ...]
    end: Mapping[str, Any] | None


def read_probes(lines: Iterable[str], *, offset: float = 0.0) -> Probes:
    """Read the lines of a probe file. `offset`: the probing host's wall clock minus the controller's (s).
    ValueError when there is no header."""
    header: dict[str, Any] = {}
    end = None
    raw = []
    for entry in entries(lines):
        if entry["type"] == "header":
            header = entry
        elif entry["type"] == "end":
            end = entry
        else:
            raw.append(entry)
    if not header:
        raise ValueError("the probe file has no header line")
    anchor = statistics.median(e["wall"] - e["mono"] for e in raw) - offset if raw else 0.0
    probes = tuple(
        Probe(
            t=e["mono"] + anchor,
            ok=e["ok"],
            ms=e.get("ms"),
            step=e.get("step"),
            completed=frozenset(e.get("completed") or ()),
            boot=e.get("boot"),
            error=e.get("error"),
        )
        for e in sorted(raw, key=lambda e: int(e["n"]))
    )
    return Probes(header["period"], header["timeout"], probes, end)


@dataclass(frozen=True, slots=True)
class Downtime:
    """The longest outage. `seconds`: from the last good probe before it to the first good one after it
    (both as sent), 0 when no probe failed; None with a reason when an end of it was not seen, and then it
    was at least `at_least`. `outage`: that interval. `failed`: probes in it that failed. `silence`: the longest
    time (s) between two answers: a service that stood still for less than the probe's timeout fails no
    probe, but is silent. `resolution`: two probes are this far apart (s)."""

    seconds: float | None
    at_least: float
    outage: Window | None
    failed: int
    silence: float | None
    resolution: float
    reason: str | None = None


def downtime(probes: Probes, started: float, until: float | None) -> Downtime:
    """The longest outage that ended after `started` and whose first failed probe was sent by `until` (the last
    probe where that is None)."""
    seen = probes.probes
    if until is None:
        until = seen[-1].t if seen else started
    worst = Downtime(0.0, 0.0, None, 0, silence(probes, Window(started, until)), probes.period)
    if not seen:
        return Downtime(None, 0.0, None, 0, None, probes.period, "nothing was probed")
    i = 0
    while i < len(seen):
        if seen[i].ok:
            i += 1
            continue
        j = i
        while j < len(seen) and not seen[j].ok:
            j += 1
        before = seen[i - 1].t if i else None
        after = seen[j].t if j < len(seen) else None
        outage = Window(seen[i].t if before is None else before, seen[j - 1].t if after is None else after)
        if outage.end > started and seen[i].t <= until and outage.seconds >= worst.at_least:
            reason = None
            if before is None:
                reason = "the service had not answered before"
            elif after is None:
                reason = "the service did not answer again while it was probed"
            length = None if reason else outage.seconds
            worst = Downtime(length, outage.seconds, outage, j - i, worst.silence, probes.period, reason)
        i = j
    return worst


def silence(probes: Probes, window: Window) -> float | None:
    """The longest time (s) without any answer that overlaps the window; None for fewer than two answers."""
    answers = sorted(probe.answered for probe in probes.probes if probe.ok)
    spans = [b - a for a, b in pairwise(answers) if b > window.start and a < window.end]
    return max(spans, default=None)


def regained(probes: Probes, step: int, completed: Collection[str], not_before: float) -> Measured:
    """The first moment (s since the epoch, when its answer was there) a probe sent at `not_before` or later
    reads a step >= `step` with all of `completed` complete again. `not_before`: when the source had stopped
    making progress; before that the source itself would answer. `bound`: one probe period."""
    wanted = frozenset(completed)
    for probe in probes.probes:
        if probe.ok and probe.t >= not_before and (probe.step or 0) >= step and wanted <= probe.completed:
            return Measured(probe.answered, bound=probes.period)
    return Measured(None, f"step {step} was not reached again while the service was probed")


def cpu_until_regained(
    recordings: Sequence[Recording], containers: Sequence[str], started: float, regained: float | None
) -> Measured:
    """CPU seconds of all the pod's containers, on source and target together, from `started` until
    `regained`; None with a reason when progress was not regained."""
    if regained is None:
        return Measured(None, "progress was not regained")
    return cpu_seconds(recordings, containers, Window(started, regained))


@dataclass(frozen=True, slots=True)
class Step:
    """One training step: its number, the state's sha256 before and after it. `wall`: when it was done, on the
    clock of `host`."""

    step: int
    from_state: str
    to_state: str
    wall: float
    boot: str
    host: str | None


def read_steps(lines: Iterable[str]) -> list[Step]:
    """The `step` events of a `steps.jsonl`, in the order written."""
    return [
        Step(int(e["step"]), e["from"], e["to"], e["wall"], e["boot"], e.get("host"))
        for e in entries(lines)
        if e.get("event") == "step"
    ]


def steps_redone(steps: Sequence[Step], since: float = 0.0) -> int:
    """How many steps done at `since` or later had been done before: work paid for twice."""
    done: set[int] = set()
    redone = 0
    for step in steps:
        redone += step.wall >= since and step.step in done
        done.add(step.step)
    return redone


def pause(steps: Sequence[Step], window: Window, offsets: Mapping[str, float]) -> Measured:
    """The longest time (s) between two neighbouring steps that overlaps the window, wherever they were done and
    whatever their numbers: how long the training stood still, also while the service answered. `offsets`: each
    host's wall clock minus the controller's (s). None when no step was seen on either side of it."""
    times = sorted(step.wall - offsets.get(step.host or "", 0.0) for step in steps)
    if not times or times[0] > window.start:
        return Measured(None, "no step was logged before the migration")
    if times[-1] <= window.start:
        return Measured(None, "no step was logged after the migration began")
    return Measured(max(b - a for a, b in pairwise(times) if b > window.start and a < window.end))


@dataclass(frozen=True, slots=True)
class Continuity:
    """Whether training went on where it stood. `breaks`: steps that did not start from the state the step
    before them in the log had reached (a restart from an older state, or from nothing)."""

    continued: bool
    breaks: tuple[int, ...]


def continuity(steps: Sequence[Step]) -> Continuity:
    """Follow the chain of state hashes through the log: every step must begin with the hash its
    predecessor ended with."""
    breaks = tuple(
        after.step
        for before, after in pairwise(steps)
        if after.from_state != before.to_state or after.step != before.step + 1
    )
    return Continuity(not breaks, breaks)
