"""Was the machine quiet while something was measured? Each disturbance as a value beside its threshold.

Thresholds follow benchexec's and pyperf's guidance (steal, swap, foreign load, lost samples make a run
suspect). CPU limits of the containers are part of the treatment, so throttling is shown, and raised only
where a threshold is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from labctl.measure.load import Load, cpu_known
from labctl.measure.recording import Recording, Sample
from labctl.measure.series import Window, cpu_seconds, increases

# seconds: within it the monotonic clocks of two nodes began at one moment, and so are one kernel's
ONE_KERNEL = 0.01


@dataclass(frozen=True, slots=True)
class Thresholds:
    """A flag is raised when its value is above; None: shown only."""

    steal: float | None = 0.02
    foreign: float | None = 0.10
    throttled: float | None = None
    swap: float | None = 0.0
    late: float | None = 0.05
    clock: float | None = 0.005
    oom: float | None = 0.0


@dataclass(frozen=True, slots=True)
class Flag:
    """One disturbance. `value` None: not known, for `reason`. `host`: where it was worst."""

    name: str
    value: float | None
    unit: str
    threshold: float | None
    host: str | None = None
    reason: str | None = None

    @property
    def raised(self) -> bool:
        return self.value is not None and self.threshold is not None and self.value > self.threshold


def noise(
    recordings: Sequence[Recording],
    containers: Sequence[str],
    window: Window,
    thresholds: Thresholds | None = None,
    loads: Sequence[Load] = (),
) -> list[Flag]:
    """Every check over a window, the worst host for each. `containers` are those being measured, `loads` those that
    were asked for; nodes that
    share a kernel (their monotonic clocks began at one moment: the embedded lab, where LXC gives
    every node a boot id of its own) count as one machine for foreign CPU, and all that runs in them is known.

    steal      share of all CPU time the hypervisor took
    foreign    share of all CPU time used by anything but the containers and the load (labctl's own work included; see _foreign)
    throttled  seconds per second the containers waited for their CPU limit, summed
    swap       pages swapped in or out
    late       share of samples that came late or not at all
    clock      seconds the wall clock moved against the monotonic clock
    oom        OOM kills of the containers"""
    limits = thresholds or Thresholds()
    kills = increases(recordings, containers, "oom_kills", window)
    unknown = "the kernel does not count them"
    return [
        _worst("steal", "share", limits.steal, [(r, _steal(r, window)) for r in recordings]),
        _worst(
            "foreign",
            "share",
            limits.foreign,
            [(r, _foreign(r, recordings, containers, window, loads)) for r in recordings],
        ),
        _worst(
            "throttled", "s/s", limits.throttled, [(r, _throttled(r, containers, window)) for r in recordings]
        ),
        _worst("swap", "pages", limits.swap, [(r, _swap(r, window)) for r in recordings]),
        _worst("late", "share", limits.late, [(r, _late(r)) for r in recordings]),
        _worst("clock", "s", limits.clock, [(r, r.clock_range) for r in recordings]),
        Flag("oom", kills, "kills", limits.oom, reason=unknown if kills is None else None),
    ]


def _worst(
    name: str, unit: str, threshold: float | None, found: Sequence[tuple[Recording, float | None]]
) -> Flag:
    known = [(value, recording.host) for recording, value in found if value is not None]
    if not known:
        return Flag(name, None, unit, threshold, reason="not recorded in this window")
    value, host = max(known)
    return Flag(name, value, unit, threshold, host)


def _ends(recording: Recording, window: Window) -> tuple[Sample, Sample] | None:
    inside = [sample for sample in recording.samples if window.start <= sample.t <= window.end]
    return (inside[0], inside[-1]) if len(inside) > 1 else None


def _ticks(recording: Recording, window: Window) -> tuple[tuple[int, ...], Window] | None:
    """CPU ticks by kind between the first and the last sample inside the window, and when those were."""
    ends = _ends(recording, window)
    if ends is None:
        return None
    first, last = ends
    spent = tuple(b - a for a, b in zip(first.cpu, last.cpu, strict=True))
    return spent, Window(first.t, last.t)


def _steal(recording: Recording, window: Window) -> float | None:
    spent = _ticks(recording, window)
    if spent is None or not sum(spent[0]):
        return None
    return spent[0][7] / sum(spent[0])


def _foreign(
    recording: Recording,
    recordings: Sequence[Recording],
    containers: Sequence[str],
    window: Window,
    loads: Sequence[Load],
) -> float | None:
    """Busy CPU time that is neither idle, waiting for I/O, nor stolen, less what the containers and the load used; of nodes that
    share a kernel, less what all of the nodes used: the runtime's own work there is the migration's, not noise."""
    spent = _ticks(recording, window)
    if spent is None:
        return None
    user, nice, system, _idle, _iowait, irq, softirq, _steal_ticks = spent[0]
    together = [r for r in recordings if abs(r.booted - recording.booted) < ONE_KERNEL]
    own = [_own_seconds(r, spent[1]) for r in together] if len(together) > 1 else [None]
    known: float | None = sum(filter(None, own))
    if None in own:
        known = cpu_seconds(together, containers, spent[1]).value
        hosts = {r.host for r in together}
        asked_for = sum(cpu_known(load, spent[1]) for load in loads if load.host in hosts)
        known = None if known is None else known + asked_for
    if known is None:
        return None
    busy = (user + nice + system + irq + softirq) / recording.clock_ticks
    return max(0.0, busy - known) / (recording.cpus * spent[1].seconds)


def _own_seconds(recording: Recording, window: Window) -> float | None:
    """CPU of everything in the node, between the samples nearest to the window's ends."""
    told = [(sample.t, sample.own_usec) for sample in recording.samples if sample.own_usec is not None]
    if len(told) < 2:
        return None
    ends = [min((abs(t - end), usec) for t, usec in told)[1] for end in (window.start, window.end)]
    return max(0, ends[1] - ends[0]) / 1e6


def _throttled(recording: Recording, containers: Sequence[str], window: Window) -> float | None:
    waited = increases([recording], containers, "throttled_usec", window)
    return None if waited is None or _ends(recording, window) is None else waited / 1e6 / window.seconds


def _swap(recording: Recording, window: Window) -> float | None:
    ends = _ends(recording, window)
    if ends is None:
        return None
    pages = [(s.pswpin, s.pswpout) for s in ends]
    if any(count is None for pair in pages for count in pair):
        return None
    return float(sum(b - a for a, b in zip(*pages, strict=True) if a is not None and b is not None))


def _late(recording: Recording) -> float | None:
    if recording.end is None:
        return None
    due = recording.end["samples"] + recording.end["missed"]
    return (recording.end["late"] + recording.end["missed"]) / due if due else None
