"""What each task of GLUE contributes, and how sure one run's score is."""

import math

import pytest

from edgedistil.reporting.glue import glue_score, macro_rows
from edgedistil.reporting.score_error import accuracy_and_f1_error, matthews_error, standard_error


def test_a_task_with_two_metrics_contributes_their_mean() -> None:
    both = {"validation_accuracy": 0.8, "validation_f1": 0.9}
    assert glue_score({"task": "mrpc", **both}) == pytest.approx(0.85)
    assert glue_score({"task": "qqp", **both}) == pytest.approx(0.85)
    assert glue_score({"task": "sst2", **both}) == 0.8
    assert glue_score({"task": "stsb", "validation_pearson": 0.9, "validation_spearman": 0.8}) == pytest.approx(0.85)
    assert glue_score({"task": "cola", "validation_matthews_correlation": 0.4, **both}) == 0.4
    matched = {"task": "mnli", "validation_accuracy": 0.8}
    assert glue_score(matched) == 0.8
    assert glue_score(matched | {"more_splits_mismatched_accuracy": 0.7}) == 0.75
    assert glue_score({"task": "mrpc", "validation_accuracy": 0.8}) is None
    assert glue_score({"task": "imdb", "validation_accuracy": 0.8}) is None


def test_the_rerun_of_mrpc_that_disputes_the_paper_is_a_mean() -> None:
    # transformers#2447: 85.5 accuracy and 89.6 F1 make the 87.5 that the paper prints now.
    assert glue_score({"task": "mrpc", "validation_accuracy": 0.855, "validation_f1": 0.896}) == pytest.approx(0.8755)


def test_nine_medians_make_a_row() -> None:
    names = ("cola", "mnli", "mrpc", "qnli", "qqp", "rte", "sst2", "stsb", "wnli")
    rows = [{"task": t, "role": "small", "taught": False, "glue_score": s, "seed": i} for t in names
            for i, s in enumerate((0.1, 0.5, 0.6))]
    assert macro_rows(rows) == [{"task": "glue", "role": "small", "taught": False, "status": "done", "glue_score": 0.5}]
    assert macro_rows([r for r in rows if r["task"] != "rte"]) == []


def delta(score, shares: list[float], n: int) -> float:
    """The multinomial delta method with numeric derivatives."""
    step = 1e-6
    slopes = []
    for i in range(len(shares)):
        up, down = list(shares), list(shares)
        up[i] += step
        down[i] -= step
        slopes.append((score(up) - score(down)) / (2 * step))
    mean = sum(p * s for p, s in zip(shares, slopes, strict=True))
    return math.sqrt((sum(p * s * s for p, s in zip(shares, slopes, strict=True)) - mean**2) / n)


def phi(table: list[float]) -> float:
    a, b, c, d = table
    return (a * d - b * c) / math.sqrt((a + b) * (c + d) * (a + c) * (b + d))


def test_the_error_of_matthews_is_the_delta_methods() -> None:
    table, n = [0.60, 0.09, 0.09, 0.22], 1043
    assert matthews_error(phi(table), n, 0.69) == pytest.approx(delta(phi, table, n), rel=1e-6)


def test_the_error_of_accuracy_and_f1_is_the_delta_methods() -> None:
    # true positives, errors, true negatives
    def mean(t: list[float]) -> float:
        return (1 - t[1] + 2 * t[0] / (2 * t[0] + t[1])) / 2

    table, n = [0.60, 0.15, 0.25], 408
    accuracy, f1 = 1 - table[1], 2 * table[0] / (2 * table[0] + table[1])
    assert accuracy_and_f1_error(accuracy, f1, n) == pytest.approx(delta(mean, table, n), rel=1e-6)


def test_errors_are_of_the_record_where_it_has_them() -> None:
    own = {"task": "squad", "validation_f1": 0.7, "validation_f1_ci95_low": 0.66, "validation_f1_ci95_high": 0.74}
    assert standard_error(own, "validation_f1") == pytest.approx(0.04 / 1.959964)
    rte = {"task": "rte", "validation_accuracy": 0.6, "validation_n": 277}
    assert standard_error(rte) == pytest.approx(math.sqrt(0.24 / 277))
    halves = {"validation_n": 100, "more_splits_mismatched_accuracy": 0.6, "more_splits_mismatched_n": 400}
    assert standard_error(rte | {"task": "mnli"} | halves) == pytest.approx(math.sqrt(0.24 / 100 + 0.24 / 400) / 2)
    pairs = {"task": "stsb", "validation_n": 103, "validation_pearson": 0.6, "validation_spearman": 0.8}
    assert standard_error(pairs) == pytest.approx((0.064 + 0.036) / 2)
    assert standard_error({"task": "imdb", "validation_accuracy": 0.8, "validation_n": 9}) is None
    assert standard_error(own, "validation_exact_match") is None
