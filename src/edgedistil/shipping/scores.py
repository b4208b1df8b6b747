"""The scores of a record, one line a split and metric, as cards and the hub's metadata tell them."""

from dataclasses import dataclass
from typing import Any

from .known import METRICS

# The texts of the training split that nothing was learnt from.
HELD_OUT = "held out of train"
_TITLES = {
    "accuracy": "accuracy",
    "f1": "F1",
    "matthews_correlation": "Matthews correlation",
    "exact_match": "exact match",
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
    "perplexity": "perplexity at masked tokens",
}
# Those that are told as they are; the others are fractions, told in percent.
_PLAIN = ("perplexity",)


@dataclass(frozen=True)
class Score:
    """One metric of one split.

    Attributes:
        metric: our name for it.
        value: a fraction where the metric is one.
        interval: 95 %, or None where the record has none.
        points: difference from the uncompressed parent, each of 0.01; None where the record has none.
        p: of the paired test of that difference.
        sentences: that the texts are phrases of, and the interval is of; None where each text is its own.
    """

    split: str
    metric: str
    value: float
    n: int
    interval: tuple[float, float] | None
    points: float | None
    p: float | None
    sample: bool
    sentences: int | None = None

    @property
    def title(self) -> str:
        return _TITLES[self.metric]

    def cells(self) -> list[str]:
        """As a row of the card's table: split, metric, value, interval, texts, difference."""
        low_high = f"{self._told(self.interval[0])} to {self._told(self.interval[1])}" if self.interval else ""
        difference = "" if self.points is None else f"{self.points:+.2f}"
        if difference and self.p is not None:
            difference += f" (p {self.p:.2f})"
        n = f"{self.n:,}{', drawn at random' if self.sample else ''}"
        n += f", phrases of {self.sentences} sentences" if self.sentences else ""
        return [self.split, self.title, self._told(self.value), low_high, n, difference]

    def _told(self, value: float) -> str:
        return f"{value:.1f}" if self.metric in _PLAIN else f"{100 * value:.2f} %"


def scores_of(record: dict[str, Any], metrics: list[str]) -> list[Score]:
    """Every score that a record has, validation's first.

    Args:
        metrics: of the task, in its order; a metric that the task is not ranked by comes last.
    """
    splits = [("validation", record.get("quality"))]
    splits += [(HELD_OUT, record.get("test_quality"))]
    splits += list((record.get("more_quality") or {}).items())
    found: list[Score] = []
    for split, quality in splits:
        named = dict.fromkeys([*metrics, *METRICS])
        found += [_score(split, m, quality) for m in named if quality and m in quality and m in METRICS]
    return found


def _score(split: str, metric: str, quality: dict[str, Any]) -> Score:
    against = quality.get("against_parent", {})
    low, high = (quality.get(f"{metric}_ci95_{side}") for side in ("low", "high"))
    # Tests are of the metric that they are said for: answers right or wrong, or a permuted correlation.
    tested = {"accuracy": ("clustered_p", "mcnemar_p"), "exact_match": ("mcnemar_p",), "pearson": ("permutation_p",)}
    p = next((against[name] for name in tested.get(metric, ()) if name in against), None)
    return Score(
        split=split,
        metric=metric,
        value=float(quality[metric]),
        n=int(quality["n"]),
        interval=None if low is None or high is None else (float(low), float(high)),
        points=against.get(f"{metric}_points"),
        p=p,
        sample=bool(quality.get("sample")),
        sentences=quality.get("sentences"),
    )
