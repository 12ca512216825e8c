"""Figures from recordings: counter differences, memory, curves, gaps.

Times are seconds since the epoch on the controller's clock, counters are microseconds of CPU, memory is bytes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from labctl.measure.recording import Recording, Vanished


@dataclass(frozen=True, slots=True)
class Window:
    """From `start` to `end`, seconds since the epoch on the controller's clock."""

    start: float
    end: float

    @property
    def seconds(self) -> float:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure, or None with the reason. `bound`: the true value differs by no more than this, in the
    figure's own unit, for the reasons its docstring gives."""

    value: float | None
    reason: str | None = None
    bound: float = 0.0


@dataclass(frozen=True, slots=True)
class Life:
    """A container's CPU counter on one host from its cgroup's making to its end.

    `t` and `usec` are points of a non-decreasing curve. A cgroup that appeared after the first snapshot
    starts from 0 at the snapshot before (`born`); one that vanished ends with what its parent's counter
    said it had used (`vanished`). `unknown`: seconds of CPU that may be missing at its end."""

    host: str
    container: str
    t: tuple[float, ...]
    usec: tuple[int, ...]
    born: bool
    vanished: bool
    unknown: float = 0.0

    def at(self, t: float) -> tuple[float, float]:
        """The counter at time `t`, interpolated, and how far at most the true value is from it (both µs):
        a counter never falls, so it lies between the two neighbouring readings."""
        if t <= self.t[0]:
            return float(self.usec[0]), 0.0
        if t >= self.t[-1]:
            return float(self.usec[-1]), 0.0
        i = bisect_right(self.t, t)
        low, high = self.usec[i - 1], self.usec[i]
        share = (t - self.t[i - 1]) / (self.t[i] - self.t[i - 1])
        return low + share * (high - low), max(share, 1 - share) * (high - low)


def lives(recording: Recording, container: str) -> list[Life]:
    """The container's lives on this host, in order. A new one begins after a cgroup vanished, and where the
    counter fell (it was made again between two snapshots; what it used in between is then unknown)."""
    found: list[Life] = []
    t: list[float] = []
    usec: list[int] = []
    born = False
    gone = [v for v in recording.vanished if v.container == container]
    limit = recording.cpus * recording.interval

    def close(end: Vanished | None, unknown: float) -> None:
        nonlocal t, usec
        if end and end.missed_usec is None:
            unknown = limit
        if end and t:
            t.append(max(end.t, t[-1]))
            usec.append(usec[-1] + (end.missed_usec or 0))
        if t:
            found.append(
                Life(recording.host, container, tuple(t), tuple(usec), born, end is not None, unknown)
            )
        t, usec = [], []

    previous: float | None = None
    for sample in recording.samples:
        if gone and t and gone[0].t <= sample.t and gone[0].t > t[-1]:
            close(gone.pop(0), 0.0)
        counters = sample.containers.get(container)
        if counters is not None:
            if t and counters.cpu_usec < usec[-1]:
                close(None, limit)
            if not t:
                born = previous is not None
                if previous is not None:
                    t.append(previous)
                    usec.append(0)
            t.append(sample.t)
            usec.append(counters.cpu_usec)
        previous = sample.t
    close(gone[0] if gone and t and gone[0].t > t[-1] else None, 0.0)
    return found


def cpu_seconds(recordings: Sequence[Recording], containers: Sequence[str], window: Window) -> Measured:
    """CPU seconds the containers used in a window, on all hosts together: the difference of the cumulative
    counters at the window's edges, summed over lives (DESIGN: counters, not samples, for totals).

    `bound`: interpolation at the edges, and the unknown ends of vanished cgroups. None when a host's
    recording does not cover the window although one of the containers ran there at that time."""
    total = bound = 0.0
    for recording in recordings:
        for container in containers:
            for life in lives(recording, container):
                slack = 2 * recording.interval
                if life.t[0] > window.start + slack and not life.born and life.t[0] < window.end:
                    late = life.t[0] - window.start
                    reason = f"{recording.host} was recorded only {late:.2f} s after the window began"
                    return Measured(None, reason)
                if not life.vanished and window.start < life.t[-1] < window.end - slack:
                    early = window.end - life.t[-1]
                    reason = f"the recording of {recording.host} ends {early:.2f} s before the window"
                    return Measured(None, reason)
                at_start, error_start = life.at(window.start)
                at_end, error_end = life.at(window.end)
                total += at_end - at_start
                bound += error_start + error_end
                if window.start < life.t[-1] <= window.end:
                    bound += life.unknown * 1e6
    return Measured(total / 1e6, bound=bound / 1e6)


