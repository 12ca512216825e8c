"""The bars: what labctl must reach beside its peers, and whether it did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from benchmarks.statistics import Results
from benchmarks.workloads.a_commands import TASKS
from benchmarks.workloads.f_debug import HOSTS as DEBUG_HOSTS
from benchmarks.workloads.f_debug import TASKS as DEBUG_TASKS

ROUND_TRIP = 0.030
TIMES = "\u00d7"


@dataclass(frozen=True)
class Bar:
    """`value` of the results must be at least (`>=`) or at most (`<=`) `limit`, in `unit`."""

    workload: str
    text: str
    side: Literal[">=", "<="]
    limit: float
    unit: str
    value: Callable[[Results], float | None]

    def verdict(self, results: Results) -> Verdict:
        value = self.value(results)
        if value is None:
            return Verdict(self, None, None)
        return Verdict(self, value, value >= self.limit if self.side == ">=" else value <= self.limit)


@dataclass(frozen=True)
class Verdict:
    """`passed` is None when the bar was not measured."""

    bar: Bar
    value: float | None
    passed: bool | None

    @property
    def word(self) -> str:
        return {None: "not measured", True: "pass", False: "FAIL"}[self.passed]


def faster(workload: str, peer: str, limit: float) -> Bar:
    def value(results: Results) -> float | None:
        ratio = results.ratio(workload, peer)
        return ratio.median if ratio else None

    return Bar(workload, f"faster than {peer}", ">=", limit, TIMES, value)


def seconds(workload: str, text: str, limit: float, divided_by: float = 1.0, unit: str = "s") -> Bar:
    def value(results: Results) -> float | None:
        wall = results.median(workload, "labctl")
        return None if wall is None else wall / divided_by

    return Bar(workload, text, "<=", limit, unit, value)


def _less(one: float | None, other: float | None) -> float | None:
    """None also where it makes no sense: more work took less time, so the machine was busy with other things."""
    return None if one is None or other is None or one <= other else one - other


def after_start(results: Results, workload: str, tool: str) -> float | None:
    """Seconds for all tasks but the first: the run of all less the run of the first alone."""
    return _less(results.median(workload, tool), results.median(workload, f"{tool}:first"))


def beside_shell(results: Results) -> float | None:
    ours, floor = after_start(results, "a10", "labctl"), after_start(results, "a10", "shell")
    return None if ours is None or floor is None else ours / floor


def memory_per_host(results: Results) -> float | None:
    """MB (10^6 bytes) for each host more."""
    more = _less(results.median("a200", "labctl", "memory"), results.median("a10", "labctl", "memory"))
    return None if more is None else more / 190 / 1e6


def round_trips(results: Results) -> float | None:
    """Of one task, the connecting shared out among the tasks."""
    more = _less(results.median("g", "labctl"), results.median("a10", "labctl"))
    return None if more is None else more / (TASKS * ROUND_TRIP)


def round_trips_after_start(results: Results) -> float | None:
    more = _less(after_start(results, "g", "labctl"), after_start(results, "a10", "labctl"))
    return None if more is None else more / ((TASKS - 1) * ROUND_TRIP)


def _beside_scp(results: Results) -> float | None:
    ratio = results.ratio("e", "labctl", "scp")
    return ratio.median if ratio else None


BARS = (
    faster("a10", "ansible", 30),
    faster("a10", "mitogen", 8),
    faster("a10", "pyinfra", 4),
    Bar("a10", "as long as a persistent shell, both after the first task", "<=", 2.5, TIMES, beside_shell),
    faster("a200", "ansible", 30),
    faster("a200", "pyinfra", 4),
    Bar("a200", "memory for each host more than 10", "<=", 1.0, "MB", memory_per_host),
    faster("b", "ansible", 10),
    faster("c1", "ansible", 15),
    faster("c1", "pyinfra", 4),
    faster("c2", "ansible", 30),
    faster("c2", "pyinfra", 4),
    faster("d", "ansible", 50),
    Bar("e", "as long as scp", "<=", 1.3, TIMES, _beside_scp),
    faster("f", "ansible", 50),
    seconds("f", "a task and host", 100, DEBUG_TASKS * DEBUG_HOSTS / 1e6, "\u00b5s"),
    Bar("g", "round trips a task, connecting included", "<=", 1.2, "", round_trips),
    Bar("g", "round trips a task, after the first", "<=", 1.2, "", round_trips_after_start),
    seconds("h-help", "labctl --help", 0.25),
    seconds("h-play", "a play without tasks", 0.6),
)


def verdicts(results: Results) -> list[Verdict]:
    return [bar.verdict(results) for bar in BARS]
