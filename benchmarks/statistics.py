"""Medians, their spread, and ratios of them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.measure import Measured


@dataclass(frozen=True)
class Spread:
    """The median, the lowest and the highest of `count` values."""

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """None without values."""
        return cls(statistics.median(values), min(values), max(values), len(values)) if values else None

    def over(self, other: Spread) -> Spread:
        """The ratio of the medians; its ends are the lowest over the highest and the highest over the lowest."""
        return Spread(
            self.median / other.median,
            self.low / other.high,
            self.high / other.low,
            min(self.count, other.count),
        )


@dataclass
class Results:
    """Every run: by workload, then tool, in the order of rounds. `failed`: what went wrong, by the same."""

    runs: dict[str, dict[str, list[Measured]]]
    failed: dict[str, dict[str, str]]

    def add(self, workload: str, tool: str, measured: Measured) -> None:
        self.runs.setdefault(workload, {}).setdefault(tool, []).append(measured)

    def fail(self, workload: str, tool: str, why: str) -> None:
        self.failed.setdefault(workload, {})[tool] = why

    def spread(self, workload: str, tool: str, what: str = "wall") -> Spread | None:
        """Of `what`: wall and cpu in seconds, rss and memory in bytes. None when it was not measured."""
        measured = self.runs.get(workload, {}).get(tool, [])
        return Spread.of([float(getattr(each, what)) for each in measured])

    def median(self, workload: str, tool: str, what: str = "wall") -> float | None:
        found = self.spread(workload, tool, what)
        return found.median if found else None

    def ratio(self, workload: str, tool: str, beside: str = "labctl", what: str = "wall") -> Spread | None:
        """How many times as much `tool` takes as `beside`."""
        one, other = self.spread(workload, tool, what), self.spread(workload, beside, what)
        return one.over(other) if one and other and other.low > 0 else None
