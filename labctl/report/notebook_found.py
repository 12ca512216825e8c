"""The searches of a run: their journals as they are, and what each came to."""

from __future__ import annotations

import statistics
from collections import Counter
from pathlib import Path

from labctl.measure.limit_result import Result, result_of
from labctl.measure.limit_steps import Search, Tried, read_search
from labctl.records import dataclass

FOLDER = "limits"
ORDER = ("cpu", "memory", "disk")


@dataclass(frozen=True, slots=True)
class Found:
    """One search: where its journal is, what it holds, what it came to. `alone`: no other search of the run is of
    the same resource."""

    path: Path
    search: Search
    result: Result
    alone: bool = True

    @property
    def resource(self) -> str:
        return self.result.resource

    @property
    def limit(self) -> float | None:
        """The container's limit: cores or bytes."""
        value = (self.search.head.get("limits") or {}).get(self.resource)
        return float(value) if isinstance(value, int | float) else None


def searches(folder: Path) -> list[Found]:
    """Those of a run's folder that have begun, in the order of a report."""
    read = {
        path: read_search(path.read_text(encoding="utf-8", errors="replace").splitlines())
        for path in sorted((folder / FOLDER).glob("*.jsonl"))
    }
    read = {path: search for path, search in read.items() if search.head or search.steps}
    counts = Counter(search.resource for search in read.values())
    found = [
        Found(path, search, result_of(search), counts[search.resource] == 1) for path, search in read.items()
    ]
    return sorted(found, key=lambda one: (_place(one.resource), one.path.name))


def used_at_knee(one: Found) -> float | None:
    """The share of the cpu quota that was in use at the knee: the median of the repetitions."""
    values = [
        value / 100
        for repetition in one.result.repetitions
        for step in repetition.steps
        if step.good
        and not step.crowded
        and step.requested == repetition.knee
        and (value := step.value("pct_of_limit")) is not None
    ]
    return statistics.median(values) if values else None


def slowdown(one: Found, step: Tried) -> float | None:
    """How many times longer a process took for its work than one alone in the same repetition; None where either was
    not measured, or crowded."""
    work = step.value("throughput")
    alone = [
        value
        for other in one.search.of(step.repetition)
        if other.good
        and not other.crowded
        and other.requested == 1
        and (value := other.value("throughput")) is not None
    ]
    if one.resource != "cpu" or not work or not alone or step.crowded:
        return None
    return statistics.median(alone) * step.requested / work


def evenness(step: Tried) -> float | None:
    """The least work of a step's processes over the most: 1 where the processors were shared out evenly."""
    done = (step.record or {}).get("per_worker_work") or []
    return min(done) / max(done) if done and max(done) > 0 else None


def _place(resource: str) -> int:
    return ORDER.index(resource) if resource in ORDER else len(ORDER)
