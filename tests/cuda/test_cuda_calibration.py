"""The GPU's calibration worker and ONNX Runtime's provider on a real GPU."""

from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import pytest
import torch

from edgedistil.workers.client import Worker
from edgedistil.workers.cuda_gemm import CudaGemmEngine

pytestmark = pytest.mark.cuda


def test_products_in_each_type_are_right_and_tf32_is_not_fp32() -> None:
    engine = CudaGemmEngine()
    engine.load({"folder": "", "threads": 1, "size": 512, "placement": {"device": "cuda"}})
    answers = {}
    for name, row in engine.facts["products"].items():
        packed = engine.pack([[row]])
        answers[name] = engine.run(packed).double().cpu()
        left, right, _ = packed[1]
        error = (answers[name] - left.double().cpu() @ right.double().cpu()).abs().max()
        assert error < {"fp32": 1e-3, "tf32": 0.3, "fp16": 0.3, "bf16": 1.5}[name], name
    assert list(answers) == ["fp32", "tf32", "fp16", "bf16"]
    if torch.cuda.get_device_capability() >= (8, 0):
        assert not torch.equal(answers["fp32"], answers["tf32"])


def test_a_peak_is_measured_and_16_bits_are_faster() -> None:
    with Worker("edgedistil.workers.cuda_gemm", 1) as worker:
        facts = worker.load("", 1, ("",), size=4096, placement={"device": "cuda"})["facts"]
        peaks = {}
        for name, row in facts["products"].items():
            worker.ask("prepare", name=name, batches=[[[row]]])
            worker.ask("time", name=name, start=0, count=5)
            times = worker.ask("time", name=name, start=0, count=20)
            assert all(d <= w + 0.002 for d, w in zip(times["device_ms"], times["wall_ms"], strict=True))
            peaks[name] = facts["operations"] / median(times["device_ms"]) / 1e9
    assert facts["operations"] == 2 * 4096**3
    assert all(0.5 < tflops < 5000 for tflops in peaks.values())
    assert min(peaks["fp16"], peaks["bf16"]) > 1.5 * peaks["fp32"] or facts["compute_capability"] < "7.0"


def test_onnx_runtime_on_the_gpu_answers_as_on_the_processor(tiny_folder: Callable[..., Path],
                                                             sentence_ids: list[list[int]]) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime is a CPU build")
    from edgedistil.export.files import save
    from edgedistil.export.graph import write_graph
    from edgedistil.export.precision import Float32
    from edgedistil.export.reading import read_model
    from edgedistil.workers.onnx import OnnxEngine

    folder = tiny_folder("distilbert")
    save(write_graph(read_model(folder), Float32()), folder / "model.onnx")
    engines = {}
    for device in ("cpu", "cuda"):
        engines[device] = OnnxEngine()
        engines[device].load({"folder": str(folder), "threads": 1, "max_length": 64, "text": ["the film"],
                              "placement": {"device": device}})
    expected, found = (
        np.array([engines[d].predict_ids(row, [0] * len(row)) for row in sentence_ids]) for d in ("cpu", "cuda"))
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert engines["cuda"].facts["provider"] == "CUDAExecutionProvider"
