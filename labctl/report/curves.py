"""The picture of one migration over time, from its recordings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from labctl.measure.recording import Recording
from labctl.measure.series import lives, memory_curve
from labctl.report.charts import Line, Plot, Timeline
from labctl.report.rawfiles import Trial

GRID, SMOOTH = 0.25, 0.5  # seconds; CFS hands out CPU in 0.1 s periods, which would look like noise
MEBIBYTE = 2**20


def timeline(trial: Trial, name: str, title: str, colours: Mapping[str, int]) -> Timeline | None:
    """CPU, memory and progress against seconds since the migration's start; None without its start.
    `colours`: container -> 1 to 8, the same in every picture of a report."""
    head, recordings = trial.head, trial.recordings
    start = head.get("started")
    if not isinstance(start, int | float) or not any(recording.samples for recording in recordings):
        return None
    span = _span(trial, recordings, start)
    source = head.get("source")
    cpu, memory = [], []
    for recording in recordings:
        for container in sorted(trial.containers):
            label, colour = container.rpartition("/")[2], colours[container]
            faint = recording.host == source
            cpu.append(Line(label, colour, _cpu(recording, container, start, span), faint))
            memory.append(Line(label, colour, _memory(recording, container, start, span), faint))
    steps = Line("training step", 4, _steps(trial, start, span))
    bands = tuple(
        (str(phase["name"]), float(phase["start"]) - start, float(phase["end"]) - start)
        for phase in head.get("phases") or []
    )
    named = ", ".join(f"{index} {label}" for index, (label, _, _) in enumerate(bands, 1))
    regained = head.get("regained")
    return Timeline(
        name=name,
        title=title,
        caption=f"CPU averaged over {SMOOTH:g} s. Phases: {named or 'none recorded'}.",
        span=span,
        plots=(
            Plot("CPU", "millicores", tuple(cpu), 150),
            Plot("memory", "MiB", tuple(memory), 110),
            *((Plot("progress", "step", (steps,), 90),) if any(steps.points) else ()),
        ),
        bands=bands,
        service=_service(trial, start, span),
        mark=regained - start if isinstance(regained, int | float) else None,
    )


def _span(trial: Trial, recordings: Sequence[Recording], start: float) -> tuple[float, float]:
    windows = trial.head.get("windows") or {}
    edges = [float(t) - start for window in windows.values() if window for t in window]
    edges += [float(t) - start for t in (trial.head.get("ended"), trial.head.get("regained")) if t]
    seen = [sample.t - start for r in recordings for sample in r.samples[:: max(1, len(r.samples) - 1)]]
    low, high = min([0.0, *edges]) - 0.5, max([1.0, *edges]) + 0.5
    return max(low, min(seen)), min(high, max(seen))


def _cpu(
    recording: Recording, container: str, start: float, span: tuple[float, float]
) -> tuple[tuple[float, float] | None, ...]:
    """(seconds, millicores) on a grid; the curve breaks between two lives of the container."""
    points: list[tuple[float, float] | None] = []
    for life in lives(recording, container):
        first, last = max(life.t[0], start + span[0]), min(life.t[-1], start + span[1])
        t = first
        while t <= last:
            left, right = max(life.t[0], t - SMOOTH / 2), min(life.t[-1], t + SMOOTH / 2)
            if right - left > SMOOTH / 5:
                used = life.at(right)[0] - life.at(left)[0]
                points.append((t - start, used / (right - left) / 1000))
            t += GRID
        points.append(None)
    return tuple(points)


def _memory(
    recording: Recording, container: str, start: float, span: tuple[float, float]
) -> tuple[tuple[float, float] | None, ...]:
    points: list[tuple[float, float] | None] = []
    for t, held in memory_curve(recording, container):
        at = t - start
        last = points[-1] if points else None
        if held is None:
            points.append(None)
        elif span[0] <= at <= span[1] and (last is None or at - last[0] >= GRID):
            points.append((at, held / MEBIBYTE))
    return tuple(points)


def _steps(trial: Trial, start: float, span: tuple[float, float]) -> tuple[tuple[float, float] | None, ...]:
    """The step as the probe read it; broken where the service did not answer or another process did."""
    points: list[tuple[float, float] | None] = []
    boot = None
    for probe in trial.probes.probes if trial.probes else ():
        broken = not probe.ok or probe.step is None or probe.boot != boot
        if broken and points and points[-1] is not None:
            points.append(None)
        if not probe.ok or probe.step is None:
            continue
        boot = probe.boot
        at, last = probe.answered - start, points[-1] if points else None
        if span[0] <= at <= span[1] and (last is None or at - last[0] >= GRID / 2):
            points.append((at, float(probe.step)))
    return tuple(points)


def _service(trial: Trial, start: float, span: tuple[float, float]) -> tuple[tuple[float, float, bool], ...]:
    """Intervals in which the probe was answered, or not: an outage runs from good answer to good answer."""
    found = trial.probes.probes if trial.probes else ()
    times = [(probe.t - start, probe.ok) for probe in found if span[0] <= probe.t - start <= span[1]]
    intervals: list[tuple[float, float, bool]] = []
    for index, (at, ok) in enumerate(times):
        if not intervals:
            intervals.append((at, at, ok))
            continue
        begun, _, state = intervals[-1]
        if state == ok:
            intervals[-1] = (begun, at, state)
        elif ok:
            intervals[-1] = (begun, at, False)
            intervals.append((at, at, True))
        else:
            intervals.append((times[index - 1][0], at, False))
    return tuple(intervals)