def node_seconds(recordings: Sequence[Recording], window: Window) -> Measured:
    """CPU seconds of everything that ran in the recorded nodes in a window: the pod, and what the container runtime,
    CRIU, the agent and the sampler used for it. `bound`: interpolation at the edges. None when a node does not
    say, or was not recorded throughout."""
    total = bound = 0.0
    for recording in recordings:
        told = [(sample.t, sample.own_usec) for sample in recording.samples if sample.own_usec is not None]
        if not told:
            return Measured(None, f"{recording.host} does not tell what all of it used")
        t, usec = zip(*told, strict=True)
        if t[0] > window.start or t[-1] < window.end:
            return Measured(None, f"{recording.host} was not recorded throughout")
        node = Life(recording.host, "", t, usec, born=False, vanished=False)
        (at_start, error_start), (at_end, error_end) = node.at(window.start), node.at(window.end)
        total += at_end - at_start
        bound += error_start + error_end
    return Measured(total / 1e6, bound=bound / 1e6)


def millicores(
    recordings: Sequence[Recording], containers: Sequence[str], edges: Sequence[float]
) -> list[float | None]:
    """Mean CPU of the containers between neighbouring `edges` (n + 1 times give n values), in millicores:
    the counters' difference over the true elapsed time. None where it was not recorded."""
    values: list[float | None] = []
    for start, end in pairwise(edges):
        used = cpu_seconds(recordings, containers, Window(start, end)).value
        values.append(None if used is None else used / (end - start) * 1000)
    return values


def memory_at(
    recordings: Sequence[Recording], containers: Sequence[str], t: float, field: str = "memory"
) -> int | None:
    """Bytes of `field` ('memory', 'working_set', 'anon', …) the containers held at time `t`, summed: each
    host's latest sample at or before `t`. A container that is not there holds 0. None when a host was not
    being recorded then (what it held is not known to be 0), or the kernel does not say."""
    total = 0
    for recording in recordings:
        i = bisect_right([sample.t for sample in recording.samples], t) - 1
        if i < 0 or t - recording.samples[i].t > 5 * recording.interval:
            return None
        here = recording.samples[i].containers
        values = [getattr(here[name], field) for name in containers if name in here]
        if None in values:
            return None
        total += sum(values)
    return total if recordings else None


def memory_curve(
    recording: Recording, container: str, field: str = "memory"
) -> list[tuple[float, int | None]]:
    """(time, bytes) of one container; None once where it vanished: for figures."""
    curve: list[tuple[float, int | None]] = []
    for sample in recording.samples:
        counters = sample.containers.get(container)
        if counters is not None:
            curve.append((sample.t, getattr(counters, field)))
        elif curve and curve[-1][1] is not None:
            curve.append((sample.t, None))
    return curve


def gaps(recording: Recording, factor: float = 2.5) -> list[Window]:
    """Where two neighbouring samples are more than `factor` intervals apart."""
    return [
        Window(before.t, after.t)
        for before, after in pairwise(recording.samples)
        if after.t - before.t > factor * recording.interval
    ]


def increase(recording: Recording, container: str, field: str, window: Window) -> int | None:
    """By how much a counter of the container (`throttled_usec`, `oom_kills`, …) rose in a window, over all
    its lives on this host: a cgroup that appeared after the first snapshot starts from 0. A sample that does not say
    (its cgroup was going) is passed over. None when none says: the kernel does not count it."""
    total, before, known, there = 0, None, False, False
    for sample in recording.samples:
        counters = sample.containers.get(container)
        if counters is None:
            before = 0
            continue
        now, there = getattr(counters, field), True
        if now is None:
            continue
        known = True
        if before is not None and window.start <= sample.t <= window.end:
            total += now - before if now >= before else now
        before = now
    return total if known or not there else None


def increases(
    recordings: Sequence[Recording], containers: Sequence[str], field: str, window: Window
) -> int | None:
    """`increase` summed over containers and hosts."""
    found = [increase(recording, name, field, window) for recording in recordings for name in containers]
    known = [value for value in found if value is not None]
    return sum(known) if len(known) == len(found) else None
