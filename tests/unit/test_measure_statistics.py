"""Estimators, comparison and order against answers worked out by hand or taken from tables."""

from __future__ import annotations

import math
import random
import statistics

import pytest

from labctl.measure import student
from labctl.measure.compare import (
    Interval,
    bca,
    compare,
    fieller,
    ratio_of_means,
    sign_flip,
    student_interval,
    verdict,
)
from labctl.measure.estimators import percentile, source_method, stdev, trimmed_mean
from labctl.measure.order import abba


def test_the_sources_method_leaves_out_three_at_each_end_of_twenty() -> None:
    samples = [0.0, 0.0, 0.0, *range(100, 114), 9999.0, 9999.0, 9999.0]
    random.Random(1).shuffle(samples)
    assert source_method(samples) == sum(range(100, 114)) / 14 == 106.5


def test_the_sources_method_takes_twenty_samples() -> None:
    with pytest.raises(ValueError, match="20 samples, not 19"):
        source_method([1.0] * 19)
    assert source_method([1, 2, 3, 4], trim=1, n=4) == 2.5


def test_trimming_everything_is_an_error() -> None:
    with pytest.raises(ValueError, match="cannot lose 2"):
        trimmed_mean([1, 2, 3, 4], trim=2)


def test_percentile_is_the_nearest_rank() -> None:
    samples = [15, 20, 35, 40, 50]
    assert [percentile(samples, p) for p in (5, 30, 40, 50, 100)] == [15, 20, 20, 35, 50]
    with pytest.raises(ValueError, match="percentile"):
        percentile(samples, 0)


def test_stdev() -> None:
    assert stdev([2, 4, 4, 4, 5, 5, 7, 9]) == pytest.approx(math.sqrt(32 / 7))
    assert stdev([1]) is None


@pytest.mark.parametrize(
    ("df", "t"),
    [
        (1, 12.706),
        (2, 4.303),
        (3, 3.182),
        (4, 2.776),
        (5, 2.571),
        (6, 2.447),
        (7, 2.365),
        (10, 2.228),
        (30, 2.042),
    ],
)
def test_critical_values_are_those_of_the_tables(df: int, t: float) -> None:
    assert student.critical(0.95, df) == pytest.approx(t, abs=0.0005)


def test_students_interval_of_log_ratios() -> None:
    # Ratios 0.5, 0.6, 0.72: logs have mean ln 0.6 and standard deviation ln 1.2 = 0.18232; t(2) = 4.3027.
    logs = [math.log(0.5), math.log(0.6), math.log(0.72)]
    interval = student_interval(logs)
    half = 4.302653 * math.log(1.2) / math.sqrt(3)
    assert (interval.low, interval.high) == pytest.approx(
        (1 - 0.6 * math.exp(half), 1 - 0.6 * math.exp(-half))
    )
    assert student_interval([0.1]) is None


def test_few_pairs_use_students_interval_and_say_why() -> None:
    result = compare([100, 100, 100], [50, 60, 72])
    assert result.interval == result.student
    assert result.bootstrap.method == "bca bootstrap"
    assert result.geometric_mean_ratio == pytest.approx(0.6)
    assert result.ratio == pytest.approx(0.6)
    assert result.ratio_of_means == pytest.approx(182 / 300)
    assert result.ratio_of_medians == pytest.approx(0.6)
    assert "too few for a bootstrap" in result.reason


def test_from_eight_pairs_on_the_bootstrap_is_used() -> None:
    baseline = [100, 104, 98, 101, 97, 103, 99, 102]
    treated = [60, 63, 58, 62, 57, 61, 60, 62]
    result = compare(baseline, treated, seed=7)
    assert result.interval == result.bootstrap
    assert result.estimate == "ratio of means"
    assert result.interval.low < result.reduction < result.interval.high
    assert result == compare(baseline, treated, seed=7)
    assert result.interval != compare(baseline, treated, seed=8).interval
    assert result.p == 2 / 2**8


def test_a_bootstrap_interval_covers_as_often_as_it_says() -> None:
    chance = random.Random(3)
    covered = 0
    for _ in range(200):
        pairs = [
            (b, b * 0.7 * math.exp(chance.gauss(0, 0.1))) for b in (chance.gauss(100, 5) for _ in range(15))
        ]
        interval = bca(pairs, ratio_of_means, resamples=400, seed=1)
        covered += interval.low <= 1 - 0.7 * math.exp(0.005) <= interval.high
    assert 0.86 <= covered / 200 <= 0.99


