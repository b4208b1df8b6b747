"""Figures of whole passes over a split that were measured side by side, burst after burst."""

import math
import random
from typing import Any

from .interleave import Round
from .statistics import group_interval, median, percentile

_RESAMPLES = 2000


def pass_figures(rounds: list[Round]) -> dict[str, Any]:
    """Of all bursts: ``pass_s``, the wall seconds of one pass (the median of ``pass_s_all``), ``cpu_s`` of it,
    ``latency_ms_p50``, ``p90`` and ``p99`` of single texts, and ``n`` of them.

    Args:
        rounds: bursts ``{"pass", "generation", "wall_ms": [...], "cpu_ms": [...]}``, a time a text.
    """
    passes = sorted({r["pass"] for r in rounds})
    totals = {
        key: [_seconds([r for r in rounds if r["pass"] == p], key) for p in passes] for key in ("wall_ms", "cpu_ms")
    }
    wall = [v for r in rounds for v in r["wall_ms"]]
    return {
        "pass_s": round(median(totals["wall_ms"]), 4),
        "pass_s_all": [round(s, 4) for s in totals["wall_ms"]],
        "cpu_s": round(median(totals["cpu_ms"]), 4),
        **{f"latency_ms_p{percent}": round(percentile(wall, percent), 4) for percent in (50, 90, 99)},
        "n": len(wall),
    }


def pass_ratio(longer: list[Round], shorter: list[Round]) -> dict[str, Any]:
    """How many times as long the first takes as the second: ``ratio`` of all their seconds, with two 95 % intervals.

    ``ci95_*`` is Student's over the logarithms of the generations' ratios (fresh processes are what repeats a
    measurement: :func:`edgedistil.measurement.statistics.group_interval`), None with one generation;
    ``bursts_ci95_*`` is the percentile bootstrap of the ratio of sums over the bursts (Efron 1979).

    Args:
        longer, shorter: bursts of the same texts, in the same order.
    """
    pairs = [(float(sum(a["wall_ms"])), float(sum(b["wall_ms"]))) for a, b in zip(longer, shorter, strict=True)]
    generations: dict[int, list[tuple[float, float]]] = {}
    for burst, pair in zip(longer, pairs, strict=True):
        generations.setdefault(burst["generation"], []).append(pair)
    each = [_ratio(own) for own in generations.values()]
    low, high = None, None
    if len(each) > 1:
        low, high = (round(math.exp(x), 4) for x in group_interval([[math.log(r)] for r in each], 0.95)[1:])
    chance = random.Random(0)
    drawn = sorted(_ratio(chance.choices(pairs, k=len(pairs))) for _ in range(_RESAMPLES))
    return {
        "ratio": round(_ratio(pairs), 4),
        "ci95_low": low,
        "ci95_high": high,
        "bursts_ci95_low": round(percentile(drawn, 2.5), 4),
        "bursts_ci95_high": round(percentile(drawn, 97.5), 4),
        "generations": [round(r, 4) for r in each],
        "bursts": len(pairs),
    }


def _ratio(pairs: list[tuple[float, float]]) -> float:
    return sum(a for a, _ in pairs) / sum(b for _, b in pairs)


def _seconds(rounds: list[Round], key: str) -> float:
    return float(sum(sum(r[key]) for r in rounds) / 1000)
