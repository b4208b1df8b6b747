"""Workers measured side by side: short bursts in shuffled order, in several generations of fresh processes."""

import random
from dataclasses import dataclass
from typing import Any, Protocol

from .statistics import median


class Asked(Protocol):
    """Anything that answers the worker protocol."""

    def ask(self, op: str, **arguments: Any) -> dict[str, Any]:
        """One request, one answer."""


@dataclass(frozen=True)
class Scenario:
    """Named inputs: each batch is a list of rows of token ids."""

    name: str
    batches: list[list[list[int]]]


@dataclass(frozen=True)
class Effort:
    """How much is measured in each generation.

    Attributes:
        rounds: at least so many rounds; in each one, every worker gets one burst of every scenario.
        burst: calls in a burst.
        seconds: and at least so many measured seconds (wall time of the calls, over all scenarios).
        seconds_of: of the worker ``candidate``, or of all workers together (``run``).
        warmup_calls: calls of a block of warm-up; blocks repeat until two agree.
        warmup_limit: blocks at most.
    """

    rounds: int
    burst: int
    seconds: float
    seconds_of: str
    warmup_calls: int
    warmup_limit: int


Round = dict[str, Any]
Samples = dict[str, dict[str, list[Round]]]

# Two neighbouring blocks of warm-up agree when their fastest calls differ by no more than this share.
STEADY = 0.1


class Interleaved:
    """Times of several workers over generations.

    In each round the scenarios come in a new order, and within a scenario the workers do; the one that asks sleeps
    while a worker works, and the others wait.

    Attributes:
        samples: worker → scenario → rounds ``{"generation", "wall_ms": [...], "cpu_ms": [...],
            "involuntary_switches"}``.
        unsteady: ``scenario on worker`` whose warm-up never settled.
        left_out: (worker, scenario) that are not timed.
    """

    def __init__(self, scenarios: list[Scenario], effort: Effort, seed: int) -> None:
        self.scenarios, self.effort = scenarios, effort
        self.samples: Samples = {}
        self.unsteady: list[str] = []
        self.left_out: set[tuple[str, str]] = set()
        self._chance, self._generation, self._rounds = random.Random(seed), 0, 0

    def generation(self, workers: dict[str, Asked]) -> None:
        """Warm up these workers, fresh processes all, and time them."""
        for name, worker in workers.items():
            for scenario in self.scenarios:
                if (name, scenario.name) in self.left_out:
                    continue
                worker.ask("prepare", name=scenario.name, batches=scenario.batches)
                if not warm_up(worker, scenario.name, self.effort.warmup_calls, self.effort.warmup_limit):
                    self.unsteady.append(f"{scenario.name} on {name}")
        rounds, measured_ms = 0, 0.0
        while self.scenarios and (rounds < self.effort.rounds or measured_ms < 1000 * self.effort.seconds):
            measured_ms += self._round(workers)
            rounds += 1
        self._generation += 1

    def _round(self, workers: dict[str, Asked]) -> float:
        measured_ms = 0.0
        for scenario in self._chance.sample(self.scenarios, len(self.scenarios)):
            for name in self._chance.sample(sorted(workers), len(workers)):
                if (name, scenario.name) in self.left_out:
                    continue
                times = workers[name].ask(
                    "time", name=scenario.name, start=self._rounds * self.effort.burst, count=self.effort.burst
                )
                self.samples.setdefault(name, {}).setdefault(scenario.name, []).append(
                    {"generation": self._generation, **times}
                )
                if self.effort.seconds_of == "run" or name == "candidate":
                    measured_ms += sum(times["wall_ms"])
        self._rounds += 1
        return measured_ms


def warm_up(worker: Asked, scenario: str, calls: int, limit: int) -> bool:
    """Blocks of the same calls until the fastest of two neighbouring blocks agree; False when none did.

    The fastest call, because what others on the machine take away only ever makes calls slower.
    """
    before = None
    for _ in range(limit):
        fastest = min(worker.ask("time", name=scenario, start=0, count=calls)["wall_ms"])
        if before is not None and abs(fastest / before - 1) <= STEADY:
            return True
        before = fastest
    return False


def drift(rounds: list[Round]) -> float:
    """Median of the second half of the rounds over that of the first, minus 1."""
    half = len(rounds) // 2
    first = [v for r in rounds[:half] for v in r["wall_ms"]]
    second = [v for r in rounds[half:] for v in r["wall_ms"]]
    return median(second) / median(first) - 1
