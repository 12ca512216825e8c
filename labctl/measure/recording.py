"""Raw files of the `cgroup` collector, read into typed records.

All times are seconds since the epoch on the controller's clock: a sample's monotonic time, put on the wall
clock by the recording's median of wall minus monotonic (a clock that is set during the recording cannot
bend the series), less the host's offset.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class Counters:
    """One container in one sample; see docs/architecture.md. None: this kernel does not say."""

    cpu_usec: int
    user_usec: int | None = None
    system_usec: int | None = None
    periods: int | None = None
    throttled: int | None = None
    throttled_usec: int | None = None
    memory: int | None = None
    peak: int | None = None
    anon: int | None = None
    file: int | None = None
    inactive_file: int | None = None
    shmem: int | None = None
    kernel: int | None = None
    oom_kills: int | None = None
    pids: int | None = None
    psi: Mapping[str, int | None] | None = None

    @property
    def working_set(self) -> int | None:
        """max(0, memory - inactive_file) in bytes, as the kubelet has it (cadvisor#1380)."""
        if self.memory is None or self.inactive_file is None:
            return None
        return max(0, self.memory - self.inactive_file)


_COUNTERS = frozenset(field.name for field in fields(Counters))


@dataclass(frozen=True, slots=True)
class Sample:
    """One snapshot of a node. `cpu`: clock ticks by kind (user, nice, system, idle, iowait, irq, softirq,
    steal) since boot; `own_usec`: CPU of the cgroup the node is, None when its kernel does not say; `took`: seconds
    the snapshot itself took."""

    t: float
    took: float
    cpu: tuple[int, ...]
    own_usec: int | None
    mem_available: int | None
    pswpin: int | None
    pswpout: int | None
    containers: Mapping[str, Counters]


@dataclass(frozen=True, slots=True)
class Vanished:
    """A container's cgroup was gone at `t`. `missed_usec`: CPU it used after its last sample, or None."""

    t: float
    container: str
    missed_usec: int | None


@dataclass(frozen=True, slots=True)
class Recording:
    """One `cgroup-<host>.jsonl`. `end` is the collector's own account, None when the file was cut short.
    `booted`: when its monotonic clock was zero, on the controller's wall clock.
    `clock_range`: how far (s) wall and monotonic clock moved apart: a set clock shows here."""

    host: str
    version: int | str
    interval: float
    cpus: int
    clock_ticks: int
    booted: float
    samples: tuple[Sample, ...]
    vanished: tuple[Vanished, ...]
    end: Mapping[str, Any] | None
    clock_range: float

    def containers(self) -> list[str]:
        """Every container ever seen, in the order of first sight."""
        return list(dict.fromkeys(name for sample in self.samples for name in sample.containers))


def read_recording(lines: Iterable[str], *, offset: float = 0.0) -> Recording:
    """Read the lines of a recording. `offset`: the host's wall clock minus the controller's, in seconds.

    A last line that was cut in two is left out. ValueError when there is no header or a line is not ours."""
    header: dict[str, Any] = {}
    end = None
    raw: list[dict[str, Any]] = []
    for entry in entries(lines):
        kind = entry.get("type")
        if kind == "header":
            header = entry
        elif kind == "end":
            end = entry
        elif kind in ("sample", "gone"):
            raw.append(entry)
        else:
            raise ValueError(f"a recording has no line of type {kind!r}")
    if not header:
        raise ValueError("the recording has no header line")
    skew = [entry["wall"] - entry["mono"] for entry in raw]
    anchor = (statistics.median(skew) if skew else 0.0) - offset
    return Recording(
        host=header["host"],
        version=header["version"],
        interval=float(header["interval"]),
        cpus=int(header["cpus"]),
        clock_ticks=int(header["clock_ticks"]),
        booted=anchor,
        samples=tuple(_sample(entry, anchor) for entry in raw if entry["type"] == "sample"),
        vanished=tuple(
            Vanished(entry["mono"] + anchor, entry["container"], entry.get("missed_usec"))
            for entry in raw
            if entry["type"] == "gone"
        ),
        end=end,
        clock_range=max(skew) - min(skew) if skew else 0.0,
    )


def entries(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The objects of a JSON-lines file; a last line that was cut in two is left out. ValueError else."""
    pending = [line for line in lines if line.strip()]
    for number, line in enumerate(pending):
        try:
            yield json.loads(line)
        except ValueError as error:
            if number == len(pending) - 1:
                return
            raise ValueError(f"line {number + 1} is not JSON: {error}") from None


def _sample(entry: Mapping[str, Any], anchor: float) -> Sample:
    node = entry["node"]
    return Sample(
        t=entry["mono"] + anchor,
        took=entry["took"],
        cpu=tuple(node["cpu"]),
        own_usec=node.get("own_usec"),
        mem_available=node.get("mem_available"),
        pswpin=node.get("pswpin"),
        pswpout=node.get("pswpout"),
        containers={
            name: Counters(**{key: value for key, value in values.items() if key in _COUNTERS})
            for name, values in entry["containers"].items()
        },
    )