def test_comparing_an_arm_with_itself_shows_no_reduction() -> None:
    result = compare([3, 4, 5, 6], [3, 4, 5, 6])
    assert (result.reduction, result.p) == (pytest.approx(0), 1.0)
    assert result.interval.low == pytest.approx(0)
    assert verdict(result.interval) == "fail"


def test_a_scale_changes_no_ratio() -> None:
    baseline, treated = [90, 110, 95, 130], [70, 60, 80, 75]
    one = compare(baseline, treated)
    other = compare([v * 1000 for v in baseline], [v * 1000 for v in treated])
    assert (one.interval.low, one.interval.high) == pytest.approx((other.interval.low, other.interval.high))
    assert one.p == other.p


def test_zeros_have_no_logarithm_so_fieller_is_used() -> None:
    result = compare([400, 410, 390], [0, 0, 0])
    assert (result.reduction, result.interval.low, result.interval.high) == (1, 1, 1)
    assert result.interval.method == "fieller"
    assert result.geometric_mean_ratio is None


def test_fiellers_bounds_are_where_t_is_critical() -> None:
    pairs = [(100.0, 61.0), (120.0, 66.0), (90.0, 58.0), (105.0, 0.0)]
    interval = fieller(pairs)
    for ratio in (1 - interval.low, 1 - interval.high):
        d = [t - ratio * b for b, t in pairs]
        t = statistics.fmean(d) / (statistics.stdev(d) / math.sqrt(4))
        assert abs(t) == pytest.approx(student.critical(0.95, 3))


def test_a_baseline_of_nothing_has_no_ratio() -> None:
    result = compare([0, 0, 0], [1, 2, 3])
    assert (result.ratio, result.interval, result.reason) == (None, None, "the baseline is 0")


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_pairs_show_nothing(n: int) -> None:
    result = compare([10.0] * n, [5.0] * n)
    assert result.interval is None
    assert "needs at least 2" in result.reason
    assert verdict(result.interval) == "not shown"


def test_costs_are_pairs_and_not_negative() -> None:
    with pytest.raises(ValueError, match="zip"):
        compare([1, 2], [1])
    with pytest.raises(ValueError, match="negative"):
        compare([1, 2], [1, -2])


def test_the_exact_permutation_test() -> None:
    # |sums| of (1, 2, 3) over all signs: 6, 4, 2, 0, 0, 2, 4, 6.
    assert sign_flip([1, 2, 3]) == (0.25, "exact sign-flip permutation")
    assert sign_flip([1, 2, -3])[0] == 1.0
    assert sign_flip([-1, 3, 2])[0] == 0.5
    assert sign_flip([]) == (None, "no pair")


def test_many_pairs_use_random_sign_patterns() -> None:
    p, how = sign_flip([1.0] * 20, resamples=2000, seed=5)
    assert p == pytest.approx(1 / 2001)
    assert "2000 random patterns" in how


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [(0.20, 0.4, "pass"), (0.19, 0.4, "not shown"), (-0.1, 0.2, "not shown"), (-0.1, 0.199, "fail")],
)
def test_the_verdict_looks_at_the_whole_interval(low: float, high: float, says: str) -> None:
    assert verdict(Interval(low, high, 0.95, "")) == says


def test_abba_is_counter_balanced() -> None:
    assert abba(["a", "b"], 2) == [(1, "a"), (1, "b"), (2, "b"), (2, "a")]
    assert [arm for _, arm in abba(["a", "b", "c"], 2)] == ["a", "b", "c", "c", "b", "a"]


@pytest.mark.parametrize("arms", [["a", "b"], ["a", "b", "c"], ["a", "b", "c", "d"]])
def test_a_linear_drift_cancels_over_an_even_number_of_pairs(arms: list[str]) -> None:
    order = abba(arms, 4)
    places = {arm: [i for i, (_, other) in enumerate(order) if other == arm] for arm in arms}
    assert len({sum(where) for where in places.values()}) == 1
    for pair in range(1, 5):
        assert sorted(arm for p, arm in order if p == pair) == arms


@pytest.mark.parametrize(("arms", "pairs"), [([], 1), (["a", "a"], 1), (["a"], 0)])
def test_nonsense_has_no_order(arms: list[str], pairs: int) -> None:
    with pytest.raises(ValueError, match=r"arm|pair"):
        abba(arms, pairs)
