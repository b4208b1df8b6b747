"""Known answers from real processes, 100 times each: equal workers, and one that is a tenth slower."""

import multiprocessing
import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from edgedistil.devices.cores import quietest_cores
from edgedistil.export.graph import write_graph
from edgedistil.export.precision import Float32
from edgedistil.export.reading import read_model
from edgedistil.measurement.figures import speedup
from edgedistil.measurement.interleave import Effort, Interleaved, Scenario
from edgedistil.workers.client import Worker

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]
TRIALS, GENERATIONS = 100, 4
EFFORT = Effort(rounds=60, burst=4, seconds=0, seconds_of="run", warmup_calls=10, warmup_limit=10)
SCENARIO = Scenario("tokens_32", [[[2, *range(10, 40), 3]]])

SLOWED = """
import time
STARTED_NS = time.monotonic_ns()
from edgedistil.workers.loop import serve
from edgedistil.workers.onnx import OnnxEngine


class Slowed(OnnxEngine):
    def run(self, packed):
        began = time.perf_counter_ns()
        found = super().run(packed)
        end = time.perf_counter_ns() + (time.perf_counter_ns() - began) // 10
        while time.perf_counter_ns() < end:
            pass
        return found


serve(Slowed(), STARTED_NS)
"""


def _burn(parent: int) -> None:
    # A burner that outlived its test would sit beside every later measurement.
    while os.getppid() == parent:
        pass


@pytest.fixture
def burning(request: pytest.FixtureRequest) -> Iterator[bool]:
    if not request.param:
        yield False
        return
    process = multiprocessing.get_context("fork").Process(target=_burn, args=(os.getpid(),), daemon=True)
    process.start()
    yield True
    process.kill()
    process.join()


@pytest.fixture
def folder(tiny_folder: Callable[..., Path], tiny_model: Callable[..., object]) -> Path:
    """A real ONNX model that takes about half a millisecond a sentence of 32 tokens."""
    import onnx

    made = tiny_folder(tiny_model("distilbert", dim=128, hidden_dim=512, initializer_range=0.1))
    onnx.save(write_graph(read_model(made), Float32(), False), made / "model.onnx")
    return made


def trial(folder: Path, number: int) -> tuple[str, str]:
    """(verdict on a second worker like the first, verdict on a worker a tenth slower), from one interleaved run."""
    cores, _ = quietest_cores(1, seconds=0.05)
    chance = random.Random(number)
    timed = Interleaved([SCENARIO], EFFORT, seed=number)
    for _ in range(GENERATIONS):
        with ExitStack() as stack:
            workers = {}
            for name in chance.sample(["candidate", "same", "slowed"], 3):
                engine = "slowed" if name == "slowed" else "onnxruntime"
                workers[name] = stack.enter_context(Worker(engine, 1, cores))
                workers[name].load(folder, 64, ("the film",))
            timed.generation(workers)
    rounds = {name: by_scenario["tokens_32"] for name, by_scenario in timed.samples.items()}
    return (
        speedup(rounds["candidate"], rounds["same"])["verdict"],
        speedup(rounds["slowed"], rounds["candidate"])["verdict"],
    )


@pytest.mark.parametrize("burning", [False, True], ids=["quiet", "burning core"], indirect=True)
def test_equal_is_equal_and_a_tenth_slower_is_slower_95_times_in_100(
    burning: bool, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slowed.py").write_text(SLOWED)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    began = time.monotonic()
    verdicts = [trial(folder, number) for number in range(TRIALS)]
    equal, slower = (Counter(v) for v in zip(*verdicts, strict=True))
    print(f"\nburning={burning}: equal {dict(equal)}, a tenth slower {dict(slower)}, {time.monotonic() - began:.0f} s")
    assert equal["no difference"] >= 95
    assert slower["slower"] >= 95
    shutil.rmtree(folder)
