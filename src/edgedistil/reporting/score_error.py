"""Standard errors of the scores of one run, from what its record says: the sentences are the sample.

Two runs on the same sentences err together, so an interval of a difference made of these is too wide rather than too
narrow.
"""

import math
from typing import Any

from .glue import MISMATCHED, columns

Row = dict[str, Any]
Z95 = 1.959964
# 721 of the 1,043 sentences of CoLA's validation split are acceptable.
_COLA_SHARE = 721 / 1043


def standard_error(row: Row, column: str = "glue_score") -> float | None:
    """Of ``column`` in a training's row, as a fraction; None where the record has neither an interval nor an n.

    Args:
        column: ``glue_score``, or a metric's column (``validation_accuracy``, ``validation_f1``, ...).
    """
    if column != "glue_score":
        return _recorded(row, column)
    found, n = columns(row), row.get("validation_n")
    if not found or not n:
        return None
    task = row["task"]
    if task == "cola":
        return matthews_error(row[found[0]], n, _COLA_SHARE)
    if task in ("mrpc", "qqp"):
        return accuracy_and_f1_error(row["validation_accuracy"], row["validation_f1"], n)
    if task == "stsb":
        errors = [_correlation(row, column) for column in found]
        # Pearson's and Spearman's move together.
        return math.fsum(errors) / len(errors)
    errors = [_recorded(row, column) or _share(row[column], _count(row, column)) for column in found]
    return math.sqrt(math.fsum(e * e for e in errors)) / len(errors)


def matthews_error(phi: float, n: float, share: float) -> float:
    """Large-sample standard error of the correlation of two yes-no variables (Bishop, Fienberg and Holland 1975,
    "Discrete Multivariate Analysis", 11.3), both of which say yes with the frequency ``share``."""
    skew = (2 * share - 1) ** 2 / (share * (1 - share))
    variance = 1 - phi**2 + phi * (1 + phi**2 / 2) * skew - 1.5 * phi**2 * skew
    return math.sqrt(max(0.0, variance) / n)


def accuracy_and_f1_error(accuracy: float, f1: float, n: float) -> float:
    """Standard error of (accuracy + F1) / 2 by the delta method.

    With p the share of true positives and e that of errors, accuracy = 1 - e and F1 = 2p / (2p + e), so the two scores
    tell both shares.
    """
    errors = 1 - accuracy
    if errors == 0 or f1 in (0, 1):
        return _share(accuracy, n)
    hits = f1 * errors / (2 * (1 - f1))
    whole = (2 * hits + errors) ** 2
    by_hits, by_errors = errors / whole, (-2 * hits / whole - 1) / 2
    variance = (
        by_hits**2 * hits * (1 - hits) + by_errors**2 * errors * (1 - errors) - 2 * by_hits * by_errors * hits * errors
    )
    return math.sqrt(max(0.0, variance) / n)


def _correlation(row: Row, column: str) -> float:
    """From its recorded interval, else by Fisher's transformation."""
    return _recorded(row, column) or (1 - row[column] ** 2) / math.sqrt(max(1.0, row["validation_n"] - 3))


def _recorded(row: Row, column: str) -> float | None:
    low, high = (row.get(f"{column}_ci95_{side}") for side in ("low", "high"))
    return None if low is None or high is None else float(high - low) / 2 / Z95


def _share(share: float, n: float) -> float:
    return math.sqrt(share * (1 - share) / n)


def _count(row: Row, column: str) -> float:
    own = row.get("more_splits_mismatched_n") if column == MISMATCHED else None
    return float(own or row["validation_n"])
