"""Ratios, verdicts and figures for known times; and how often a verdict is right, on simulated machines."""

import math
import random
from typing import Any

import pytest

from edgedistil.measurement.calibration import calibrate, peak_of, product_of
from edgedistil.measurement.figures import latency_figures, share_of_peak, speedup, throughput_figures
from edgedistil.measurement.repeatability import agreement

Rounds = list[dict[str, Any]]


def simulated(
    chance: random.Random, slower: float, own: float = 0.01, generations: int = 4, rounds: int = 30
) -> tuple[Rounds, Rounds]:
    """(candidate, other) of a noisy machine; ``other`` takes ``slower`` times as long.

    Each process has an offset of its own (1 %, or ``own``); the machine's mood wanders and is shared; bursts differ
    by 5 % and one call in twelve is hit by something else that takes up to three times the call's own time.
    """
    made: tuple[Rounds, Rounds] = ([], [])
    mood = 0.0
    for generation in range(generations):
        offsets = [chance.gauss(0, own), math.log(slower) + chance.gauss(0, own)]
        for _ in range(rounds):
            mood = 0.9 * mood + chance.gauss(0, 0.05)
            for which, offset in enumerate(offsets):
                burst = math.exp(offset + mood + chance.gauss(0, 0.05))
                wall = [burst * (1 + (chance.random() < 1 / 12) * chance.uniform(0, 3)) for _ in range(4)]
                made[which].append({"generation": generation, "wall_ms": wall, "cpu_ms": wall})
    return made


def test_equal_is_equal_and_a_tenth_slower_is_slower_95_times_in_100() -> None:
    chance = random.Random(11)
    equal = [speedup(*simulated(chance, 1.0))["verdict"] for _ in range(100)]
    faster = [speedup(*simulated(chance, 1.1))["verdict"] for _ in range(100)]
    assert equal.count("no difference") >= 95
    assert faster.count("faster") >= 95


def test_processes_that_differ_much_are_not_taken_for_programs_that_differ() -> None:
    chance = random.Random(12)
    equal = [speedup(*simulated(chance, 1.0, own=0.04))["verdict"] for _ in range(100)]
    assert equal.count("no difference") >= 95


def bursts(*by_generation: list[float]) -> Rounds:
    return [{"generation": g, "wall_ms": [v, v], "cpu_ms": [v / 2]} for g, vs in enumerate(by_generation) for v in vs]


def test_speedup_is_of_the_same_round_so_a_moody_machine_cancels() -> None:
    moods = [[1.0, 5.0], [2.0, 9.0], [1.0, 3.0]]
    candidate, baseline = bursts(*moods), bursts(*[[1.5 * m for m in g] for g in moods])
    assert speedup(candidate, baseline) == {
        "ratio": 1.5, "ci95_low": 1.5, "ci95_high": 1.5, "ci98_low": 1.5, "ci98_high": 1.5, "verdict": "faster",
        "generations": 3}
    assert speedup(baseline, candidate)["verdict"] == "slower"


def test_two_processes_each_are_too_few_for_a_verdict() -> None:
    found = speedup(bursts([1.0] * 50, [1.0] * 50), bursts([2.0] * 50, [2.0] * 50))
    assert (found["ratio"], found["verdict"], found["generations"]) == (2.0, "no difference", 2)


def test_processes_that_disagree_leave_no_verdict_however_many_rounds_there_are() -> None:
    ratios = [[1.06] * 99, [0.97] * 99, [1.05] * 99, [1.04] * 99]
    found = speedup(bursts(*[[1.0] * 99] * 4), bursts(*ratios))
    assert found["ci95_low"] < 1 < found["ratio"] < found["ci95_high"]
    assert found["verdict"] == "no difference"


def test_latency_figures_by_hand() -> None:
    rounds = [{"wall_ms": [1.0, 2.0, 3.0], "cpu_ms": [1.0, 1.0, 4.0]}, {"wall_ms": [4.0, 5.0], "cpu_ms": [2.0, 3.0]}]
    # Five values are too few for any bound: 2 x 0.5^5 > 5 %.
    none = {f"latency_ms_p{p}_ci95_{side}": None for p in (50, 90, 99) for side in ("low", "high")} | {
        "latency_ms_p90_ci95_low": 3.0, "latency_ms_p99_ci95_low": 4.0}
    assert latency_figures(rounds) == none | {
        "latency_ms_p50": 3.0, "latency_ms_p90": 4.6, "latency_ms_p99": 4.96, "latency_ms_min": 1.0,
        "cpu_ms_p50": 2.0, "n": 5}


def test_throughput_by_hand() -> None:
    rounds = [{"wall_ms": [10.0]}, {"wall_ms": [30.0]}]
    assert throughput_figures(rounds, 8) == {"sentences_per_s": 400.0, "latency_ms_p50": 20.0, "n": 2}


def test_share_of_peak_by_hand() -> None:
    # 2 GFLOP in 50 ms are 40 GFLOP/s of 80.
    assert share_of_peak(50.0, 2.0, 80.0) == 0.5
    assert share_of_peak(50.0, None, 80.0) is None
    assert share_of_peak(50.0, 2.0, None) is None
    before, after = ({"fp32_gops_per_s": a, "int8_gops_per_s": b} for a, b in ((50.0, 150.0), (60.0, 140.0)))
    cpu, gpu = {"kind": "cpu"}, {"kind": "cuda", "engine": "torch", "gpu": {"tf32": False}}
    ours = ("none", "int8_dynamic", "int4_ort", "nf4")
    assert [peak_of(before, after, product_of(q, cpu)) for q in ours] == [60.0, 150.0, 60.0, 60.0]
    assert [product_of(q, gpu) for q in ("none", "fp16", "bf16", "nf4", "llm_int8")] == [
        "fp32", "fp16", "bf16", "fp16", None]
    assert product_of("none", gpu | {"gpu": {"tf32": True}}) == "tf32"
    assert product_of("fp16", gpu | {"engine": "onnxruntime"}) == "fp32"
    assert peak_of(before, after, None) is None
    assert peak_of(before, after, "tf32") is None


def test_calibration_is_the_fastest_call() -> None:
    class Gauge:
        def ask(self, op: str, **arguments: Any) -> dict[str, Any]:
            if op == "prepare":
                assert arguments["batches"] == [[[{"fp32": 0, "int8": 1}[arguments["name"]]]]]
                return {}
            fastest = {"fp32": 20.0, "int8": 5.0}[arguments["name"]]
            return {"wall_ms": [3 * fastest] * (arguments["count"] - 1) + [fastest]}

    assert calibrate(Gauge(), 10**9) == {"fp32_gops_per_s": 50.0, "int8_gops_per_s": 200.0}


def test_two_records_agree_where_their_intervals_overlap() -> None:
    def record(low: float, high: float) -> dict[str, Any]:
        return {"speedup": {"torch": {"real": {"ratio": (low + high) / 2, "ci95_low": low, "ci95_high": high}}}}

    (found,) = agreement(record(1.0, 1.2), record(1.2, 1.4))
    assert found == {"baseline": "torch", "scenario": "real", "first": [1.0, 1.1, 1.2],
                     "second": [1.2, pytest.approx(1.3), 1.4], "agree": True}
    assert agreement(record(1.0, 1.2), record(1.21, 1.4))[0]["agree"] is False
    assert agreement(record(1.21, 1.4), record(1.0, 1.2))[0]["agree"] is False
    with pytest.raises(ValueError, match="no ratio in common"):
        agreement(record(1.0, 1.2), {"speedup": {}})
