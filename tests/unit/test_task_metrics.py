"""Metrics in NumPy equal torchmetrics, on random labels and in the degenerate cases."""

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import (
    binary_f1_score,
    multiclass_accuracy,
    multiclass_matthews_corrcoef,
)

from edgedistil.tasks.metrics import accuracy, f1, matthews_correlation, score


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("classes", [2, 3, 7])
def test_accuracy_and_matthews_equal_torchmetrics(seed: int, classes: int) -> None:
    chance = np.random.default_rng(seed)
    expected = chance.integers(0, classes, 300)
    predicted = np.where(chance.random(300) < 0.6, expected, chance.integers(0, classes, 300))
    a, b = torch.from_numpy(predicted), torch.from_numpy(expected)
    assert accuracy(predicted, expected) == pytest.approx(float(multiclass_accuracy(a, b, classes, average="micro")))
    correlation = float(multiclass_matthews_corrcoef(a, b, classes))
    assert 0.3 < correlation < 0.9
    assert matthews_correlation(predicted, expected) == pytest.approx(correlation, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_f1_equals_torchmetrics(seed: int) -> None:
    chance = np.random.default_rng(seed)
    predicted, expected = chance.integers(0, 2, 200), (chance.random(200) < 0.2).astype(np.int64)
    value = float(binary_f1_score(torch.from_numpy(predicted), torch.from_numpy(expected)))
    assert f1(predicted, expected) == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize(
    ("predicted", "expected"),
    [
        ([0, 0, 0], [0, 0, 0]),
        ([1, 1, 1], [0, 1, 0]),
        ([0, 0, 0], [1, 1, 1]),
        ([1, 0, 1], [1, 1, 1]),
        ([1], [1]),
    ],
)
def test_degenerate_cases_equal_torchmetrics(predicted: list[int], expected: list[int]) -> None:
    mine, truth = np.array(predicted), np.array(expected)
    a, b = torch.tensor(predicted), torch.tensor(expected)
    assert f1(mine, truth) == pytest.approx(float(binary_f1_score(a, b)))
    assert accuracy(mine, truth) == pytest.approx(float(multiclass_accuracy(a, b, 2, average="micro")))
    assert matthews_correlation(mine, truth) == 0.0


def test_matthews_by_hand() -> None:
    # TP 3, TN 4, FP 1, FN 2: (12 - 2) / sqrt(4 * 5 * 5 * 6)
    predicted, expected = np.array([1] * 3 + [0] * 4 + [1] + [0] * 2), np.array([1] * 3 + [0] * 4 + [0] + [1] * 2)
    assert matthews_correlation(predicted, expected) == pytest.approx(10 / 600**0.5)
    assert matthews_correlation(expected, expected) == pytest.approx(1.0)
    assert matthews_correlation(1 - expected, expected) == pytest.approx(-1.0)


def test_score_goes_by_the_names_of_the_config() -> None:
    predicted, expected = np.array([1, 1, 0, 0]), np.array([1, 0, 0, 0])
    assert score("accuracy", predicted, expected) == 0.75
    assert score("f1", predicted, expected) == pytest.approx(2 / 3)
    assert score("matthews_correlation", predicted, expected) == pytest.approx(2 / 12**0.5)
