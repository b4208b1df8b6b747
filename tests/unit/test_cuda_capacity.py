"""The largest batch that fits, and running out of memory as an answer after which a worker goes on."""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import edgedistil
from edgedistil.workers import client
from edgedistil.workers.client import Worker, WorkerError
from edgedistil.workers.cuda_capacity import (
    OutOfMemory,
    is_out_of_memory,
    largest_batch,
    largest_that_fits,
    release,
)
from edgedistil.workers.torch import TorchEngine


@pytest.mark.parametrize("high", [1, 2, 3, 7, 64, 1000])
def test_every_limit_is_found_in_few_questions(high: int) -> None:
    for limit in {*range(min(high, 70) + 2), high - 1, high, high + 1}:
        asked: list[int] = []
        found = largest_that_fits(lambda n, asked=asked, limit=limit: asked.append(n) or n <= limit, 1, high)
        assert found == (min(limit, high) or None)
        assert len(asked) == len(set(asked)) <= math.log2(high) + 3
        assert asked[0] == high


def test_a_range_that_begins_above_one() -> None:
    assert largest_that_fits(lambda n: n <= 9, 4, 20) == 9
    assert largest_that_fits(lambda n: n <= 3, 4, 20) is None
    assert largest_that_fits(lambda n: True, 4, 4) == 4
    with pytest.raises(ValueError, match="low=5 is above high=4"):
        largest_that_fits(lambda n: True, 5, 4)


@pytest.mark.parametrize(("error", "expected"), [
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."), True),
    (RuntimeError("CUDA error: out of memory"), True), (MemoryError(), True),
    (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
    (RuntimeError("[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory"), True),
    (RuntimeError("CUDA error: an illegal memory access"), False), (ValueError("out of memory"), False),
    (WorkerError("the torch worker could not time: OutOfMemory: a batch of 256 x 128"), True),
    (WorkerError("the torch worker could not time: ValueError: out of memory"), False)])
def test_what_counts_as_out_of_memory(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_tensors_of_a_failed_call_are_let_go_and_its_consequences_count() -> None:
    import weakref

    kept: list[Any] = []

    def work() -> None:
        big = torch.zeros(10)
        kept.append(weakref.ref(big))
        try:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nmore")
        except RuntimeError as error:
            raise RuntimeError("capture was invalidated") from error

    with pytest.raises(RuntimeError, match="capture was invalidated") as caught:
        work()
    assert kept[0]() is not None
    assert release(caught.value) == "CUDA out of memory. Tried to allocate 2 GiB."
    assert kept[0]() is None
    other = RuntimeError("another")
    other.__context__ = ValueError("out of memory")
    assert release(other) is None


def test_the_torch_engine_tells_and_stays_usable(tiny_folder: Callable[..., Path],
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    engine = TorchEngine()
    engine.load({"folder": str(tiny_folder("bert")), "threads": 1, "max_length": 64, "text": ["the film"],
                 "placement": {"unpadded": True}})
    forward = engine._runner._forward
    before = engine.predict_ids([2, 7, 3], [0, 0, 0])

    def full(ids: torch.Tensor, **more: Any) -> torch.Tensor:
        if len(ids) > 8:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nmore")
        return forward(ids=ids, **more)

    monkeypatch.setattr(engine._runner, "_forward", full)
    packed = engine.pack([[2, 7, 8, 9, 3]] * 2)
    with pytest.raises(OutOfMemory, match=r"^a batch of 2 texts, 10 tokens unpadded: CUDA out of memory\.") as caught:
        engine.run(packed)
    assert caught.value.__context__ is None
    assert engine.predict_ids([2, 7, 3], [0, 0, 0]) == before

    def broken(**inputs: Any) -> None:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(engine._runner, "_forward", broken)
    with pytest.raises(RuntimeError, match="shapes differ"):
        engine.run(packed)


ENGINE = """
import time
from edgedistil.workers.cuda_capacity import OutOfMemory
from edgedistil.workers.loop import serve

class Engine:
    def load(self, request):
        return {"session": time.monotonic_ns()}

    def pack(self, rows):
        if len(rows) == 99:
            raise ValueError("99 is not liked")
        return rows

    def run(self, rows):
        if len(rows) * len(rows[0]) > 210:
            raise OutOfMemory(f"a batch of {len(rows)} x {len(rows[0])}: 0 MB free")

    def predict(self, texts):
        return [[1.0]]

serve(Engine(), time.monotonic_ns())
"""


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "little_engine.py").write_text(ENGINE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(Path(edgedistil.__file__).parents[1])]))
    monkeypatch.setitem(client.PROGRAMS, "little", "little_engine")
    with Worker("little", threads=1) as running:
        running.load(tmp_path, 64, ("a",))
        yield running


def test_a_worker_is_asked_for_its_largest_batch(worker: Worker) -> None:
    worker.ask("prepare", name="big", batches=[[[1] * 10] * 100])
    with pytest.raises(WorkerError, match="could not time: OutOfMemory: a batch of 100 x 10"):
        worker.ask("time", name="big", start=0, count=1)
    assert largest_batch(worker, lambda rows: [[1] * 10] * rows, 64) == 21
    assert largest_batch(worker, lambda rows: [[1] * 10] * rows, 8) == 8
    assert largest_batch(worker, lambda rows: [[1] * 300] * rows, 64) is None
    with pytest.raises(WorkerError, match="99 is not liked"):
        largest_batch(worker, lambda rows: [[1]] * rows, 99)
    assert worker.ask("predict", texts=[["a"]])["logits"] == [[1.0]]
