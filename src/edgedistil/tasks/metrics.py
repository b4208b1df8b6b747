"""Scores of label predictions in NumPy, so that the process that measures an ONNX model needs no PyTorch.

The unit tests hold them equal to torchmetrics.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]
Numbers = NDArray[np.float64]


def score(name: str, predicted: NDArray[Any], expected: NDArray[Any]) -> float:
    """One metric by its name in ``task.metrics``; fractions, not percentages."""
    known: dict[str, Callable[..., float]] = {
        "accuracy": accuracy,
        "f1": f1,
        "matthews_correlation": matthews_correlation,
        "pearson": pearson,
        "spearman": spearman,
    }
    return known[name](predicted, expected)


def decided(logits: NDArray[np.float32]) -> NDArray[Any]:
    """Answers ``[texts]`` out of logits ``[texts, classes]``: the best class, or of a single output the number."""
    return logits[:, 0].astype(np.float64) if logits.shape[1] == 1 else logits.argmax(-1)


def pearson(predicted: Numbers, expected: Numbers) -> float:
    """Pearson's correlation; 0 when either side is constant."""
    own, other = (x - x.mean() for x in (np.asarray(predicted, np.float64), np.asarray(expected, np.float64)))
    spread = float(np.sqrt((own @ own) * (other @ other)))
    return float(own @ other) / spread if spread else 0.0


def spearman(predicted: Numbers, expected: Numbers) -> float:
    """Spearman's rank correlation: Pearson's of the ranks, equal values sharing their mean rank."""
    return pearson(_ranks(predicted), _ranks(expected))


def _ranks(values: Numbers) -> Numbers:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Numbers = (last - (counts - 1) / 2)[place]
    return ranks


def accuracy(predicted: Labels, expected: Labels) -> float:
    """Share of equal labels."""
    return float(np.mean(predicted == expected))


def f1(predicted: Labels, expected: Labels) -> float:
    """F1 of class 1 (GLUE's binary F1); 0 when there is no true positive."""
    hits = float(np.sum((predicted == 1) & (expected == 1)))
    wrong = float(np.sum((predicted == 1) != (expected == 1)))
    return 2 * hits / (2 * hits + wrong) if hits else 0.0


def matthews_correlation(predicted: Labels, expected: Labels) -> float:
    """Matthews correlation, multi-class form (Gorodkin 2004); 0 when either side holds one class only."""
    classes = int(max(predicted.max(), expected.max())) + 1
    table = np.zeros((classes, classes))
    np.add.at(table, (expected, predicted), 1)
    total, correct = table.sum(), np.trace(table)
    rows, columns = table.sum(1), table.sum(0)
    spread = np.sqrt((total**2 - columns @ columns) * (total**2 - rows @ rows))
    return float((correct * total - rows @ columns) / spread) if spread else 0.0
