"""What every percentile, interval and test holds, whatever the figures are."""

import math
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from edgedistil.measurement.statistics import (
    bootstrap_median,
    design_effect,
    group_interval,
    mcnemar,
    median,
    percentile,
    percentile_interval,
    student_quantile,
    wilson,
)

TIMES = st.lists(st.floats(0.001, 1e6), min_size=1, max_size=40)
PERCENT = st.floats(0, 100)
# What rounding of sums may add.
SLACK = 1 + 1e-9


@given(TIMES, PERCENT, PERCENT)
def test_percentiles_lie_between_the_extremes_and_in_their_order(values: list[float], one: float, other: float) -> None:
    low, high = percentile(values, min(one, other)), percentile(values, max(one, other))
    assert min(values) <= low * SLACK
    assert low <= high * SLACK
    assert high <= max(values) * SLACK
    assert (percentile(values, 0), percentile(values, 100)) == (min(values), max(values))


@given(TIMES, PERCENT, st.randoms(use_true_random=False))
def test_the_order_of_values_changes_nothing(values: list[float], percent: float, chance: random.Random) -> None:
    other = chance.sample(values, len(values))
    assert percentile(other, percent) == percentile(values, percent)
    assert percentile_interval(other, 90) == percentile_interval(values, 90)
    assert median(other) == median(values)


@given(TIMES, st.floats(0.001, 1000))
def test_times_in_another_unit_have_the_same_percentiles(values: list[float], factor: float) -> None:
    scaled = percentile([factor * v for v in values], 90)
    assert math.isclose(scaled, factor * percentile(values, 90), rel_tol=1e-9)


# Of two values the larger one bounds the 99th percentile from below (P = 98 %), which interpolation puts below it.
@given(st.lists(st.floats(0.001, 1e6), min_size=3, max_size=300), st.sampled_from([50, 90, 99]))
def test_the_interval_of_a_percentile_holds_it_from_three_values_on(values: list[float], percent: float) -> None:
    low, high = percentile_interval(values, percent)
    own = percentile(values, percent)
    assert low is None or (low in values and low <= own * SLACK)
    assert high is None or (high in values and own <= high * SLACK)


@given(st.integers(0, 5000), st.integers(0, 5000))
def test_the_interval_of_a_share_holds_it_and_narrows_with_more_texts(one: int, other: int) -> None:
    hits, n = min(one, other), max(one, other)
    low, high = wilson(hits, n)
    assert 0 <= low <= high <= 1
    assert low - 1e-12 <= (hits / n if n else 0.5) <= high + 1e-12
    assert wilson(4 * hits, 4 * n)[1] - wilson(4 * hits, 4 * n)[0] <= high - low
    mirrored = wilson(n - hits, n)
    assert math.isclose(mirrored[0], 1 - high, abs_tol=1e-12)


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_a_probability_that_takes_no_side(one: int, other: int) -> None:
    assert 0 < mcnemar(one, other) <= 1
    assert mcnemar(one, other) == mcnemar(other, one)
    if one > other:
        assert mcnemar(one + 1, other) <= mcnemar(one, other)


@settings(max_examples=50)
@given(st.lists(st.lists(st.floats(0.1, 1e4), min_size=1, max_size=6), min_size=1, max_size=6),
       st.sampled_from([0.5, 0.8, 0.95]))
def test_an_interval_of_groups_holds_its_estimate_and_widens(groups: list[list[float]], confidence: float) -> None:
    estimate, low, high = group_interval(groups, confidence)
    assert low <= estimate * SLACK
    assert estimate <= high * SLACK
    if len(groups) > 1:
        wider = group_interval(groups, confidence + 0.015)
        assert wider[1] <= low
        assert high <= wider[2]
        assert math.isclose(group_interval(groups[::-1], confidence)[0], estimate, rel_tol=1e-9)


@given(TIMES, st.integers(0, 2**31))
def test_a_bootstrap_stays_among_the_values(values: list[float], seed: int) -> None:
    estimate, low, high = bootstrap_median(values, 60, seed)
    assert estimate == median(values)
    assert min(values) <= low * SLACK
    assert low <= high * SLACK
    assert high <= max(values) * SLACK


@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0]), st.integers(0, 5)), min_size=1, max_size=60))
def test_a_design_effect_is_at_least_one_and_does_not_see_names_of_clusters(drawn: list[tuple[float, int]]) -> None:
    hits, clusters = [hit for hit, _ in drawn], [cluster for _, cluster in drawn]
    found = design_effect(hits, clusters)
    assert 1 <= found <= len(hits) * SLACK
    assert math.isclose(design_effect(hits, [7 - cluster for cluster in clusters]), found, rel_tol=1e-9)
    assert design_effect(hits, list(range(len(hits)))) <= SLACK


@settings(max_examples=25)
@given(st.floats(0.5, 0.999), st.floats(0.5, 0.999), st.integers(1, 60))
def test_students_quantiles_grow_with_the_probability_and_fall_with_freedom(a: float, b: float, freedom: int) -> None:
    low, high = (student_quantile(p, freedom) for p in (min(a, b), max(a, b)))
    assert low <= high + 1e-9
    assert student_quantile(max(a, b), freedom + 1) <= high + 1e-6
