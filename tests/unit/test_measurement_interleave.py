"""Workers are timed side by side in shuffled bursts, and the verdict on their times is right for known times."""

import random
from typing import Any

import pytest

from edgedistil.measurement.interleave import Scenario, drift, interleave, latency_figures, speedup
from edgedistil.measurement.validity import reasons_against

SCENARIOS = [Scenario(name, [[[2, 7, 3]], [[2, 8, 9, 3]]]) for name in ("real", "tokens_16", "tokens_32")]


class FakeWorker:
    """Answers with known times and writes every request into a log that all workers share."""

    def __init__(self, name: str, log: list[tuple[Any, ...]], wall_ms: float = 1.0, noise: float = 0.0) -> None:
        self.name, self.log, self.wall_ms, self.noise = name, log, wall_ms, noise
        self.chance = random.Random(name)
        self.prepared: dict[str, Any] = {}

    def ask(self, op: str, **arguments: Any) -> dict[str, Any]:
        if op == "prepare":
            self.prepared[arguments["name"]] = arguments["batches"]
            return {"batches": len(arguments["batches"])}
        assert op == "time"
        assert arguments["name"] in self.prepared
        self.log.append((self.name, arguments["name"], arguments["start"], arguments["count"]))
        wall = [self.wall_ms * self.chance.uniform(1 - self.noise, 1 + self.noise) for _ in range(arguments["count"])]
        return {"wall_ms": wall, "cpu_ms": [w / 2 for w in wall]}


def measured(seed: int = 1, rounds: int = 6, **wall_ms: float) -> tuple[Any, list[tuple[Any, ...]]]:
    log: list[tuple[Any, ...]] = []
    workers = {name: FakeWorker(name, log, ms, noise=0.05) for name, ms in wall_ms.items()}
    samples = interleave(workers, SCENARIOS, rounds, burst=4, warmup_calls=3, seed=seed)
    for worker in workers.values():
        assert worker.prepared == {s.name: s.batches for s in SCENARIOS}
    return samples, log


def test_every_worker_is_warmed_up_first_and_gets_every_burst_of_every_scenario() -> None:
    samples, log = measured(a=1.0, b=2.0, c=3.0)
    warm, timed = log[:9], log[9:]
    assert sorted(warm) == sorted((w, s.name, 0, 3) for w in "abc" for s in SCENARIOS)
    assert sorted(timed) == sorted((w, s.name, r * 4, 4) for w in "abc" for s in SCENARIOS for r in range(6))
    assert {w: {s: [len(r["wall_ms"]) for r in rounds] for s, rounds in scenarios.items()}
            for w, scenarios in samples.items()} == {w: {s.name: [4] * 6 for s in SCENARIOS} for w in "abc"}


def test_workers_take_turns_within_each_scenario_of_each_round() -> None:
    _, log = measured(a=1.0, b=2.0, c=3.0)
    for place in range(9, len(log), 3):
        group = log[place : place + 3]
        assert {entry[0] for entry in group} == {"a", "b", "c"}
        assert len({entry[1:] for entry in group}) == 1


def test_order_is_shuffled_and_comes_from_the_seed() -> None:
    log = measured(a=1.0, b=2.0)[1]
    assert log == measured(a=1.0, b=2.0)[1]
    assert log != measured(a=1.0, b=2.0, seed=2)[1]
    firsts = [entry[0] for entry in log[6::2]]
    assert set(firsts) == {"a", "b"}
    orders = {tuple(entry[1] for entry in log[place : place + 6 : 2]) for place in range(6, len(log), 6)}
    assert len(orders) > 1


def test_warm_up_is_in_no_sample() -> None:
    samples, log = measured(rounds=2, a=1.0)
    assert sum(entry[3] for entry in log) == 3 * 3 + 3 * 2 * 4
    assert sum(len(r["wall_ms"]) for rounds in samples["a"].values() for r in rounds) == 3 * 2 * 4


def test_speedup_finds_a_true_factor_of_two() -> None:
    samples, _ = measured(rounds=32, fast=1.0, slow=2.0)
    found = speedup(samples["fast"]["real"], samples["slow"]["real"])
    assert found["ratio"] == pytest.approx(2.0, abs=0.05)
    assert found["ci95_low"] <= found["ratio"] <= found["ci95_high"]
    assert found["ci95_high"] - found["ci95_low"] < 0.1
    assert found["verdict"] == "faster"
    assert speedup(samples["slow"]["real"], samples["fast"]["real"])["verdict"] == "slower"


def test_equal_workers_show_no_difference() -> None:
    samples, _ = measured(rounds=32, one=1.0, two=1.0)
    found = speedup(samples["one"]["real"], samples["two"]["real"])
    assert found["verdict"] == "no difference"
    assert found["ci95_low"] < 1 < found["ci95_high"]


def test_speedup_is_of_the_same_round_so_a_moody_machine_cancels() -> None:
    moods = [1.0, 5.0, 2.0, 9.0, 1.0, 3.0]
    candidate = [{"wall_ms": [m, m], "cpu_ms": [m]} for m in moods]
    baseline = [{"wall_ms": [1.5 * m, 1.5 * m], "cpu_ms": [m]} for m in moods]
    assert speedup(candidate, baseline) == {"ratio": 1.5, "ci95_low": 1.5, "ci95_high": 1.5, "verdict": "faster"}


def test_latency_figures_by_hand() -> None:
    rounds = [{"wall_ms": [1.0, 2.0, 3.0], "cpu_ms": [1.0, 1.0, 4.0]}, {"wall_ms": [4.0, 5.0], "cpu_ms": [2.0, 3.0]}]
    assert latency_figures(rounds) == {"latency_ms_p50": 3.0, "latency_ms_p90": 4.6, "latency_ms_p99": 4.96,
                                       "latency_ms_min": 1.0, "cpu_ms_p50": 2.0, "n": 5}


def rounds_of(*values: float) -> list[dict[str, list[float]]]:
    return [{"wall_ms": [v] * 8, "cpu_ms": [v] * 8} for v in values]


def test_drift_is_second_half_over_first() -> None:
    assert drift(rounds_of(1, 1, 1.5, 1.5)) == pytest.approx(0.5)
    assert drift(rounds_of(2, 2, 1, 1)) == pytest.approx(-0.5)
    assert drift(rounds_of(*[3.0] * 8)) == 0.0


def test_valid_times_have_no_reason_against_them() -> None:
    assert reasons_against({"candidate": {"tokens_16": rounds_of(*[1.0] * 4 + [1.25] * 4)}}, busy_before=0.5) == []


def test_each_reason_against_times_is_said() -> None:
    few = [*rounds_of(*[1.0] * 7), {"wall_ms": [1.0] * 7, "cpu_ms": [1.0] * 7}]
    samples = {"candidate": {"real": few, "tokens_16": rounds_of(*[1.0] * 4 + [1.5] * 4)},
               "torch_fp32": {"tokens_32": rounds_of(*[2.0] * 4 + [1.0] * 4)}}
    assert reasons_against(samples, busy_before=0.61) == [
        "others kept 0.61 cores busy before the run",
        "63 calls a scenario, fewer than 64",
        "tokens_16 on candidate moved by +50% between the halves of the run",
        "tokens_32 on torch_fp32 moved by -50% between the halves of the run",
    ]


def test_halves_of_real_sentences_may_differ_because_the_sentences_do() -> None:
    assert reasons_against({"candidate": {"real": rounds_of(*[1.0] * 4 + [3.0] * 4)}}, busy_before=0.0) == []
