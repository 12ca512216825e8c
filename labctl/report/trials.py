"""What one migration came to: every metric with its value, or with the reason why it has none."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from labctl.measure import estimators
from labctl.measure.estimators import MEBIBYTE, SOURCE_SAMPLES
from labctl.measure.load import Load
from labctl.measure.migration import (
    Downtime,
    continuity,
    cpu_until_regained,
    downtime,
    pause,
    steps_redone,
)
from labctl.measure.noise import Flag, noise
from labctl.measure.recording import Recording
from labctl.measure.series import Window, increases, node_seconds
from labctl.records import dataclass, field
from labctl.report.metrics import METRICS, NODE_CPU, PRIMARY
from labctl.report.rawfiles import Trial


@dataclass
class TrialResult:
    """`values` has every metric of `metrics.METRICS`; where it is None, `reasons` says why. `samples`: the
    source's method, sample by sample. `flags`: what disturbed the machine."""

    trial: Trial
    values: dict[str, float | None] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    bounds: dict[str, float] = field(default_factory=dict)
    phases: list[tuple[str, float]] = field(default_factory=list)
    samples: dict[str, list[float | None]] = field(default_factory=dict)
    flags: list[Flag] = field(default_factory=list)
    outage: Downtime | None = None

    @property
    def strategy(self) -> str:
        return self.trial.strategy

    @property
    def pair(self) -> int:
        return self.trial.pair

    @property
    def error(self) -> str | None:
        """Why the migration itself did not end well."""
        return self.trial.problem or _text(self.trial.head.get("error"))

    @property
    def noise(self) -> list[Flag]:
        return [flag for flag in self.flags if flag.raised]

    @property
    def clean(self) -> bool:
        return self.error is None and not self.noise

    def window(self, when: str) -> Window | None:
        """Where the source's method sampled, 'before' or 'after'."""
        return _window(self.trial.head, when)

    def put(self, metric: str, value: float | None, reason: str | None = None, bound: float = 0.0) -> None:
        self.values[metric] = None if value is None else float(value)
        if value is None:
            self.reasons[metric] = reason or "it was not recorded"
        elif bound:
            self.bounds[metric] = bound


def result_of(trial: Trial, loads: Sequence[Load] = ()) -> TrialResult:
    """Reduce one trial's raw files. `loads` ran beside it on purpose, and so are no disturbance."""
    result = TrialResult(trial)
    if result.error is not None:
        for metric in METRICS:
            result.put(metric.name, None, f"trial {trial.number} failed")
        return result
    head = trial.head
    started, ended, regained = (_number(head.get(key)) for key in ("started", "ended", "regained"))
    result.phases = [
        (str(phase["name"]), float(phase["end"]) - float(phase["start"]))
        for phase in head.get("phases") or []
    ]
    _times(result, started, ended, regained)
    _cpu(result, started, regained)
    for when in ("before", "after"):
        _source_method(result, when)
    _peak(result)
    _work(result, started)
    _disturbances(result, started, regained, loads)
    return result


def _times(result: TrialResult, started: float | None, ended: float | None, regained: float | None) -> None:
    no_start = "the start of the migration was not recorded"
    if started is None:
        for name in ("migration_seconds", "regained_seconds", "downtime_seconds", "pause_seconds"):
            result.put(name, None, no_start)
        return
    result.put("migration_seconds", None if ended is None else ended - started, "its end was not recorded")
    reason = _text(result.trial.head.get("regained_reason")) or "progress was not regained"
    result.put("regained_seconds", None if regained is None else regained - started, reason)
    # Progress may be regained while the source is still being removed: that belongs to the migration too.
    until = None if regained is None else max(regained, ended or regained)
    _pause(result, started, until)
    probes = result.trial.probes
    if probes is None:
        result.put("downtime_seconds", None, "there is no readable probe.jsonl")
        return
    result.outage = downtime(probes, started, until)
    bound = 0.0 if result.outage.failed == 0 else result.outage.resolution
    result.put("downtime_seconds", result.outage.seconds, result.outage.reason, bound)


def _pause(result: TrialResult, started: float, until: float | None) -> None:
    trial = result.trial
    if not trial.steps:
        result.put("pause_seconds", None, "there is no readable steps.jsonl")
        return
    offsets = {step.host: trial.offset(step.host) for step in trial.steps if step.host}
    found = pause(trial.steps, Window(started, math.inf if until is None else until), offsets)
    result.put("pause_seconds", found.value, found.reason)


def _cpu(result: TrialResult, started: float | None, regained: float | None) -> None:
    trial = result.trial
    problem = _unrecorded(trial) or (
        "the start of the migration was not recorded" if started is None else None
    )
    if problem or started is None:
        for name in (PRIMARY, NODE_CPU, "throttled_seconds"):
            result.put(name, None, problem)
        return
    used = cpu_until_regained(trial.recordings, trial.containers, started, regained)
    result.put(PRIMARY, used.value, used.reason, used.bound)
    if regained is None:
        for name in (NODE_CPU, "throttled_seconds"):
            result.put(name, None, "progress was not regained")
        return
    window = Window(started, regained)
    nodes = node_seconds(trial.recordings, window)
    result.put(NODE_CPU, nodes.value, nodes.reason, nodes.bound)
    held = increases(trial.recordings, trial.containers, "throttled_usec", window)
    result.put("throttled_seconds", None if held is None else held / 1e6, "the kernel does not count it")


