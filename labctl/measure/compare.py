"""Is one arm's cost lower than another's? Ratios over pairs of whole runs, with an interval and a verdict.

The unit is a pair: one run of each arm, back to back. A ratio is treatment / baseline, a reduction is
1 - ratio, so 0.2 means "20 % less". Sources: Kalibera & Jones, "Quantifying Performance Changes with Effect
Size Confidence Intervals" (arXiv 2007.10899) for ratios with intervals over whole runs; Efron & Tibshirani,
"An Introduction to the Bootstrap", ch. 14, for BCa; Fieller 1954 for the ratio of paired means.
"""

from __future__ import annotations

import itertools
import math
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from labctl.measure import student

Verdict = Literal["pass", "fail", "not shown"]
Pairs = Sequence[tuple[float, float]]
SMALL = 8
EXACT = 16


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval of a reduction; `method` names how it was made."""

    low: float
    high: float
    level: float
    method: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two arms over n pairs. `ratio` is the estimate that `interval` is about, named by `estimate`; all
    ratios are treatment / baseline, all intervals those of the reduction 1 - ratio. None with `reason`."""

    n: int
    estimate: str
    ratio: float | None
    reduction: float | None
    interval: Interval | None
    ratio_of_means: float | None
    ratio_of_medians: float | None
    geometric_mean_ratio: float | None
    bootstrap: Interval | None
    student: Interval | None
    p: float | None
    p_method: str
    resamples: int
    seed: int
    reason: str


def compare(
    baseline: Sequence[float],
    treatment: Sequence[float],
    *,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 1,
) -> Comparison:
    """Compare paired values (same unit, not negative; baseline[i] and treatment[i] are one pair).

    From 8 pairs on the interval is the BCa bootstrap of the ratio of means over pairs. Below, resampling a
    handful of pairs gives intervals that are too narrow, so it is Student's: on the logarithms of the
    pairs' ratios, or Fieller's where a value is 0. ValueError for unequal lengths or negative values."""
    pairs = list(zip(baseline, treatment, strict=True))
    if any(value < 0 for pair in pairs for value in pair):
        raise ValueError("a cost cannot be negative")
    n = len(pairs)
    means, medians = ratio_of_means(pairs), ratio_of_medians(pairs)
    logs = log_ratios(pairs)
    geometric = math.exp(statistics.fmean(logs)) if logs else None
    bootstrap = bca(pairs, ratio_of_means, level=level, resamples=resamples, seed=seed)
    small = student_interval(logs, level) if logs else fieller(pairs, level)
    p, p_method = sign_flip(logs or [b - t for b, t in pairs], seed=seed)
    if n >= SMALL:
        estimate, ratio, interval = "ratio of means", means, bootstrap
        reason = f"BCa bootstrap over {n} pairs, {resamples} resamples, seed {seed}"
    elif logs:
        estimate, ratio, interval = "geometric mean of the pairs' ratios", geometric, small
        reason = f"{n} pairs are too few for a bootstrap (under {SMALL} it is too narrow): Student's t on log ratios"
    else:
        estimate, ratio, interval = "ratio of means", means, small
        reason = f"{n} pairs, some value is 0 (no log ratio): Fieller's interval of the ratio of means"
    if n < 2:
        reason = f"{n} pair{'s' * (n != 1)}: an interval needs at least 2"
    elif ratio is None:
        reason = "the baseline is 0"
    elif interval is None:
        reason += "; it has no finite bounds"
    return Comparison(
        n=n,
        estimate=estimate,
        ratio=ratio,
        reduction=None if ratio is None else 1 - ratio,
        interval=interval,
        ratio_of_means=means,
        ratio_of_medians=medians,
        geometric_mean_ratio=geometric,
        bootstrap=bootstrap,
        student=small,
        p=p,
        p_method=p_method,
        resamples=resamples,
        seed=seed,
        reason=reason,
    )


def verdict(interval: Interval | None, target: float = 0.20) -> Verdict:
    """'pass' when the whole interval of the reduction is at or above the target, 'fail' when all of it is
    below, 'not shown' when the target lies inside or there is no interval."""
    if interval is None:
        return "not shown"
    if interval.low >= target:
        return "pass"
    return "fail" if interval.high < target else "not shown"


def ratio_of_means(pairs: Pairs) -> float | None:
    """sum(treatment) / sum(baseline); None when the baseline is 0 or there is no pair."""
    base = sum(b for b, _ in pairs)
    return sum(t for _, t in pairs) / base if base else None


def ratio_of_medians(pairs: Pairs) -> float | None:
    base = statistics.median(b for b, _ in pairs) if pairs else 0
    return statistics.median(t for _, t in pairs) / base if base else None


def log_ratios(pairs: Pairs) -> list[float]:
    """ln(treatment / baseline) of each pair; empty when a value is 0, where a logarithm has no meaning."""
    if any(b == 0 or t == 0 for b, t in pairs):
        return []
    return [math.log(t / b) for b, t in pairs]


