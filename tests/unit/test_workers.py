"""The real worker loop in a process of its own, around an engine with known times and known memory."""

import json
import os
import re
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edgedistil.models.reference import predict
from edgedistil.models.shrunken import load_classifier
from edgedistil.workers import client
from edgedistil.workers.client import Worker, WorkerError

ENGINE = textwrap.dedent("""
    import os, sys, time
    STARTED_NS = time.monotonic_ns()
    from edgedistil.workers.loop import serve

    class Engine:
        def load(self, request):
            print("a library talks to standard output")
            clock = {}
            for phase in ("imported", "tokenizer", "session", "first_logits"):
                time.sleep(0.03)
                clock[phase] = time.monotonic_ns()
            return clock

        def pack(self, rows):
            if rows == [[0]]:
                raise ValueError("no such token")
            return sum(rows[0])

        def run(self, packed):
            self.seen = getattr(self, "seen", []) + [packed]
            if packed == 200:
                self.block = bytearray(200_000_000)
                for place in range(0, len(self.block), 4096):
                    self.block[place] = 1
                del self.block
            elif packed == 7:
                end = time.process_time() + 0.05
                while time.process_time() < end:
                    pass
            else:
                time.sleep(packed / 1000)

        def predict(self, texts):
            if texts == [["die"]]:
                sys.stderr.write("first line\\nlast words\\n")
                sys.stderr.flush()
                os._exit(7)
            if texts == [["seen"]]:
                return [self.seen]
            return [[float(len(text)) for text in pair] for pair in texts]

    serve(Engine(), STARTED_NS)
""")


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Worker]:
    (tmp_path / "fake_engine.py").write_text(ENGINE)
    # With it the package that is tested here, whichever is installed.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(Path(client.__file__).parents[2])]))
    monkeypatch.setitem(client.PROGRAMS, "fake", "fake_engine")
    return lambda: Worker("fake", threads=1)


@pytest.fixture
def worker(fake: Callable[[], Worker]) -> Iterator[Worker]:
    with fake() as running:
        yield running


def test_sleep_of_20_ms_is_timed_as_20_ms_without_processor_time(worker: Worker) -> None:
    assert worker.ask("prepare", name="sleep", batches=[[[20]]]) == {"batches": 1}
    found = worker.ask("time", name="sleep", start=0, count=5)
    assert len(found["wall_ms"]) == len(found["cpu_ms"]) == 5
    assert min(found["wall_ms"]) >= 20.0
    assert sorted(found["wall_ms"])[2] < 30.0
    assert max(found["cpu_ms"]) < 5.0


def test_work_of_50_ms_is_counted_as_processor_time(worker: Worker) -> None:
    worker.ask("prepare", name="work", batches=[[[7]]])
    found = worker.ask("time", name="work", start=0, count=1)
    assert 50.0 <= found["cpu_ms"][0] < 70.0
    assert found["wall_ms"][0] >= found["cpu_ms"][0] - 1


def test_start_goes_on_through_the_prepared_inputs_in_a_circle(worker: Worker) -> None:
    worker.ask("prepare", name="three", batches=[[[1]], [[2]], [[3]]])
    worker.ask("time", name="three", start=0, count=2)
    worker.ask("time", name="three", start=2, count=4)
    assert worker.ask("predict", texts=[["seen"]])["logits"] == [[1, 2, 3, 1, 2, 3]]


def test_200_mb_raise_the_peak_by_200_mb_and_it_is_reset(worker: Worker) -> None:
    before = worker.ask("memory")["memory"]
    worker.ask("prepare", name="big", batches=[[[200]]])
    worker.ask("time", name="big", start=0, count=1)
    after = worker.ask("memory")["memory"]
    assert after["peak_rss_mb"] - before["rss_mb"] == pytest.approx(200, rel=0.1)
    assert after["rss_mb"] < before["rss_mb"] + 20
    again = worker.ask("memory")["memory"]
    assert again["peak_rss_mb"] < before["rss_mb"] + 20
    assert set(after) == {"peak_rss_mb", "rss_mb", "rss_anonymous_mb", "rss_file_mb"}
    assert after["rss_anonymous_mb"] + after["rss_file_mb"] == pytest.approx(after["rss_mb"], rel=0.1)