def _source_method(result: TrialResult, when: str) -> None:
    """The source's 20 samples over the window, and the means of the honest memory figures over the same."""
    trial = result.trial
    names = {
        "cpu": "cpu_millicores_source" if when == "after" else "cpu_millicores_before",
        "memory": "memory_mib_source" if when == "after" else "memory_mib_before",
    }
    means = {"working_set": "working_set_mib", "anon": "anon_mib"} if when == "after" else {}
    window = _window(trial.head, when)
    problem = _unrecorded(trial) or (f"there is no window {when} the migration" if window is None else None)
    if problem or window is None:
        for name in (*names.values(), *means.values()):
            result.put(name, None, problem)
        return
    recordings, containers = trial.recordings, trial.containers
    cpu = estimators.source_cpu_samples(recordings, containers, window)
    memory = estimators.source_memory_samples(recordings, containers, window)
    result.samples[f"cpu_millicores_{when}"], result.samples[f"memory_mib_{when}"] = cpu, memory
    for kind, samples in (("cpu", cpu), ("memory", memory)):
        known = [sample for sample in samples if sample is not None]
        complete = len(known) == SOURCE_SAMPLES
        missing = f"{SOURCE_SAMPLES - len(known)} of {SOURCE_SAMPLES} samples were not recorded"
        result.put(names[kind], estimators.source_method(known) if complete else None, missing)
    for held, name in means.items():
        samples = estimators.source_memory_samples(recordings, containers, window, field=held)
        known = [sample for sample in samples if sample is not None]
        complete = len(known) == len(samples)
        result.put(
            name, statistics.fmean(known) if complete else None, "this kernel does not say, or not always"
        )


def _peak(result: TrialResult) -> None:
    """memory.peak covers a container's life in one cgroup; on the target that is its life there."""
    trial = result.trial
    target = [recording for recording in trial.recordings if recording.host == trial.head.get("target")]
    peaks = [_highest(target, container) for container in trial.containers]
    known = [peak for peak in peaks if peak is not None]
    reason = _unrecorded(trial) or "this kernel keeps no memory.peak"
    result.put("peak_mib", sum(known) / MEBIBYTE if known else None, reason)


def _highest(recordings: Sequence[Recording], container: str) -> int | None:
    seen = [
        counters.peak
        for recording in recordings
        for sample in recording.samples
        if (counters := sample.containers.get(container)) is not None and counters.peak is not None
    ]
    return max(seen, default=None)


def _work(result: TrialResult, started: float | None) -> None:
    trial, head = result.trial, result.trial.head
    redone = _number(head.get("steps_redone"))
    if redone is None and trial.steps and started is not None:
        redone = float(steps_redone(trial.steps, started))
    result.put("steps_redone", redone, "neither trial.json nor the trainer's log says")
    result.put("moved_bytes", _number(head.get("moved_bytes")))


def _disturbances(
    result: TrialResult, started: float | None, regained: float | None, loads: Sequence[Load]
) -> None:
    trial = result.trial
    after = _window(trial.head, "after")
    ends = [t for t in (regained, _number(trial.head.get("ended")), after.end if after else None) if t]
    if started is None or not ends or not trial.recordings:
        return
    result.flags = noise(trial.recordings, trial.containers, Window(started, max(ends)), loads=loads)


def chain(trial: Trial) -> tuple[bool | None, str]:
    """Whether every logged step began with the state the one before it ended with, and what was seen."""
    if not trial.steps:
        return None, "there is no steps.jsonl"
    found = continuity(trial.steps)
    if found.continued:
        return True, f"{len(trial.steps)} steps, each from the hash the last one reached"
    return False, f"the chain of hashes breaks at step {found.breaks[0]}"


def _unrecorded(trial: Trial) -> str | None:
    if not trial.recordings:
        return "there is no readable cgroup recording"
    recorded = {recording.host for recording in trial.recordings}
    for host in (trial.head.get("source"), trial.head.get("target")):
        if host and host not in recorded:  # the other one's alone would pass for the sum
            return f"there is no readable cgroup recording of {host}"
    return None if trial.containers else "no container of the pod was recorded"


def _window(head: Mapping[str, Any], when: str) -> Window | None:
    window = (head.get("windows") or {}).get(when)
    if not isinstance(window, list) or len(window) != 2:
        return None
    start, end = _number(window[0]), _number(window[1])
    return Window(start, end) if start is not None and end is not None and end > start else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _text(value: object) -> str | None:
    return str(value) if value else None
