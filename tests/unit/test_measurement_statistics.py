"""Intervals and tests against scipy, NumPy and values worked out by hand."""

import random

import numpy as np
import pytest
from scipy.stats import binom, binomtest, t, ttest_1samp

from edgedistil.measurement.statistics import (
    bootstrap_median,
    group_interval,
    mcnemar,
    median,
    percentile,
    percentile_interval,
    student_quantile,
    wilson,
)


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (10, 10), (1, 2), (5, 10), (793, 872), (871, 872), (1, 100_000)])
def test_wilson_equals_scipy(hits: int, n: int) -> None:
    expected = binomtest(hits, n).proportion_ci(0.95, method="wilson")
    assert wilson(hits, n) == pytest.approx((expected.low, expected.high), abs=1e-7)
    assert 0 <= wilson(hits, n)[0] < wilson(hits, n)[1] <= 1


def test_wilson_of_nothing_says_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("first", "second"), [(0, 1), (5, 5), (1, 9), (9, 1), (3, 17), (40, 60), (700, 900)])
def test_mcnemar_equals_the_binomial_test(first: int, second: int) -> None:
    assert mcnemar(first, second) == pytest.approx(binomtest(first, first + second, 0.5).pvalue)


def test_mcnemar_by_hand() -> None:
    # 1 against 5 of 6: 2 (C(6,0) + C(6,1)) / 64
    assert mcnemar(1, 5) == 14 / 64
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(2, 2) == 1.0


@pytest.mark.parametrize("n", [1, 2, 5, 100])
@pytest.mark.parametrize("percent", [0, 2.5, 50, 90, 99, 100])
def test_percentile_equals_numpy(n: int, percent: float) -> None:
    values = [random.Random(n).gauss(0, 1) * i for i in range(n)]
    assert percentile(values, percent) == pytest.approx(float(np.percentile(values, percent)))
    assert median(values) == pytest.approx(float(np.median(values)))


def test_percentile_does_not_sort_its_input_in_place() -> None:
    values = [3.0, 1.0, 2.0]
    assert median(values) == 2.0
    assert values == [3.0, 1.0, 2.0]


def test_bootstrap_of_constant_values_is_that_value() -> None:
    assert bootstrap_median([2.0] * 9) == (2.0, 2.0, 2.0)


def test_bootstrap_interval_equals_numpys_bootstrap() -> None:
    values = np.random.default_rng(0).normal(10, 1, 41)
    resampled = np.random.default_rng(1).choice(values, (20_000, 41))
    low, high = np.percentile(np.median(resampled, axis=1), [2.5, 97.5])
    found = bootstrap_median(values.tolist())
    assert found[0] == pytest.approx(float(np.median(values)))
    assert found[1] == pytest.approx(low, abs=0.1)
    assert found[2] == pytest.approx(high, abs=0.1)
    assert bootstrap_median(values.tolist()) == found


def test_bootstrap_interval_holds_the_true_median_about_95_times_in_100() -> None:
    chance = random.Random(5)
    held = 0
    for number in range(100):
        _, low, high = bootstrap_median([chance.gauss(0, 1) for _ in range(25)], resamples=200, seed=number)
        held += low <= 0 <= high
    assert 86 <= held <= 100


@pytest.mark.parametrize("n", [5, 6, 64, 128, 367, 368, 1024, 20_000])
@pytest.mark.parametrize("percent", [50, 90, 99])
def test_bounds_of_a_percentile_are_the_binomials_order_statistics(n: int, percent: int) -> None:
    # P(Bin < r) of every rank r from 1
    below = binom.cdf(np.arange(n), n, percent / 100)
    low, high = int((below <= 0.025 + 1e-12).sum()), int((below < 0.975 - 1e-12).sum()) + 1
    found = percentile_interval([float(v) for v in range(n, 0, -1)], percent)
    assert found == (low or None, high if high <= n else None)


def test_bounds_hold_the_true_percentile_about_95_times_in_100() -> None:
    chance, held = random.Random(3), 0
    for _ in range(400):
        low, high = percentile_interval([chance.expovariate(1) for _ in range(128)], 90)
        assert low is not None
        assert high is not None
        held += low <= 2.302585 <= high
    assert 370 <= held <= 400


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 30, 200])
@pytest.mark.parametrize("probability", [0.975, 0.99, 0.995])
def test_students_quantile_equals_scipy(freedom: int, probability: float) -> None:
    assert student_quantile(probability, freedom) == pytest.approx(float(t.ppf(probability, freedom)), rel=1e-6)


def test_interval_of_groups_is_students_of_their_medians() -> None:
    chance = random.Random(1)
    groups = [[offset + chance.gauss(0, 0.01) for _ in range(31)] for offset in (-0.05, 0.02, 0.0, 0.04)]
    expected = ttest_1samp([median(g) for g in groups], 0).confidence_interval(0.98)
    middle, low, high = group_interval(groups, 0.98)
    assert (low, high) == pytest.approx((expected.low, expected.high))
    assert middle == pytest.approx((low + high) / 2)
    _, heap_low, heap_high = bootstrap_median([v for group in groups for v in group])
    assert high - low > 3 * (heap_high - heap_low)


def test_one_group_has_the_interval_of_its_own_values() -> None:
    values = [0.1, 0.3, 0.2, 0.5, 0.4]
    assert group_interval([values], 0.95) == bootstrap_median(values)


def test_a_constant_has_no_spread() -> None:
    assert group_interval([[0.5] * 9, [0.5] * 3], 0.95) == (0.5, 0.5, 0.5)
