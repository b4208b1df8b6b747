"""Intervals and tests, each small enough to check by hand."""

import functools
import math
import random
from collections.abc import Sequence


def wilson(hits: float, n: float, z: float = 1.959964) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927): unlike the normal one it stays inside [0, 1]."""
    if n == 0:
        return 0.0, 1.0
    share = hits / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def design_effect(hits: Sequence[float], clusters: Sequence[int]) -> float:
    """How many times larger the variance of a share is than of as many independent draws, at least 1 (Kish 1965,
    "Survey Sampling"): the ratio estimator's variance between clusters over the binomial one."""
    n, share = len(hits), math.fsum(hits) / len(hits)
    if share in (0, 1):
        return 1.0
    sums: dict[int, float] = {}
    for hit, cluster in zip(hits, clusters, strict=True):
        sums[cluster] = sums.get(cluster, 0.0) + hit - share
    return max(1.0, math.fsum(s * s for s in sums.values()) / (n * share * (1 - share)))


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p-value of McNemar's test from the two discordant counts (binomial, p = 1/2)."""
    n = only_first + only_second
    if n == 0:
        return 1.0
    tail: float = sum(math.comb(n, k) for k in range(min(only_first, only_second) + 1)) / 2**n
    return min(1.0, 2 * tail)


def percentile(values: Sequence[float], percent: float) -> float:
    """Percentile with linear interpolation (NumPy's default)."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def median(values: Sequence[float]) -> float:
    """The 50th percentile."""
    return percentile(values, 50)


def bootstrap_median(values: Sequence[float], resamples: int = 2000, seed: int = 0) -> tuple[float, float, float]:
    """(median, low, high): 95 % percentile bootstrap of the median of per-round values (Efron 1979)."""
    chance = random.Random(seed)
    medians = sorted(median(chance.choices(values, k=len(values))) for _ in range(resamples))
    return median(values), percentile(medians, 2.5), percentile(medians, 97.5)


def group_interval(groups: Sequence[Sequence[float]], confidence: float) -> tuple[float, float, float]:
    """(estimate, low, high) of values that come in groups: the mean of the groups' medians, and Student's interval.

    A process keeps its memory layout, and so its own small offset, for as long as it lives, and neighbouring values of
    one process are alike: only fresh processes are independent repetitions, and the interval is of those (Kalibera &
    Jones 2013, "Rigorous benchmarking in reasonable time", section 9). Bootstraps, of all values in one heap or of
    groups first and values second, are too narrow for a handful of groups when the groups' offsets are what differs.

    With one group nothing is known of the next one: then the interval is the bootstrap's, of that group alone.

    Args:
        confidence: of the two-sided interval, e.g. 0.95.
    """
    medians = [median(group) for group in groups]
    if len(medians) == 1:
        return bootstrap_median(groups[0])
    mean = sum(medians) / len(medians)
    variance = sum((m - mean) ** 2 for m in medians) / (len(medians) - 1)
    half = student_quantile(0.5 + confidence / 2, len(medians) - 1) * math.sqrt(variance / len(medians))
    return mean, mean - half, mean + half


@functools.cache
def student_quantile(probability: float, freedom: int) -> float:
    """Quantile (of a probability from 0.5 to 0.9999) of Student's t: its density summed until there."""
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(freedom * math.pi)

    # With x = sqrt(freedom) tan(angle) the tail has an end, and the density becomes a power of a cosine.
    def below(angle: float, steps: int = 400) -> float:
        at = [math.cos(angle * i / steps) ** (freedom - 1) for i in range(steps + 1)]
        inner = 4 * sum(at[1:-1:2]) + 2 * sum(at[2:-1:2])
        return 0.5 + scale * math.sqrt(freedom) * (at[0] + inner + at[-1]) * angle / steps / 3

    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) < probability else (low, middle)
    return math.sqrt(freedom) * math.tan(low)


def percentile_interval(values: Sequence[float], percent: float) -> tuple[float | None, float | None]:
    """95 % interval of a percentile from order statistics; None on a side where there are too few values.

    The number of values below the true percentile is binomial whatever their distribution is, so two of the sorted
    values bound it (David & Nagaraja, "Order Statistics", 7.1); 2.5 % are left on each side. Values are taken as
    independent.
    """
    ordered, n, share = sorted(values), len(values), percent / 100
    # low: the largest rank r (from 1) with P(Bin < r) <= 2.5 %; high: the smallest with P(Bin < r) >= 97.5 %.
    spread = 12 * math.sqrt(n * share * (1 - share)) + 12
    below, low, high = 0.0, 0, None
    for hits in range(max(0, int(n * share - spread)), n):
        below += math.exp(
            math.lgamma(n + 1)
            - math.lgamma(hits + 1)
            - math.lgamma(n - hits + 1)
            + hits * math.log(share)
            + (n - hits) * math.log1p(-share)
        )
        if below <= 0.025:
            low = hits + 1
        if below >= 0.975:
            high = hits + 1
            break
    return (ordered[low - 1] if low else None), (ordered[high - 1] if high else None)
