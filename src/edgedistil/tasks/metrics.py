"""Scores of label predictions in NumPy, so that the process that measures an ONNX model needs no PyTorch.

The unit tests hold them equal to torchmetrics.
"""

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]


def score(name: str, predicted: Labels, expected: Labels) -> float:
    """One metric by its name in ``task.metrics``; fractions, not percentages."""
    return {"accuracy": accuracy, "f1": f1, "matthews_correlation": matthews_correlation}[name](predicted, expected)


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
