"""The GPU's calibration worker, with a small product on the processor."""

import time

import pytest
import torch

from edgedistil.workers.client import Worker, WorkerError
from edgedistil.workers.cuda_gemm import PRODUCTS, SIZE, CudaGemmEngine, operations


def test_products_are_what_their_rows_say() -> None:
    engine = CudaGemmEngine()
    phases = engine.load({"folder": "", "threads": 1, "size": 32, "placement": {"device": "cpu"}})
    assert list(phases) == ["imported", "session"]
    assert engine.facts["products"] == {"fp32": 0, "fp16": 2, "bf16": 3}
    answers = {}
    for name, row in engine.facts["products"].items():
        answers[name] = engine.run(engine.pack([[row]])).clone()
        left, right, _ = engine._matrices[engine._kinds[name]]
        torch.testing.assert_close(answers[name].float(), left.float() @ right.float(), atol=0.2, rtol=0.01)
    assert [answers[n].dtype for n in answers] == [torch.float32, torch.float16, torch.bfloat16]
    assert (answers["fp32"] ** 2).mean() == pytest.approx(32, rel=0.2)


def test_the_worker_program_answers_as_the_other_calibration_worker_does() -> None:
    with Worker("edgedistil.workers.cuda_gemm", 1) as worker:
        facts = worker.load("", 1, ("",), size=256, placement={"device": "cpu"})["facts"]
        assert (facts["size"], facts["operations"], facts["device"]) == (256, 2 * 256**3, "cpu")
        for row in facts["products"].values():
            worker.ask("prepare", name="p", batches=[[[row]]])
            began = time.perf_counter()
            times = worker.ask("time", name="p", start=0, count=3)
            assert 0 < sum(times["wall_ms"]) < 1000 * (time.perf_counter() - began)
            assert "device_ms" not in times
        with pytest.raises(WorkerError, match=r"the product tf32 needs placement\.device=cuda"):
            worker.ask("prepare", name="p", batches=[[[PRODUCTS.index("tf32")]]])


def test_operations_of_a_product() -> None:
    assert operations() == 2 * SIZE**3 == 1_099_511_627_776
    assert operations(3) == 54
