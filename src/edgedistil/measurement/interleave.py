"""Workers measured side by side: short bursts in shuffled order, so that a machine's moods hit all of them alike."""

import random
from dataclasses import dataclass
from typing import Any, Protocol

from .statistics import bootstrap_median, median, percentile


class Asked(Protocol):
    """Anything that answers the worker protocol."""

    def ask(self, op: str, **arguments: Any) -> dict[str, Any]:
        """One request, one answer."""


@dataclass(frozen=True)
class Scenario:
    """Named inputs: each batch is a list of rows of token ids."""

    name: str
    batches: list[list[list[int]]]


Samples = dict[str, dict[str, list[dict[str, list[float]]]]]


def interleave(
    workers: dict[str, Asked], scenarios: list[Scenario], rounds: int, burst: int, warmup_calls: int, seed: int
) -> Samples:
    """Time every scenario on every worker.

    In each round the scenarios come in a new order, and within a scenario the workers do; the one that asks sleeps
    while a worker works, and the others wait.

    Returns:
        worker → scenario → one ``{"wall_ms": [...], "cpu_ms": [...]}`` a round.
    """
    for worker in workers.values():
        for scenario in scenarios:
            worker.ask("prepare", name=scenario.name, batches=scenario.batches)
            worker.ask("time", name=scenario.name, start=0, count=warmup_calls)
    samples: Samples = {w: {s.name: [] for s in scenarios} for w in workers}
    chance = random.Random(seed)
    for number in range(rounds):
        for scenario in chance.sample(scenarios, len(scenarios)):
            for name in chance.sample(sorted(workers), len(workers)):
                samples[name][scenario.name].append(
                    workers[name].ask("time", name=scenario.name, start=number * burst, count=burst)
                )
    return samples


def latency_figures(rounds: list[dict[str, list[float]]]) -> dict[str, float | int]:
    """n, p50, p90, p99 and the minimum of the wall times of all calls, and the median CPU time (ms)."""
    wall = [v for r in rounds for v in r["wall_ms"]]
    cpu = [v for r in rounds for v in r["cpu_ms"]]
    figures = {f"latency_ms_p{p}": round(percentile(wall, p), 4) for p in (50, 90, 99)}
    return {**figures, "latency_ms_min": round(min(wall), 4), "cpu_ms_p50": round(median(cpu), 4), "n": len(wall)}


def speedup(candidate: list[dict[str, list[float]]], baseline: list[dict[str, list[float]]]) -> dict[str, float | str]:
    """How many times faster the candidate is: median over rounds of baseline/candidate, with its 95 % interval.

    ``verdict`` is ``faster`` or ``slower`` only when the interval leaves 1 out, else ``no difference``.
    """
    ratios = [median(b["wall_ms"]) / median(c["wall_ms"]) for c, b in zip(candidate, baseline, strict=True)]
    middle, low, high = bootstrap_median(ratios)
    verdict = "faster" if low > 1 else "slower" if high < 1 else "no difference"
    return {"ratio": round(middle, 4), "ci95_low": round(low, 4), "ci95_high": round(high, 4), "verdict": verdict}


def drift(rounds: list[dict[str, list[float]]]) -> float:
    """Median of the second half of the rounds over that of the first, minus 1."""
    half = len(rounds) // 2
    first = [v for r in rounds[:half] for v in r["wall_ms"]]
    second = [v for r in rounds[half:] for v in r["wall_ms"]]
    return median(second) / median(first) - 1
