"""Figures of training loops that were measured side by side: real tokens per second, padding, ratios."""

import math
from typing import Any

from .interleave import Round
from .statistics import group_interval


def training_figures(rounds: list[Round]) -> dict[str, Any]:
    """Of all bursts: ``real_tokens_per_s`` (padding does not count), ``padding_share`` of the places that the model
    computes, ``steps``, ``bursts``, ``real_tokens`` and ``seconds``."""
    real, places = (sum(map(sum, (r[key] for r in rounds))) for key in ("real_tokens", "places"))
    seconds = sum(sum(r["wall_ms"]) for r in rounds) / 1000
    return {
        "real_tokens_per_s": round(real / seconds, 2),
        "padding_share": round(1 - real / places, 4),
        "steps": sum(len(r["wall_ms"]) for r in rounds),
        "bursts": len(rounds),
        "real_tokens": real,
        "seconds": round(seconds, 2),
    }


def training_ratio(ours: list[Round], theirs: list[Round]) -> dict[str, Any]:
    """How many times more real tokens per second ours trains, with a 95 % interval.

    Batches differ in length, so a single burst says little: each generation of processes gives one ratio, of all its
    tokens and seconds, and the interval is Student's, over the logarithms of the generations' ratios. With one
    generation the values are its rounds and the interval is the bootstrap's, of their median.

    Args:
        ours, theirs: bursts of the same rounds, in order.
    """
    generations = sorted({r["generation"] for r in ours})
    if len(generations) == 1:
        groups = [[_log_ratio([a], [b]) for a, b in zip(ours, theirs, strict=True)]]
    else:
        groups = [
            [_log_ratio(*([r for r in rounds if r["generation"] == g] for rounds in (ours, theirs)))]
            for g in generations
        ]
    ratio, low, high = map(math.exp, group_interval(groups, 0.95))
    return {
        "ratio": round(ratio, 4),
        "ci95_low": round(low, 4),
        "ci95_high": round(high, 4),
        "generations": len(generations),
    }


def _log_ratio(ours: list[Round], theirs: list[Round]) -> float:
    a, b = (sum(map(sum, (r["real_tokens"] for r in x))) / sum(sum(r["wall_ms"]) for r in x) for x in (ours, theirs))
    return math.log(a / b)
