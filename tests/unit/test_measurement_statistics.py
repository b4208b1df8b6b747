"""Intervals and tests against scipy, NumPy and values worked out by hand."""

import random

import numpy as np
import pytest
from scipy.stats import binomtest

from edgedistil.measurement.statistics import bootstrap_median, mcnemar, median, percentile, wilson


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
