"""The worker's instruments against known quantities: a mapped file, a slow phase, chosen cores, another interpreter."""

import os
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from edgedistil.workers.client import Worker, WorkerError

ENGINE = textwrap.dedent("""
    import time
    STARTED_NS = time.monotonic_ns()
    import mmap, os, sys
    from pathlib import Path
    from edgedistil.workers.loop import serve
    from edgedistil.workers.phases import Phases, read_through

    class Engine:
        def load(self, request):
            folder = Path(request["folder"])
            phases = Phases(folder)
            phases.end("imported")
            read_through(folder / "weights")
            phases.end("read")
            if (folder / "slow").exists():
                time.sleep(0.2)
            with open(folder / "weights", "rb") as stream:
                self.mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            sum(self.mapped[::4096])
            phases.end("session")
            bytes_of_zeros = bytearray(60_000_000)
            bytes_of_zeros[::4096] = b"x" * len(bytes_of_zeros[::4096])
            del bytes_of_zeros
            phases.end("first_logits")
            return phases

        def pack(self, rows):
            return rows

        def run(self, packed):
            return packed

        def tokenize(self, text):
            time.sleep(0.004 * len(text))

        def predict(self, texts):
            return [[float(os.environ["OMP_NUM_THREADS"]), float(sys.flags.isolated)]]

    if __name__ == "__main__":
        serve(Engine(), STARTED_NS)
""")


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "code" / "mine").mkdir(parents=True)
    (tmp_path / "code" / "mine" / "engine.py").write_text(ENGINE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "code"))
    return "mine.engine"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    made.mkdir()
    (made / "weights").write_bytes(os.urandom(40_000_000))
    return made


def test_a_mapped_file_is_told_from_other_pages_and_a_peak_from_what_stays(module: str, folder: Path) -> None:
    with Worker(module, threads=1) as worker:
        found = worker.load(folder, 128, ("text",))
    phases = found["memory_by_phase"]
    assert list(phases) == ["imported", "read", "session", "first_logits"]
    assert phases["imported"]["rss_model_files_mb"] == 0.0
    # Read through means in the page cache, not in this process.
    assert phases["read"]["rss_model_files_mb"] == 0.0
    assert phases["session"]["rss_model_files_mb"] == pytest.approx(40, abs=0.1)
    assert phases["session"]["rss_file_mb"] - phases["read"]["rss_file_mb"] == pytest.approx(40, abs=2)
    assert phases["session"]["rss_anonymous_mb"] - phases["read"]["rss_anonymous_mb"] < 10
    if found["peak_resettable"]:
        # 60 MB were there and are gone; they stand in their own phase's peak only.
        last = phases["first_logits"]
        assert last["peak_rss_mb"] - last["rss_mb"] == pytest.approx(60, abs=3)
        assert phases["session"]["peak_rss_mb"] - phases["session"]["rss_mb"] < 10
        assert found["memory"]["peak_rss_mb"] == last["peak_rss_mb"]


def test_a_slow_phase_is_slow_in_its_own_place(module: str, folder: Path) -> None:
    with Worker(module, threads=1) as worker:
        before = worker.load(folder, 128, ("text",))["cold_start_ms"]
    (folder / "slow").touch()
    with Worker(module, threads=1) as worker:
        after = worker.load(folder, 128, ("text",))["cold_start_ms"]
    assert list(after) == ["started", "imported", "read", "session", "first_logits", "total"]
    assert after["session"] >= 200 > before["session"]
    assert all(after[phase] < before[phase] + 150 for phase in ("imported", "read", "first_logits"))
    assert after["total"] == pytest.approx(sum(v for k, v in after.items() if k != "total"), abs=0.01)


def test_a_worker_stays_on_its_cores(module: str, folder: Path) -> None:
    allowed = sorted(os.sched_getaffinity(0))
    with Worker(module, 1, cores=allowed[-1:]) as pinned, Worker(module, 1) as free:
        assert pinned.load(folder, 128, ("text",))["cores"] == allowed[-1:]
        assert free.load(folder, 128, ("text",))["cores"] == allowed
    assert sorted(os.sched_getaffinity(0)) == allowed


def test_another_interpreter_is_lent_this_package_alone(
    module: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "python").write_text(f'#!/bin/sh\necho "$PYTHONPATH" > {tmp_path}/path\nexec {sys.executable} "$@"\n')
    (tmp_path / "python").chmod(0o755)
    with Worker("edgedistil.workers.gemm", 1, python=str(tmp_path / "python")) as worker:
        worker.ask("usage")
        lent = Path((tmp_path / "path").read_text().strip())
        assert [p.name for p in lent.iterdir()] == ["edgedistil"]
    assert not lent.exists()
    with Worker("edgedistil.workers.gemm", 1, python=sys.executable) as worker, pytest.raises(WorkerError):
        worker.ask("predict", texts=[])


def test_tokenization_is_timed_a_text_at_a_time(module: str, folder: Path) -> None:
    with Worker(module, threads=3) as worker:
        worker.load(folder, 128, ("text",))
        wall = worker.ask("tokenize", texts=[["one"], ["a", "pair"]])["wall_ms"]
        assert worker.ask("predict", texts=[])["logits"][0][0] == 3.0
    # A loaded machine sleeps longer, never shorter.
    assert wall[0] >= 4.0
    assert wall[1] >= 8.0
    with Worker("edgedistil.workers.gemm", 1) as worker, pytest.raises(WorkerError, match="no tokenizer of its own"):
        worker.ask("tokenize", texts=[["one"]])


def test_the_calibration_products_are_what_they_say() -> None:
    import numpy as np

    from edgedistil.measurement.calibration import calibrate
    from edgedistil.workers.gemm import OPERATIONS, SIZE, GemmEngine

    engine = GemmEngine()
    engine.load({"threads": 1})
    for row, kind in ((0, np.float32), (1, np.int32)):
        (found,) = engine.run(engine.pack([[row]]))
        assert (found.shape, found.dtype) == ((SIZE, SIZE), kind)
        assert np.ptp(found) > 0
    assert OPERATIONS == 2 * SIZE**3
    with Worker("edgedistil.workers.gemm", 1) as worker:
        worker.load("", 1, ("",))
        rates = calibrate(worker, OPERATIONS)
    # No core that runs ONNX Runtime is outside of these.
    assert all(0.5 < rate < 20_000 for rate in rates.values())


@pytest.mark.parametrize("kind", ["bert"])
def test_the_shipped_worker_has_all_phases(kind: str, tiny_folder: Callable[..., Path]) -> None:
    import onnx

    from edgedistil.export.graph import write_graph
    from edgedistil.export.precision import Float32
    from edgedistil.export.reading import read_model

    made = tiny_folder(kind)
    onnx.save(write_graph(read_model(made), Float32(), True), made / "model.onnx")
    with Worker("onnxruntime", 1) as worker:
        found = worker.load(made, 64, ("the film",))
        assert len(worker.ask("tokenize", texts=[["the film"]])["wall_ms"]) == 1
    assert list(found["cold_start_ms"]) == [
        "started", "imported", "tokenizer", "read", "session", "first_logits", "total"]
    assert list(found["memory_by_phase"]) == list(found["cold_start_ms"])[1:-1]
