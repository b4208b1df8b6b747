"""Workers are warmed up, then timed side by side in shuffled bursts, over generations of processes."""

import random
from typing import Any

import pytest

from edgedistil.measurement.interleave import Effort, Interleaved, Scenario, drift, warm_up

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
        return {"wall_ms": wall, "cpu_ms": [w / 2 for w in wall], "involuntary_switches": 0}


def measured(
    seed: int = 1, rounds: int = 6, generations: int = 1, noise: float = 0.02, **wall_ms: float
) -> tuple[Interleaved, list[tuple[Any, ...]]]:
    log: list[tuple[Any, ...]] = []
    effort = Effort(rounds, burst=4, seconds=0, seconds_of="run", warmup_calls=3, warmup_limit=9)
    timed = Interleaved(SCENARIOS, effort, seed)
    for _ in range(generations):
        workers = {name: FakeWorker(name, log, ms, noise) for name, ms in wall_ms.items()}
        timed.generation(workers)
        for worker in workers.values():
            assert worker.prepared == {s.name: s.batches for s in SCENARIOS}
    return timed, log


def test_every_worker_is_warmed_up_first_and_gets_every_burst_of_every_scenario() -> None:
    timed, log = measured(a=1.0, b=2.0, c=3.0)
    warm, bursts = log[:18], log[18:]
    # Two blocks that agree are enough.
    assert sorted(warm) == sorted((w, s.name, 0, 3) for w in "abc" for s in SCENARIOS for _ in range(2))
    assert sorted(bursts) == sorted((w, s.name, r * 4, 4) for w in "abc" for s in SCENARIOS for r in range(6))
    assert {
        w: {s: [len(r["wall_ms"]) for r in rounds] for s, rounds in scenarios.items()}
        for w, scenarios in timed.samples.items()
    } == {w: {s.name: [4] * 6 for s in SCENARIOS} for w in "abc"}


def test_workers_take_turns_within_each_scenario_of_each_round() -> None:
    _, log = measured(a=1.0, b=2.0, c=3.0)
    for place in range(18, len(log), 3):
        group = log[place : place + 3]
        assert {entry[0] for entry in group} == {"a", "b", "c"}
        assert len({entry[1:] for entry in group}) == 1


def test_order_is_shuffled_and_comes_from_the_seed() -> None:
    log = measured(a=1.0, b=2.0)[1]
    assert log == measured(a=1.0, b=2.0)[1]
    assert log != measured(a=1.0, b=2.0, seed=2)[1]
    firsts = [entry[0] for entry in log[12::2]]
    assert set(firsts) == {"a", "b"}
    orders = {tuple(entry[1] for entry in log[place : place + 6 : 2]) for place in range(12, len(log), 6)}
    assert len(orders) > 1


def test_generations_go_on_through_the_inputs_and_are_told_apart() -> None:
    timed, log = measured(rounds=2, generations=3, a=1.0)
    assert [r["generation"] for r in timed.samples["a"]["real"]] == [0, 0, 1, 1, 2, 2]
    assert [start for _, name, start, count in log if name == "real" and count == 4] == [0, 4, 8, 12, 16, 20]


def test_rounds_follow_until_the_seconds_are_measured() -> None:
    def rounds(seconds_of: str) -> int:
        # Known times, a round of three scenarios: 12 ms of the candidate, 48 ms of both.
        timed = Interleaved(SCENARIOS, Effort(2, 4, 0.24, seconds_of, 3, 9), seed=1)
        timed.generation({"candidate": FakeWorker("a", [], 1.0), "other": FakeWorker("b", [], 3.0)})
        return len(timed.samples["other"]["real"])

    assert rounds("run") == 5
    assert rounds("candidate") == 20


class Warming(FakeWorker):
    """Each block of calls takes the next of these times."""

    def __init__(self, *blocks: float) -> None:
        super().__init__("warming", [])
        self.prepared, self.blocks = {"real": []}, list(blocks)

    def ask(self, op: str, **arguments: Any) -> dict[str, Any]:
        self.wall_ms = self.blocks.pop(0)
        return super().ask(op, **arguments)


def test_warm_up_goes_on_until_two_blocks_agree() -> None:
    worker = Warming(9.0, 5.0, 3.0, 2.0, 1.95, 1.9)
    assert warm_up(worker, "real", calls=3, limit=9) is True
    assert worker.blocks == [1.9]


def test_warm_up_that_never_settles_ends_and_is_told() -> None:
    assert warm_up(Warming(9.0, 5.0, 9.0, 5.0, 5.0), "real", calls=3, limit=4) is False
    timed = Interleaved(SCENARIOS[:1], Effort(1, 1, 0, "run", 3, 4), seed=1)

    class Restless(FakeWorker):
        def ask(self, op: str, **arguments: Any) -> dict[str, Any]:
            self.wall_ms *= 1.5
            return super().ask(op, **arguments)

    timed.generation({"a": Restless("a", []), "b": FakeWorker("b", [])})
    assert timed.unsteady == ["real on a"]


def rounds_of(*values: float) -> list[dict[str, list[float]]]:
    return [{"wall_ms": [v] * 8, "cpu_ms": [v] * 8} for v in values]


def test_drift_is_second_half_over_first() -> None:
    assert drift(rounds_of(1, 1, 1.5, 1.5)) == pytest.approx(0.5)
    assert drift(rounds_of(2, 2, 1, 1)) == pytest.approx(-0.5)
    assert drift(rounds_of(*[3.0] * 8)) == 0.0
