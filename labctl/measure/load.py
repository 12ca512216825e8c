"""Raw files of stressors (collectors/stress/), read into typed records: what load there really was.

All times are seconds since the epoch on the controller's clock, as in `recording`.
"""

from __future__ import annotations

import statistics
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from labctl.measure.recording import entries
from labctl.measure.series import Measured, Window


@dataclass(frozen=True, slots=True)
class Worker:
    """One process of a stressor: what it did from its beginning until it ended. `ended`: how it did by itself,
    {"signal": n} or {"exit": n}; None when it was told to."""

    work: float
    checked: float
    held: float
    cpu_seconds: float
    seconds: float
    ended: Mapping[str, int] | None = None

    @property
    def per_second(self) -> float | None:
        return self.work / self.seconds if self.seconds > 0 else None


@dataclass(frozen=True, slots=True)
class Stressor:
    """One kind of load on one node; `options` are as the program had them."""

    name: str
    unit: str
    workers: tuple[Worker, ...]
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def work(self) -> float:
        return sum(worker.work for worker in self.workers)

    @property
    def cpu_seconds(self) -> float:
        return sum(worker.cpu_seconds for worker in self.workers)

    @property
    def seconds(self) -> float:
        return max((worker.seconds for worker in self.workers), default=0.0)

    @property
    def held(self) -> float:
        return sum(worker.held for worker in self.workers)


@dataclass(frozen=True, slots=True)
class Load:
    """One program of stressors. `t` and `cpu` are points of a curve that never falls: CPU seconds its workers had used
    together. `reason`: why it ended; None when the file was cut short."""

    host: str
    asked: Mapping[str, Any]
    engine: str
    cpus: int
    container: Mapping[str, Any] | None
    stressors: tuple[Stressor, ...]
    t: tuple[float, ...]
    cpu: tuple[float, ...]
    errors: tuple[Mapping[str, Any], ...]
    deaths: tuple[Mapping[str, Any], ...]
    reason: str | None
    oom_kills: int | None

    def stressor(self, name: str) -> Stressor | None:
        return next((one for one in self.stressors if one.name == name), None)


def read_load(lines: Iterable[str], *, offset: float = 0.0) -> Load:
    """Read the lines of one program. `offset`: the host's wall clock minus the controller's, in seconds. ValueError
    when there is no header. Where the end line is missing, the last work line stands for it."""
    known = list(entries(lines))
    header = next((entry for entry in known if entry.get("type") == "header"), None)
    if header is None or header.get("program") != "stress":
        raise ValueError("it is not the file of a stressor: it has no header")
    anchor = statistics.median(entry["wall"] - entry["mono"] for entry in known) - offset
    works = [entry for entry in known if entry["type"] == "work"]
    end = next((entry for entry in known if entry["type"] == "end"), None)
    points = [(entry["mono"] + anchor, _cpu(entry["stressors"])) for entry in works]
    if end:
        points.append((end["mono"] + anchor, _cpu(end["stressors"])))
    return Load(
        host=header["host"],
        asked=header["asked"],
        engine=header["engine"],
        cpus=header["cpus"],
        container=header["container"],
        stressors=tuple(
            Stressor(name, one["unit"], _workers(name, end, works), one)
            for name, one in header["stressors"].items()
        ),
        t=tuple(t for t, _ in points),
        cpu=tuple(used for _, used in points),
        errors=tuple(entry for entry in known if entry["type"] == "error"),
        deaths=tuple(entry for entry in known if entry["type"] == "death"),
        reason=end["reason"] if end else None,
        oom_kills=end.get("oom_kills") if end else None,
    )


def _cpu(stressors: Mapping[str, Any]) -> float:
    """CPU seconds of all workers, of a work line or an end line."""
    return float(
        sum(
            worker["cpu_seconds"] if isinstance(worker, Mapping) else worker[3]
            for workers in stressors.values()
            for worker in workers
        )
    )


def _workers(name: str, end: Mapping[str, Any] | None, works: list[dict[str, Any]]) -> tuple[Worker, ...]:
    if end:
        return tuple(Worker(**worker) for worker in end["stressors"][name])
    if not works:
        return ()
    lasted = works[-1]["mono"] - works[0]["mono"]
    return tuple(
        Worker(work, checked, held, used, lasted)
        for work, checked, held, used in works[-1]["stressors"][name]
    )


def cpu_within(load: Load, window: Window) -> Measured:
    """CPU seconds the load used in a window, interpolated at its edges. None when it did not run throughout."""
    if not load.t or load.t[0] > window.start or load.t[-1] < window.end:
        return Measured(None, f"the load on {load.host} did not run throughout")
    return Measured(cpu_known(load, window))


def cpu_known(load: Load, window: Window) -> float:
    """CPU seconds the load is known to have used in a window, whether it ran throughout or not."""
    return _at(load, window.end) - _at(load, window.start) if load.t else 0.0


def _at(load: Load, t: float) -> float:
    i = min(max(bisect_right(load.t, t), 1), len(load.t) - 1)
    if len(load.t) == 1:
        return load.cpu[0]
    before, after = load.t[i - 1], load.t[i]
    part = (t - before) / (after - before) if after > before else 1.0
    return load.cpu[i - 1] + min(1.0, max(0.0, part)) * (load.cpu[i] - load.cpu[i - 1])


def what_went_wrong(load: Load) -> str | None:
    """One sentence, when a load was not what was asked for to its end; None when it was. To be refused more is what
    `count: max` asks for."""
    for death in load.deaths:
        refused = next(
            (e for e in load.errors if (e["stressor"], e["worker"]) == (death["stressor"], death["worker"])),
            None,
        )
        if refused is None:
            return f"{death['stressor']} worker {death['worker']} {_how(death)}"
    for error in load.errors:
        kind = load.stressor(error["stressor"])
        if kind and kind.name in ("pids", "fds") and kind.options["count"] is None:
            continue
        number = f" ({error['errno']})" if error["errno"] else ""
        return f"{error['stressor']} worker {error['worker']}: {error['message']}{number}"
    if load.reason == "container ended":
        return "the container ended"
    return None if load.reason else "its lines end in the middle"


def _how(death: Mapping[str, Any]) -> str:
    held = f", holding {death['held']:.0f}" if death.get("held") else ""
    if "signal" not in death:
        return f"ended with status {death['exit']}{held}"
    if death["signal"] == 9 and death.get("oom_kills"):
        return f"was killed for lack of memory in its container{held}"
    return f"was ended by signal {death['signal']}{held}"
