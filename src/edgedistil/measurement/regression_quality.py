"""Scores of predicted numbers, alone and paired with the parent's numbers for the same texts."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..tasks.metrics import score

Numbers = NDArray[np.float64]
_Z = 1.959964
# Of Fisher's z, times n − 3 (Fisher 1921; for ranks Fieller, Hartley and Pearson 1957).
_VARIANCE = {"pearson": 1.0, "spearman": 1.06}
_RESAMPLES = 2000


def regression_quality(answers: Numbers, expected: Numbers, metrics: list[str]) -> dict[str, Any]:
    """Correlations by name, each with its 95 % interval by Fisher's z, and n."""
    found: dict[str, Any] = {}
    for name in metrics:
        value = score(name, answers, expected)
        low, high = _fisher(value, len(expected), _VARIANCE[name])
        found |= {name: round(value, 6), f"{name}_ci95_low": round(low, 6), f"{name}_ci95_high": round(high, 6)}
    return found | {"n": len(expected)}


def regression_against_parent(
    answers: Numbers, parent: Numbers, expected: Numbers, metrics: list[str]
) -> dict[str, Any]:
    """The difference from the parent on the same texts: points (times 100) of each correlation, with a 95 % interval
    of resampled texts (Efron 1979) and, for the first, the p of a permutation test (Pitman 1937: which of the two
    gave which number is drawn anew for each text); the largest drift of a number."""
    chance = np.random.default_rng(0)
    n = len(expected)
    found: dict[str, Any] = {}
    for name in metrics:
        points = 100 * (score(name, answers, expected) - score(name, parent, expected))
        drawn = []
        for _ in range(_RESAMPLES):
            some = chance.integers(n, size=n)
            drawn.append(score(name, answers[some], expected[some]) - score(name, parent[some], expected[some]))
        low, high = np.percentile(drawn, (2.5, 97.5))
        found |= {
            f"{name}_points": round(points, 4),
            f"{name}_points_ci95_low": round(100 * float(low), 4),
            f"{name}_points_ci95_high": round(100 * float(high), 4),
        }
    first = metrics[0]
    own, other = _standard(answers), _standard(parent)
    seen = abs(found[f"{first}_points"]) - 1e-3
    more = sum(abs(_swapped(first, own, other, expected, chance.random(n) < 0.5)) >= seen for _ in range(_RESAMPLES))
    drift = round(float(np.abs(answers - parent).max()), 6)
    return found | {"permutation_p": round((more + 1) / (_RESAMPLES + 1), 6), "max_logit_drift": drift}


def _standard(numbers: Numbers) -> Numbers:
    # A correlation knows neither mean nor scale, so neither may tell the two apart when they are mixed.
    standard: Numbers = (numbers - numbers.mean()) / max(float(numbers.std()), 1e-12)
    return standard


def _swapped(name: str, answers: Numbers, parent: Numbers, expected: Numbers, swap: NDArray[np.bool_]) -> float:
    own, other = np.where(swap, parent, answers), np.where(swap, answers, parent)
    return 100 * (score(name, own, expected) - score(name, other, expected))


def regression_against_host(answers: Numbers, here: Numbers, isa: list[str]) -> dict[str, Any]:
    """How far a device's numbers are from this machine's with the same file; ``flips`` are numbers that differ by more
    than a thousandth of the spread."""
    drift = np.abs(answers - here)
    return {
        "n": len(answers),
        "flips": int((drift > 1e-3 * max(float(here.std()), 1e-12)).sum()),
        "max_logit_drift": round(float(drift.max()), 6),
        "rms_logit_drift": round(float(np.sqrt(np.mean(drift**2))), 6),
        "host_isa": isa,
    }


def _fisher(value: float, n: int, variance: float) -> tuple[float, float]:
    if n <= 3 or abs(value) >= 1:
        return (-1.0, 1.0) if n <= 3 else (value, value)
    half = _Z * math.sqrt(variance / (n - 3))
    return math.tanh(math.atanh(value) - half), math.tanh(math.atanh(value) + half)
