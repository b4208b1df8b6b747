"""Scores of answers by hand, alone, beside the parent's, and in the table."""

import math
from typing import Any

import pytest

from edgedistil.measurement.span_quality import span_quality, spans_against_parent
from edgedistil.measurement.statistics import wilson
from edgedistil.reporting.table import matrix
from edgedistil.workers.client import Worker, WorkerError

EXPECTED = [["new york"], ["cat", "the black cat"], ["1900"], ["x"]]


def test_scores_and_intervals_by_hand() -> None:
    found = span_quality(["York", "black cat", "1900", ""], EXPECTED)
    f1 = [2 / 3, 1.0, 1.0, 0.0]
    mean = sum(f1) / 4
    half = 1.959964 * math.sqrt(sum((x - mean) ** 2 for x in f1) / 3 / 4)
    low, high = wilson(2, 4)
    assert found == {
        "f1": pytest.approx(mean, abs=1e-6), "exact_match": 0.5, "n": 4, "right": 2,
        "exact_match_ci95_low": pytest.approx(low, abs=1e-6), "exact_match_ci95_high": pytest.approx(high, abs=1e-6),
        "f1_ci95_low": pytest.approx(mean - half, abs=1e-6), "f1_ci95_high": pytest.approx(min(1, mean + half)),
    }


def test_the_difference_from_the_parent_is_of_the_same_questions() -> None:
    parent, own = ["new york", "dog", "1900", "y"], ["York", "cat", "1900", "z"]
    found = spans_against_parent(own, parent, EXPECTED)
    assert (found["gained"], found["lost"], found["exact_match_points"], found["mcnemar_p"]) == (1, 1, 0.0, 1.0)
    # F1 of the pairs: -1/3, +1, 0, 0
    assert found["f1_points"] == pytest.approx(100 / 6, abs=1e-4)
    assert found["f1_points_ci95_low"] < 0 < found["f1_points_ci95_high"]
    assert found["flips"] == 3


def test_the_table_says_what_the_scores_are() -> None:
    common = {"status": "done", "model": "m", "task": "t", "device": "cpu", "compression": "dense", "valid": True,
              "size_model_mb": 1.0, "peak_rss_mb_batch_1": 1.0, "cold_start_total_ms_p50": 1.0}
    spans = common | {"exact_match": 0.5, "f1": 0.625, "f1_ci95_low": 0.5, "f1_ci95_high": 0.75,
                      "parent_exact_match_points": -1.25, "parent_mcnemar_p": 0.5}
    labels = common | {"accuracy": 0.9, "accuracy_ci95_low": 0.8, "accuracy_ci95_high": 0.95}
    def column(*rows: dict[str, Any]) -> list[str]:
        return [line.split("|")[2].strip() for line in matrix(list(rows)).splitlines()]

    assert column(spans)[::2] == ["EM / F1 % [95 % of F1]", "50.00 / 62.50 [50.0, 75.0]"]
    assert "| -1.25 (0.50) |" in matrix([spans])
    assert column(labels)[::2] == ["accuracy % [95 %]", "90.00 [80.0, 95.0]"]
    assert column(labels, spans)[0] == "accuracy % [95 %] or EM / F1 % [95 % of F1]"


def test_an_engine_that_knows_no_spans_says_so() -> None:
    with Worker("edgedistil.workers.gemm", 1) as worker, pytest.raises(WorkerError, match="does not answer by spans"):
        worker.ask("spans", ids=[[1]], types=[[0]])
