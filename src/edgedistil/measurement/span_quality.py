"""Scores of answers to questions, alone and paired with the parent's answers to the same questions."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..tasks.span_metrics import span_scores
from .statistics import mcnemar, wilson


def span_quality(answers: Sequence[str], expected: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Mean ``f1`` and ``exact_match`` (fractions), n, right answers, and 95 % intervals.

    Exact match is a share: Wilson's interval. F1 is a mean of bounded values: the normal approximation.
    """
    scores = span_scores(answers, expected)
    n, right = len(answers), int(scores["exact_match"].sum())
    low, high = wilson(right, n)
    f1 = scores["f1"]
    half = _half_width(f1)
    return {
        "f1": round(float(f1.mean()), 6),
        "exact_match": round(right / n, 6),
        "n": n,
        "right": right,
        "exact_match_ci95_low": round(low, 6),
        "exact_match_ci95_high": round(high, 6),
        "f1_ci95_low": round(max(0.0, float(f1.mean()) - half), 6),
        "f1_ci95_high": round(min(1.0, float(f1.mean()) + half), 6),
    }


def spans_against_parent(
    answers: Sequence[str], parent: Sequence[str], expected: Sequence[Sequence[str]]
) -> dict[str, Any]:
    """The difference from the parent on the same questions: points of exact match with McNemar's exact test, points of
    F1 with the normal 95 % interval of the paired differences, flips (other words)."""
    own, before = span_scores(answers, expected), span_scores(parent, expected)
    change = own["exact_match"] - before["exact_match"]
    gained, lost = int((change > 0).sum()), int((change < 0).sum())
    difference = own["f1"] - before["f1"]
    points, half = 100 * float(difference.mean()), 100 * _half_width(difference)
    return {
        "exact_match_points": round(100 * (gained - lost) / len(answers), 4),
        "gained": gained,
        "lost": lost,
        "mcnemar_p": round(mcnemar(gained, lost), 6),
        "f1_points": round(points, 4),
        "f1_points_ci95_low": round(points - half, 4),
        "f1_points_ci95_high": round(points + half, 4),
        "flips": sum(a != b for a, b in zip(answers, parent, strict=True)),
    }


def spans_against_host(
    answers: Sequence[str], here: Sequence[str], expected: Sequence[Sequence[str]]
) -> dict[str, Any]:
    """How far a device answers otherwise than this machine with the same file: n, other words, points of exact
    match."""
    own, other = (int(span_scores(a, expected)["exact_match"].sum()) for a in (answers, here))
    flips = sum(a != b for a, b in zip(answers, here, strict=True))
    return {"n": len(answers), "flips": flips, "exact_match_points": round(100 * (own - other) / len(answers), 4)}


def _half_width(values: NDArray[np.float64]) -> float:
    return 1.959964 * float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else 1.0
