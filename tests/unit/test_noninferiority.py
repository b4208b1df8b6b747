"""Drops over seeds and sentences: closed forms, what clusters do to the interval, and its coverage."""

import math
import random

import pytest

from edgedistil.measurement.noninferiority import drop, drop_of_counts
from edgedistil.measurement.statistics import mcnemar


def test_one_seed_is_bonett_and_price_by_hand() -> None:
    # 40 sentences, 5 lost, 2 gained: p12 = 6/42, p21 = 3/42.
    lost, gained = 6 / 42, 3 / 42
    error = math.sqrt((lost + gained - (lost - gained) ** 2) / 42)
    found = drop_of_counts(5, 2, 40)
    assert found.points == pytest.approx(7.5)
    assert found.seeds == pytest.approx((7.5,))
    assert found.centre == pytest.approx(100 * (lost - gained))
    assert found.interval() == pytest.approx((100 * (lost - gained - 1.959964 * error),
                                              100 * (lost - gained + 1.959964 * error)), abs=1e-4)
    assert found.bound() == pytest.approx(100 * (lost - gained + 1.644854 * error), abs=1e-4)


def test_the_bound_is_where_the_test_says_five_percent() -> None:
    found = drop_of_counts(9, 4, 872)
    assert found.p_at_most(found.bound()) == pytest.approx(0.05)
    assert found.p_at_most(found.bound() + 0.1) < 0.05 < found.p_at_most(found.bound() - 0.1)
    assert found.p_above(found.interval(0.90)[0]) == pytest.approx(0.05)


def test_no_differing_sentence_proves_no_drop_of_nothing() -> None:
    few, many = drop_of_counts(0, 0, 50), drop_of_counts(0, 0, 5000)
    assert few.points == many.points == 0
    assert few.p_at_most(0) == pytest.approx(0.5)
    # sqrt(2)/52 and sqrt(2)/5002, by 1.645
    assert few.bound() == pytest.approx(100 * 1.644854 * math.sqrt(2) / 52, rel=1e-5)
    assert many.bound() == pytest.approx(100 * 1.644854 * math.sqrt(2) / 5002, rel=1e-5)


def test_seeds_that_answer_alike_add_no_sentences() -> None:
    one = [1.0] * 12 + [-1.0] * 5 + [0.0] * 183
    assert drop([one, one, one]) == drop([one]).__class__(
        drop([one]).points, (3.5, 3.5, 3.5), drop([one]).centre, drop([one]).error, 200, 200
    )


def test_seeds_that_differ_on_other_sentences_narrow_the_interval() -> None:
    first = [1.0] * 12 + [0.0] * 188
    second = [0.0] * 188 + [1.0] * 12
    both = drop([first, second])
    assert both.points == pytest.approx(6.0)
    assert both.error < drop([first]).error


def test_each_seed_stands_beside_the_mean() -> None:
    assert drop([[1, 0, 0, 0], [0, 0, -1, -1]]).seeds == pytest.approx((25.0, -50.0))
    assert drop([[1, 0, 0, 0], [0, 0, -1, -1]]).points == pytest.approx(-12.5)


@pytest.mark.parametrize("differences", [[], [[]], [[1, 0], [1]]])
def test_seeds_of_other_sentences_are_refused(differences: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="sentences"):
        drop(differences)


@pytest.mark.parametrize(("n", "lost", "gained"), [(200, 0.05, 0.03), (872, 0.012, 0.004), (872, 0.002, 0.001)])
def test_coverage_over_seeds_that_share_sentences(n: int, lost: float, gained: float) -> None:
    chance = random.Random(5)
    runs, inside, below = 300, 0, 0
    for _ in range(runs):
        # Half of what a seed loses or gains the other does on the same sentences.
        shared = [chance.random() for _ in range(n)]
        seeds = []
        for _ in range(2):
            rolls = [s if chance.random() < 0.5 else chance.random() for s in shared]
            seeds.append([1.0 if r < lost else -1.0 if r < lost + gained else 0.0 for r in rolls])
        found, true = drop(seeds), 100 * (lost - gained)
        low, high = found.interval()
        inside += low <= true <= high
        below += found.bound() >= true
    # Standard error of a coverage of 95 % over 300 runs: 1.3 %.
    assert inside / runs >= 0.92
    assert below / runs >= 0.92


def test_a_naive_count_of_seeds_times_sentences_would_be_too_narrow() -> None:
    seed = [1.0] * 20 + [-1.0] * 8 + [0.0] * 400
    assert drop([seed * 2]).error < 0.75 * drop([seed, seed]).error


def test_it_agrees_with_mcnemar_where_both_can_be_asked() -> None:
    found = drop_of_counts(30, 10, 872)
    assert 2 * found.p_above(0) == pytest.approx(mcnemar(30, 10), abs=0.002)


def test_texts_that_are_their_own_sentence_change_nothing() -> None:
    one = [1.0] * 12 + [-1.0] * 5 + [0.0] * 183
    assert drop([one], list(range(200))) == drop([one])


def test_the_variance_between_sentences_by_hand() -> None:
    # Sentences of 2, 1 and 1 texts; the mean of the adjusted data is 1/6.
    found = drop([[1.0, 1.0, 0.0, -1.0]], [7, 7, 8, 9])
    centre = 1 / 6
    squares = [2 - 2 * centre, -centre, -1 - centre, 1 - centre, -1 - centre]
    assert found.points == pytest.approx(25.0)
    assert found.error == pytest.approx(100 * math.sqrt(sum(s * s for s in squares)) / 6)
    assert (found.n, found.clusters) == (4, 3)


def test_coverage_where_phrases_follow_their_sentence() -> None:
    chance = random.Random(11)
    runs, inside, naive = 300, 0, 0
    for _ in range(runs):
        differences: list[float] = []
        clusters: list[int] = []
        for sentence in range(150):
            likely = chance.betavariate(0.2, 3.8)
            for _ in range(chance.choice((4, 12, 20))):
                differences.append(1.0 if chance.random() < likely else 0.0)
                clusters.append(sentence)
        for by in (clusters, None):
            low, high = drop([differences], by).interval()
            inside += by is not None and low <= 5.0 <= high
            naive += by is None and low <= 5.0 <= high
    assert inside / runs >= 0.91
    assert naive / runs < 0.85


def test_the_two_sided_p_value() -> None:
    found = drop_of_counts(30, 10, 872)
    assert found.p_of_no_drop() == pytest.approx(mcnemar(30, 10), abs=0.002)
    assert drop_of_counts(10, 30, 872).p_of_no_drop() == pytest.approx(found.p_of_no_drop())
    assert drop_of_counts(0, 0, 50).p_of_no_drop() == pytest.approx(1.0)