def student_interval(logs: Sequence[float], level: float = 0.95) -> Interval | None:
    """Student's interval of the mean log ratio, as a reduction. None for fewer than two pairs."""
    n = len(logs)
    if n < 2:
        return None
    half = student.critical(level, n - 1) * statistics.stdev(logs) / math.sqrt(n)
    centre = statistics.fmean(logs)
    return Interval(
        1 - math.exp(centre + half), 1 - math.exp(centre - half), level, "student-t on log ratios"
    )


def fieller(pairs: Pairs, level: float = 0.95) -> Interval | None:
    """Fieller's interval of the ratio of paired means: every ratio r for which mean(t - r b) does not differ
    from 0. None for fewer than two pairs, or when the baseline's mean is not clear of 0 (it is then unbounded)."""
    n = len(pairs)
    if n < 2:
        return None
    base, treated = [b for b, _ in pairs], [t for _, t in pairs]
    mean_b, mean_t = statistics.fmean(base), statistics.fmean(treated)
    scale = student.critical(level, n - 1) ** 2 / n
    v_b, v_t = statistics.variance(base, mean_b) * scale, statistics.variance(treated, mean_t) * scale
    v_bt = statistics.covariance(base, treated) * scale
    a, half_b, c = mean_b**2 - v_b, mean_b * mean_t - v_bt, mean_t**2 - v_t
    if a <= 0:
        return None
    root = math.sqrt(max(0.0, half_b**2 - a * c))
    return Interval(1 - (half_b + root) / a, 1 - (half_b - root) / a, level, "fieller")


def bca(
    pairs: Pairs,
    statistic: Callable[[Pairs], float | None],
    *,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 1,
) -> Interval | None:
    """The bias-corrected and accelerated bootstrap interval of a ratio over pairs, as a reduction. Where the
    correction is undefined (every resample on one side) it is the percentile interval, and `method` says so.
    None for fewer than two pairs or a baseline of 0."""
    n = len(pairs)
    estimate = statistic(pairs)
    if n < 2 or estimate is None:
        return None
    chance = random.Random(seed)
    drawn = [statistic(chance.choices(pairs, k=n)) for _ in range(resamples)]
    values = sorted(value for value in drawn if value is not None)
    if len(values) < resamples * 0.99:
        return None
    normal = statistics.NormalDist()
    below = (sum(v < estimate for v in values) + sum(v == estimate for v in values) / 2) / len(values)
    tails = ((1 - level) / 2, (1 + level) / 2)
    method = "bca bootstrap"
    left_out = [statistic([*pairs[:i], *pairs[i + 1 :]]) for i in range(n)]
    jackknife = [value for value in left_out if value is not None]
    if 0 < below < 1 and len(jackknife) == n:
        centre = statistics.fmean(jackknife)
        cubes = sum((centre - value) ** 3 for value in jackknife)
        squares = sum((centre - value) ** 2 for value in jackknife)
        acceleration = cubes / (6 * squares**1.5) if squares else 0.0
        bias = normal.inv_cdf(below)
        shifted = [bias + normal.inv_cdf(tail) for tail in tails]
        low, high = (normal.cdf(bias + z / (1 - acceleration * z)) for z in shifted)
    else:
        low, high = tails
        method = "percentile bootstrap"
    ratio_low, ratio_high = (_quantile(values, share) for share in (low, high))
    return Interval(1 - ratio_high, 1 - ratio_low, level, method)


def _quantile(values: Sequence[float], share: float) -> float:
    return values[min(len(values) - 1, max(0, round(share * (len(values) - 1))))]


def sign_flip(
    differences: Sequence[float], *, resamples: int = 10_000, seed: int = 1
) -> tuple[float | None, str]:
    """The two-sided sign-flip permutation test that paired differences (or log ratios) are centred on 0:
    p, and how it was made. Exact over all 2^n sign patterns up to 16 pairs, so p is never under 2 / 2^n; a
    seeded random sample of patterns beyond. None for no pair. Source: Fisher 1935, ch. 21."""
    n = len(differences)
    if n == 0:
        return None, "no pair"
    observed = abs(sum(differences)) * (1 - 1e-12)
    if n <= EXACT:
        sums = (
            sum(d * s for d, s in zip(differences, signs, strict=True))
            for signs in itertools.product((1, -1), repeat=n)
        )
        return sum(abs(total) >= observed for total in sums) / 2**n, "exact sign-flip permutation"
    chance = random.Random(seed)
    extreme = 1  # the pattern that was observed
    for _ in range(resamples):
        bits = chance.getrandbits(n)
        total = sum(d if bits >> i & 1 else -d for i, d in enumerate(differences))
        extreme += abs(total) >= observed
    return extreme / (resamples + 1), f"sign-flip permutation, {resamples} random patterns"
