"""The worker's path for GPUs as far as it goes without one: a device that is the processor under another name."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgedistil.workers import cuda_device, cuda_graphs
from edgedistil.workers.cuda_capacity import OutOfMemory
from edgedistil.workers.torch import TorchEngine


class Device:
    """As :class:`edgedistil.workers.cuda_device.CudaDevice`; it writes down what was asked of it."""

    place = "cpu"
    context_by = "process"

    def __init__(self, aside: Callable[[], AbstractContextManager[Any]]) -> None:
        with aside():
            self.calls: list[str] = []

    def pinned(self, tensor: torch.Tensor) -> torch.Tensor:
        self.calls.append("pinned")
        return tensor

    def begin(self) -> None:
        self.calls.append("begin")

    def end(self) -> None:
        self.calls.append("end")

    def elapsed_ms(self) -> float:
        return 0.25

    def memory(self) -> dict[str, float | None]:
        return {"allocated_peak_mb": 3.0, "reserved_peak_mb": 4.0, "allocated_mb": 2.0, "process_mb": None,
                "context_mb": 300.0}

    def allocated_mb(self) -> float:
        self.calls.append("allocated")
        return 5.0 if self.calls.count("allocated") == 1 else 12.5

    def out_of_memory(self, what: str) -> str:
        self.calls.append("out of memory")
        return f"{what} on a GPU: 2 MB allocated before it, 1 of 3 MB free"

    def facts(self) -> dict[str, Any]:
        return {"device": "a GPU"}

    def has_flash(self) -> bool:
        return False


def recorder() -> Any:
    def record(function: Callable[[], torch.Tensor]) -> tuple[Callable[[], None], torch.Tensor]:
        output = torch.full_like(function(), float("nan"))
        return lambda: output.copy_(function()), output

    return record


@pytest.fixture(autouse=True)
def device(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(cuda_device, "CudaDevice", Device)
    monkeypatch.setattr(cuda_graphs, "cuda_recorder", recorder)
    yield
    torch.set_float32_matmul_precision("highest")


@pytest.fixture
def folder(tiny_model: Callable[..., Any], tiny_folder: Callable[..., Path]) -> Path:
    return tiny_folder(tiny_model("bert", hidden_size=64, initializer_range=0.15))


def loaded(folder: Path, quantization: str = "none", **placement: Any) -> TorchEngine:
    engine = TorchEngine()
    engine.phases = engine.load({
        "folder": str(folder), "threads": 1, "max_length": 64, "text": ["the film"], "quantization": quantization,
        "placement": {"device": "cuda", **placement}})
    return engine


def test_the_context_is_a_phase_of_its_own_and_memory_is_noted_from_then_on(folder: Path) -> None:
    engine = loaded(folder)
    assert list(engine.phases) == ["torch", "context", "imported", "tokenizer", "read", "session", "first_logits"]
    assert [name for name, memory in engine.phases.memory.items() if "gpu" not in memory] == ["torch"]
    assert engine.phases.memory["context"]["gpu"]["context_mb"] == 300.0
    assert engine.device_memory()["reserved_peak_mb"] == 4.0
    assert engine.facts["device"] == "a GPU"


def test_a_call_is_between_two_marks_and_its_input_is_pinned(folder: Path) -> None:
    engine = loaded(folder)
    packed = engine.pack([[2, 7, 3]])
    engine._device.calls.clear()
    engine.run(packed)
    assert engine._device.calls == ["begin", "end"]
    assert engine.device_ms() == 0.25
    engine.pack([[2, 7, 3]])
    assert engine._device.calls == ["begin", "end", "pinned"]


@pytest.mark.parametrize("quantization", ["none", "fp16", "nf4", "llm_int8"])
@pytest.mark.parametrize(
    "more", [{}, {"graphs": True}, {"unpadded": True}, {"graphs": True, "unpadded": True}], ids=str)
def test_answers_are_eager_modes(quantization: str, more: dict[str, bool], folder: Path,
                                 sentence_ids: list[list[int]]) -> None:
    plain = TorchEngine()
    plain.load({"folder": str(folder), "threads": 1, "max_length": 64, "text": ["the film"],
                "quantization": quantization})
    placed = loaded(folder, quantization, **more)
    # Between quantised layers a GPU works in FP16.
    half = quantization != "none"
    assert placed.facts["dtype"] == ("float16" if half else "float32")
    expected, found = (np.array([e.predict_ids(row, [0] * len(row)) for row in sentence_ids]) for e in (plain, placed))
    np.testing.assert_allclose(found, expected, atol={"none": 1e-5, "fp16": 0.01}.get(quantization, 0.15))
    batches = [placed.pack(sentence_ids[:6]), placed.pack(sentence_ids[6:])]
    found = np.concatenate([placed.run(batch).float().numpy() for batch in batches])
    np.testing.assert_allclose(found, expected, atol={"none": 1e-5, "fp16": 0.01}.get(quantization, 0.15))


def test_tf32_is_on_only_when_it_is_asked_for(folder: Path) -> None:
    loaded(folder, tf32=True)
    assert torch.get_float32_matmul_precision() == "high"
    loaded(folder)
    assert torch.get_float32_matmul_precision() == "highest"


def test_out_of_memory_says_how_full_the_device_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*anything: Any, **more: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")

    engine = loaded(folder, graphs=True)
    packed = engine.pack([[2, 7, 3]] * 3)
    monkeypatch.setattr(engine._runner, "_forward", full)
    with pytest.raises(OutOfMemory, match=r"^a batch of 3 x 16 on a GPU: 2 MB allocated before it, 1 of 3 MB free$"):
        engine.run(packed)
    with pytest.raises(OutOfMemory, match=r"^a graph of 5 x 2 tokens on a GPU"):
        engine.pack([[2, 3]] * 5)
    monkeypatch.undo()
    monkeypatch.setattr(cuda_device, "CudaDevice", Device)
    assert engine.run(engine.pack([[2, 3]] * 5)).shape == (5, 2)
    monkeypatch.setattr(type(engine._model), "to", full)
    with pytest.raises(OutOfMemory, match=r"^the model on a GPU"):
        loaded(folder, "fp16")


def test_weights_are_what_loading_the_model_added(folder: Path) -> None:
    assert loaded(folder).facts["weights_mb"] == 7.5
