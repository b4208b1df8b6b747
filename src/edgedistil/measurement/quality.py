"""Scores of one set of answers, alone and paired with the parent's answers to the same sentences."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..tasks.metrics import score
from .statistics import mcnemar, wilson


def quality(logits: NDArray[np.float32], labels: NDArray[np.int64], metrics: list[str]) -> dict[str, Any]:
    """Metrics by name, n, right answers, and the accuracy's 95 % Wilson interval."""
    answers = logits.argmax(-1)
    right = int((answers == labels).sum())
    low, high = wilson(right, len(labels))
    return {
        **{m: round(score(m, answers, labels), 6) for m in dict.fromkeys(["accuracy", *metrics])},
        "n": len(labels),
        "right": right,
        "accuracy_ci95_low": round(low, 6),
        "accuracy_ci95_high": round(high, 6),
    }


def against_parent(
    logits: NDArray[np.float32], parent: NDArray[np.float32], labels: NDArray[np.int64]
) -> dict[str, Any]:
    """The difference from the parent on the same sentences: points of accuracy, exact McNemar test, flips, drift."""
    answers, before = logits.argmax(-1), parent.argmax(-1)
    gained = int(((answers == labels) & (before != labels)).sum())
    lost = int(((answers != labels) & (before == labels)).sum())
    return {
        "accuracy_points": round(100 * (gained - lost) / len(labels), 4),
        "gained": gained,
        "lost": lost,
        "mcnemar_p": round(mcnemar(gained, lost), 6),
        "flips": int((answers != before).sum()),
        "max_logit_drift": round(float(np.abs(logits - parent).max()), 6),
    }
