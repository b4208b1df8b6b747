"""From samples to figures: latencies with bounds, throughput, and ratios with a verdict."""

import math
from typing import Any

from .interleave import Round
from .statistics import group_interval, median, percentile, percentile_interval

# With fewer generations of processes, what two processes of one program differ by is not known.
MIN_GENERATIONS = 3
# A sweep makes dozens of comparisons: at 95 % one in twenty equal pairs would be called different.
VERDICT = 0.98


def latency_figures(rounds: list[Round]) -> dict[str, Any]:
    """Of all calls: n, least, p50, p90, p99 of the wall time, each with its 95 % bounds, and CPU time (ms);
    ``device_ms_p50`` of a device with a clock of its own.

    A bound is None when there are too few calls for it: the upper one of p99 needs 368.
    """
    wall = [v for r in rounds for v in r["wall_ms"]]
    cpu = [v for r in rounds for v in r["cpu_ms"]]
    figures: dict[str, Any] = {}
    for percent in (50, 90, 99):
        low, high = percentile_interval(wall, percent)
        figures[f"latency_ms_p{percent}"] = round(percentile(wall, percent), 4)
        figures[f"latency_ms_p{percent}_ci95_low"] = None if low is None else round(low, 4)
        figures[f"latency_ms_p{percent}_ci95_high"] = None if high is None else round(high, 4)
    device = [v for r in rounds for v in r.get("device_ms", [])]
    if device:
        figures["device_ms_p50"] = round(median(device), 4)
    return {**figures, "latency_ms_min": round(min(wall), 4), "cpu_ms_p50": round(median(cpu), 4), "n": len(wall)}


def throughput_figures(rounds: list[Round], size: int) -> dict[str, Any]:
    """Sentences a second of batches of ``size`` sentences, the batches' median time, and their number."""
    wall = [v for r in rounds for v in r["wall_ms"]]
    return {
        "sentences_per_s": round(1000 * size * len(wall) / sum(wall), 2),
        "latency_ms_p50": round(median(wall), 4),
        "n": len(wall),
    }


def speedup(candidate: list[Round], baseline: list[Round]) -> dict[str, Any]:
    """How many times faster the candidate is than the baseline, with a 95 % interval and a verdict.

    Each round gives baseline/candidate (medians of the two bursts, next to each other in time); the ratio is the mean,
    on the logarithmic scale, of the generations' median rounds, and the interval is of the generations. ``verdict`` is
    ``faster`` or ``slower`` only when the interval leaves 1 out, even the wider one of :data:`VERDICT`
    (``ci98_low``, ``ci98_high``), and there are :data:`MIN_GENERATIONS` generations, else ``no difference``.
    """
    by_generation: dict[int, list[float]] = {}
    for c, b in zip(candidate, baseline, strict=True):
        by_generation.setdefault(c["generation"], []).append(math.log(median(b["wall_ms"]) / median(c["wall_ms"])))
    groups = list(by_generation.values())
    ratio, low, high = map(math.exp, group_interval(groups, 0.95))
    _, lower, higher = map(math.exp, group_interval(groups, VERDICT))
    verdict = "no difference"
    if len(groups) >= MIN_GENERATIONS:
        verdict = "faster" if lower > 1 else "slower" if higher < 1 else verdict
    return {
        "ratio": round(ratio, 4),
        "ci95_low": round(low, 4),
        "ci95_high": round(high, 4),
        "ci98_low": round(lower, 4),
        "ci98_high": round(higher, 4),
        "verdict": verdict,
        "generations": len(groups),
    }


def share_of_peak(latency_ms: float, gflops: float | None, peak_gflops_per_s: float | None) -> float | None:
    """Operations executed a second over those of the calibration product; None when either is unknown."""
    if gflops is None or not peak_gflops_per_s:
        return None
    return round(gflops / (latency_ms / 1000) / peak_gflops_per_s, 4)
