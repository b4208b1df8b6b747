"""Which processes a run starts anew, and which stay."""

import os
from pathlib import Path
from typing import Any

import pytest

from edgedistil.stages.site import Here, Place
from edgedistil.stages.timing import Measured, run

PROGRAM = """
import os, time
STARTED_NS = time.monotonic_ns()
from edgedistil.workers.loop import serve


class Engine:
    def load(self, request):
        time.sleep({start_s})
        return {{"imported": time.monotonic_ns()}}

    def pack(self, rows):
        return rows

    def run(self, packed):
        time.sleep(0.001)

    def tokenize(self, text):
        return text


serve(Engine(), STARTED_NS)
"""


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))

    def make(restart_within_s: float, slow_s: float = 0.0) -> Measured:
        for name, start_s in (("quick_start", 0.0), ("slow_start", slow_s)):
            (tmp_path / f"{name}.py").write_text(PROGRAM.format(start_s=start_s))
        mode = {"generations": 2, "restart_within_s": restart_within_s, "rounds": 4, "burst": 2, "seconds": 0,
                "seconds_of": "run", "warmup_calls": 1, "warmup_limit": 2, "lengths": [4], "batches": [],
                "batch_rounds": 0}
        options = {"measurement": mode, "device": {"threads": 1}, "seed": 1, "task": {"max_length": 8},
                   "compression": None}
        stand = {"candidate": Place("slow_start", tmp_path), "quick": Place("quick_start", tmp_path),
                 "slow": Place("slow_start", tmp_path)}
        return run(options, Here(options), stand, [("a text",)], [[2, 10, 11, 3]] * 3, None)

    return make


def test_a_baseline_that_starts_slowly_stays_and_the_candidate_never_does(measured: Any) -> None:
    found = measured(2.0, slow_s=2.5)
    assert found.kept == ["slow"]
    assert {name: len(starts) for name, starts in found.starts.items()} == {"candidate": 2, "quick": 2, "slow": 1}
    rounds = found.samples["slow"]["tokens_4"]
    assert [r["generation"] for r in rounds] == [0, 0, 1, 1]
    assert found.meanwhile["seconds"] > 5


def test_a_worker_that_reads_nothing_more_is_ended(tmp_path: Path) -> None:
    import time

    from edgedistil.workers.client import Worker, WorkerError

    long, began = [[1] * 384] * 300, time.monotonic()
    with (
        pytest.raises(WorkerError, match="gave no answer to spans within 1 s and was ended"),
        Worker("deaf", 1, command=["sleep", "30"], timeout_s=1) as worker,
    ):
        worker.ask("spans", ids=long, types=long)
    assert time.monotonic() - began < 10


def test_all_are_started_anew_where_there_is_time_for_it(measured: Any) -> None:
    found = measured(600.0)
    assert found.kept == []
    assert {len(starts) for starts in found.starts.values()} == {2}
