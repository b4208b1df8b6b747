"""One score a cell, by kind of task, and what it lost against its parent, both with intervals.

Answer spans are judged by F1, numbers by Pearson's correlation, classes by accuracy, masked language models by their
loss; the part of the training split that was kept for a test is preferred to validation where all cells that are looked
at have it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from .gather import Cell
from .goals import drop_of
from .intervals import Figure, over_seeds

Row = dict[str, Any]
_NORMAL = NormalDist()
# The score that a kind of task is judged by, in this order: F1 of other tasks is no score of spans.
_BY = (("exact_match", "f1"), ("pearson", "pearson"), ("mlm_loss", "mlm_loss"))
# Where a task is ranked by it, the share of right answers says little: CoLA's classes are uneven.
_CLASSES = ("matthews_correlation", "accuracy")
LOSS = "mlm_loss"


@dataclass(frozen=True)
class Scale:
    """What is compared: the metric, and of which texts."""

    metric: str
    test: bool = False

    @property
    def column(self) -> str:
        """The column of the rows."""
        return ("test_" if self.test else "") + self.metric

    @property
    def factor(self) -> int:
        """Shares are told in percent and points, losses in nats."""
        return 1 if self.metric == LOSS else 100

    @property
    def unit(self) -> str:
        """Of a difference."""
        return "nats" if self.metric == LOSS else "points"

    @property
    def digits(self) -> int:
        """Behind the point, of a score that is told."""
        return 4 if self.metric == LOSS else 2

    @property
    def name(self) -> str:
        """For people."""
        names = {"f1": "F1", "pearson": "Pearson × 100", LOSS: "MLM loss", "accuracy": "accuracy %"}
        names["matthews_correlation"] = "Matthews × 100"
        return ("test " if self.test else "") + names[self.metric]


def scale_of(rows: Sequence[Row]) -> Scale | None:
    """What the rows of one task are judged by; None where none has a score."""
    for told, metric in (*_BY, *((m, m) for m in _CLASSES)):
        scored = [r for r in rows if r.get(told) is not None]
        if scored:
            test = metric == "accuracy" and all(r.get("test_accuracy") is not None for r in scored)
            return Scale(metric, test)
    return None


def score(row: Row, scale: Scale) -> Figure | None:
    """A row's score in percent (losses in nats); None where it has none."""
    value = row.get(scale.column)
    if value is None:
        return None
    low, high = (row.get(f"{scale.column}_ci95_{side}") for side in ("low", "high"))
    by = scale.factor
    return Figure(by * value, None if low is None else by * low, None if high is None else by * high)


def lost(cells: Sequence[Cell], scale: Scale) -> Figure | None:
    """Points (nats) by which cells, seeds of one figure, are worse than their parents; below 0 they are better."""
    if scale.metric == "accuracy":
        measured = [c.measured for c in cells if c.measured]
        found = drop_of(measured, scale.test) if len(measured) == len(cells) else None
        if found:
            return Figure(found.points, *found.interval())
    each = [_lost(c.row, scale) for c in cells]
    known = [f for f in each if f]
    if len(known) < len(each):
        return None
    return over_seeds(known)


def _lost(row: Row, scale: Scale) -> Figure | None:
    if scale.metric == LOSS:
        value, low, high = (row.get(f"parent_mlm_loss_difference{end}") for end in ("", "_ci95_low", "_ci95_high"))
        return None if value is None else Figure(value, low, high)
    prefix = "test_parent_" if scale.test else "parent_"
    points = row.get(f"{prefix}{scale.metric}_points")
    if points is None:
        return None
    low, high = (row.get(f"{prefix}{scale.metric}_points_ci95_{end}") for end in ("low", "high"))
    if low is not None and high is not None:
        return Figure(-points, -high, -low)
    n, flips = row.get("n"), row.get("parent_flips")
    if scale.metric == "accuracy" and not scale.test and n and flips is not None:
        return _of_flips(points, int(flips), int(n))
    return _of_p(points, row.get("test_parent_p" if scale.test else "parent_permutation_p"))


def _of_flips(points: float, flips: int, n: int) -> Figure:
    """With two classes a flip is a sentence won or lost; with more some are neither, and the interval is too wide."""
    from ..measurement.noninferiority import drop_of_counts

    net = round(-points * n / 100)
    found = drop_of_counts((flips + net) // 2, (flips - net) // 2, n)
    return Figure(-points, *found.interval())


def _of_p(points: float, p: float | None) -> Figure:
    """The interval that goes with a two-sided p-value, as if the difference were normal; None of a p that says too
    little (0 and 1)."""
    if not p or p >= 1 or not points:
        return Figure(-points)
    half = _NORMAL.inv_cdf(0.975) * abs(points / _NORMAL.inv_cdf(p / 2))
    return Figure(-points, -points - half, -points + half)