def test_error_comes_back_and_the_worker_lives_on(worker: Worker) -> None:
    with pytest.raises(WorkerError, match="the fake worker could not prepare: ValueError: no such token"):
        worker.ask("prepare", name="bad", batches=[[[0]]])
    with pytest.raises(WorkerError, match="unknown op 'dance'"):
        worker.ask("dance")
    with pytest.raises(WorkerError, match="could not time: KeyError"):
        worker.ask("time", name="never prepared", start=0, count=1)
    assert worker.ask("predict", texts=[["ab", "abc"]])["logits"] == [[2.0, 3.0]]


def test_a_request_that_is_none_is_answered_and_the_worker_lives_on(worker: Worker) -> None:
    for line, why in ((b"no json\n", "JSONDecodeError"), (b"[1]\n", "a request is a JSON object with an op"),
                      (b"\xff\n", "UnicodeDecodeError"), (b"[" * 100_000 + b"\n", "RecursionError")):
        worker._process.stdin.write(line)
        worker._process.stdin.flush()
        with pytest.raises(WorkerError, match=why):
            worker.ask("usage")
        # The answer to what was asked meanwhile comes next.
        assert set(json.loads(worker._read("usage", to_the_end=False))) == {"cpu_s"}
    assert worker.ask("predict", texts=[["ab", "abc"]])["logits"] == [[2.0, 3.0]]


@pytest.mark.parametrize(("said", "told"), [
    ("WARNING: linker: no such page", "answered usage with what is no answer: 'WARNING: linker: no such page"),
    ("[1, 2]", "answered usage with what is no answer: '[1, 2]"), ("[" * 100_000, "with what is no answer: '[[[[")])
def test_a_program_that_says_something_else_is_told(said: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(f"input()\nprint({said!r})\n")
    command = [sys.executable, "-S", str(tmp_path / "program.py")]
    with pytest.raises(WorkerError, match=re.escape(told)) as raised, Worker("native", 1, command=command) as worker:
        worker.ask("usage")
    assert len(str(raised.value)) < 400


def test_dead_worker_is_an_error_with_its_last_words(fake: Callable[[], Worker]) -> None:
    with fake() as worker:
        with pytest.raises(WorkerError, match=r"the fake worker died at predict \(exit code 7\): last words"):
            worker.ask("predict", texts=[["die"]])
        with pytest.raises(WorkerError, match=r"died at memory \(exit code 7\)"):
            worker.ask("memory")


def test_end_of_standard_input_ends_the_worker(fake: Callable[[], Worker]) -> None:
    with fake() as worker:
        worker.ask("memory")
    assert worker._process.returncode == 0


def test_worker_is_ended_when_its_user_fails(fake: Callable[[], Worker]) -> None:
    with pytest.raises(ZeroDivisionError), fake() as worker:
        raise ZeroDivisionError
    assert worker._process.returncode == -9


def test_cold_start_phases_follow_each_other_from_the_start_of_the_process(fake: Callable[[], Worker]) -> None:
    before = time.monotonic()
    with fake() as worker:
        found = worker.load("folder", 128, ("text",))
    seconds = time.monotonic() - before
    phases = found["cold_start_ms"]
    assert list(phases) == ["started", "imported", "tokenizer", "session", "first_logits", "total"]
    assert all(phases[name] >= 29 for name in ("imported", "tokenizer", "session", "first_logits"))
    assert phases["total"] == pytest.approx(sum(v for k, v in phases.items() if k != "total"), abs=0.01)
    assert 120 < phases["total"] < 1000 * seconds
    assert found["memory"]["peak_rss_mb"] >= found["memory"]["rss_mb"] > 1


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_the_torch_engine_answers_as_the_model_does(kind: str, tiny_folder: Callable[..., Path]) -> None:
    from edgedistil.tasks.encode import encode_with_types, load_tokenizer
    from edgedistil.workers.torch import TorchEngine

    folder, texts = tiny_folder(kind), [("the film is good", "bad"), ("a dull plot", "it was long")]
    engine = TorchEngine()
    engine.load({"folder": str(folder), "threads": 1, "max_length": 64, "text": ["the film"]})
    ids, types = encode_with_types(load_tokenizer(folder, 64), texts)
    expected = predict(load_classifier(folder), ids, types)
    np.testing.assert_allclose(engine.predict([list(t) for t in texts]), expected, atol=1e-6)
    padded = engine.run(engine.pack(ids, types)).numpy()
    np.testing.assert_allclose(padded, expected, atol=1e-5)
