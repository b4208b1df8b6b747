"""An estimate with its interval, and what differences of independent ones are."""

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass


@dataclass(frozen=True)
class Figure:
    """An estimate and its 95 % interval; None where a side is not known.

    Args:
        envelope: the interval is what holds those of several seeds, and no 95 % interval itself.
    """

    value: float
    low: float | None = None
    high: float | None = None
    _: KW_ONLY
    envelope: bool = False

    def worst(self, smaller_is_better: bool) -> float:
        """The interval's unfavourable end, or the estimate where there is none."""
        bound = self.high if smaller_is_better else self.low
        return self.value if bound is None else bound


def apart(first: Figure, second: Figure) -> Figure:
    """``second - first`` of two independent estimates: each side's distances to the interval's ends are added in
    squares (Newcombe 1998 for shares, "Interval estimation for the difference between independent proportions"; for any
    estimate Zou & Donner 2008, "Construction of confidence limits about effect measures")."""
    value = second.value - first.value
    if first.low is None or first.high is None or second.low is None or second.high is None:
        return Figure(value)
    down = math.hypot(second.value - second.low, first.high - first.value)
    up = math.hypot(second.high - second.value, first.value - first.low)
    return Figure(value, value - down, value + up)


def turned(change: Figure) -> Figure:
    """The same with the other sign."""
    return Figure(
        -change.value, None if change.high is None else -change.high, None if change.low is None else -change.low
    )


def shares(logs: Figure) -> Figure:
    """Differences of logarithms as shares: 0.05 is 5 % more."""
    return Figure(
        math.expm1(logs.value),
        None if logs.low is None else math.expm1(logs.low),
        None if logs.high is None else math.expm1(logs.high),
    )


def wider(logs: Figure, by: float) -> Figure:
    """An interval with so much more on each side."""
    if logs.low is None or logs.high is None:
        return logs
    return Figure(logs.value, logs.low - by, logs.high + by)


def over_seeds(figures: Sequence[Figure]) -> Figure:
    """The mean of seeds, which answer the same texts, between the ends of all their intervals: no 95 % interval of the
    mean, but what holds all of theirs."""
    lows, highs = [f.low for f in figures if f.low is not None], [f.high for f in figures if f.high is not None]
    whole = len(lows) == len(highs) == len(figures)
    mean = math.fsum(f.value for f in figures) / len(figures)
    return Figure(mean, min(lows) if whole else None, max(highs) if whole else None, envelope=len(figures) > 1)
