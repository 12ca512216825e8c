"""Strategies beside each other: each one's spread, and every pair of them compared by every metric."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from labctl.measure import compare as measure
from labctl.measure.estimators import stdev
from labctl.records import dataclass
from labctl.report.metrics import METRICS, Metric, strategy_order
from labctl.report.trials import TrialResult

FEWEST_CLEAN = 3  # with fewer clean pairs than this all pairs are used, and the report says so
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Compared:
    """One metric, one strategy against a baseline. `pairs`: the pairs used; `left_out`: pair -> why not.
    `noisy`: pairs used although a run of them was flagged."""

    metric: Metric
    baseline: str
    strategy: str
    pairs: tuple[int, ...]
    left_out: Mapping[int, str]
    noisy: tuple[int, ...]
    result: measure.Comparison
    verdict: measure.Verdict | None
    reason: str

    @property
    def reduction(self) -> float | None:
        return self.result.reduction

    @property
    def low(self) -> float | None:
        return self.result.interval.low if self.result.interval else None

    @property
    def high(self) -> float | None:
        return self.result.interval.high if self.result.interval else None

    def as_data(self) -> dict[str, Any]:
        """The entry in report.json. All ratios are strategy / baseline; low and high bound the reduction."""
        found, interval = self.result, self.result.interval
        return {
            "metric": self.metric.name,
            "baseline": self.baseline,
            "strategy": self.strategy,
            "n": found.n,
            "pairs": list(self.pairs),
            "left_out": {str(pair): why for pair, why in self.left_out.items()},
            "noisy_pairs": list(self.noisy),
            "estimate": found.estimate,
            "ratio": found.ratio,
            "reduction": found.reduction,
            "low": self.low,
            "high": self.high,
            "level": LEVEL,
            "interval_method": interval.method if interval else None,
            "ratio_of_means": found.ratio_of_means,
            "ratio_of_medians": found.ratio_of_medians,
            "geometric_mean_ratio": found.geometric_mean_ratio,
            "bootstrap": _bounds(found.bootstrap),
            "p": found.p,
            "p_method": found.p_method,
            "seed": found.seed,
            "resamples": found.resamples,
            "verdict": self.verdict,
            "reason": self.reason,
        }


def _bounds(interval: measure.Interval | None) -> dict[str, Any] | None:
    if interval is None:
        return None
    return {"low": interval.low, "high": interval.high, "method": interval.method}


def latest(results: Sequence[TrialResult]) -> dict[tuple[int, str], TrialResult]:
    """(pair, strategy) -> the run that counts: the last, where a pair was run again."""
    return {
        (result.pair, result.strategy): result for result in sorted(results, key=lambda r: r.trial.number)
    }


def strategies_of(results: Sequence[TrialResult]) -> list[str]:
    return strategy_order([result.strategy for result in results])


def compare_all(results: Sequence[TrialResult], target: float) -> list[Compared]:
    """Every metric, every two strategies, the earlier of `metrics.ORDER` as the baseline."""
    counted = latest(results)
    return [
        compare_one(counted, metric, baseline, strategy, target)
        for metric in METRICS
        if metric.compared
        for baseline, strategy in combinations(strategies_of(results), 2)
    ]


def compare_one(
    counted: Mapping[tuple[int, str], TrialResult],
    metric: Metric,
    baseline: str,
    strategy: str,
    target: float,
) -> Compared:
    usable: list[int] = []
    left_out: dict[int, str] = {}
    for pair in sorted({pair for pair, _ in counted}):
        why = _unusable(counted, metric, pair, (baseline, strategy))
        if why:
            left_out[pair] = why
        else:
            usable.append(pair)
    clean = [pair for pair in usable if all(counted[pair, s].clean for s in (baseline, strategy))]
    noisy: tuple[int, ...] = ()
    if len(clean) >= FEWEST_CLEAN:
        for pair in set(usable) - set(clean):
            left_out[pair] = "the machine was disturbed"
        usable = clean
    else:
        noisy = tuple(pair for pair in usable if pair not in clean)
    values = [[counted[pair, s].values[metric.name] or 0.0 for pair in usable] for s in (baseline, strategy)]
    # Under SMALL pairs the bootstrap is told beside the interval that counts: fewer resamples will do.
    resamples = 10_000 if len(usable) >= measure.SMALL else 1_000
    found = measure.compare(*values, level=LEVEL, resamples=resamples)
    reason = found.reason if usable else next(iter(left_out.values()), "there is no pair")
    verdict = measure.verdict(found.interval, target) if usable and found.ratio is not None else None
    return Compared(
        metric,
        baseline,
        strategy,
        tuple(usable),
        dict(sorted(left_out.items())),
        noisy,
        found,
        verdict,
        reason,
    )


def _unusable(
    counted: Mapping[tuple[int, str], TrialResult], metric: Metric, pair: int, arms: tuple[str, str]
) -> str | None:
    for arm in arms:
        result = counted.get((pair, arm))
        if result is None:
            return f"{arm} was not run in it"
        if result.values[metric.name] is None:
            return f"{arm}: {result.reasons[metric.name]}"
    return None


def spread(results: Sequence[TrialResult], metric: str) -> dict[str, float | int | None]:
    """n, mean, median, sample standard deviation, least and greatest over the runs that have a value."""
    values = [value for result in results if (value := result.values[metric]) is not None]
    if not values:
        return {"n": 0, "mean": None, "median": None, "stdev": None, "min": None, "max": None}
    return {
        "n": len(values),
        "mean": statistics.fmean(values),
        "median": statistics.median(values),
        "stdev": stdev(values),
        "min": min(values),
        "max": max(values),
    }


def runs_of(results: Sequence[TrialResult], strategy: str) -> list[TrialResult]:
    """The runs of a strategy that count, in order."""
    return [result for (_, name), result in sorted(latest(results).items()) if name == strategy]
