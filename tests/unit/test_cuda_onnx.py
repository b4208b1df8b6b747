"""ONNX Runtime on a GPU that isn't there: always an error, never the processor under another name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import onnx
import onnxruntime
import pytest

from edgedistil.errors import UserError
from edgedistil.workers.onnx import OnnxEngine


@pytest.fixture
def folder(tiny_folder: Callable[..., Path]) -> Path:
    """A model folder whose graph answers with its own input."""
    made = tiny_folder("distilbert")
    helper = onnx.helper
    graph = helper.make_graph(
        [helper.make_node("Cast", ["input_ids"], ["logits"], to=onnx.TensorProto.FLOAT)], "identity",
        [helper.make_tensor_value_info("input_ids", onnx.TensorProto.INT64, ["rows", "tokens"])],
        [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["rows", "tokens"])])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), made / "model.onnx")
    return made


def asked(folder: Path, **more: Any) -> dict[str, Any]:
    return {"folder": str(folder), "threads": 1, "max_length": 16, "text": ["the film"], **more}


@pytest.mark.parametrize("placement", [{}, {"placement": None}, {"placement": {"device": "cpu"}}])
def test_the_processor_is_as_it_was(placement: dict[str, Any], folder: Path) -> None:
    engine = OnnxEngine()
    phases = engine.load(asked(folder, **placement))
    assert list(phases) == ["imported", "tokenizer", "read", "session", "first_logits"]
    assert engine.predict([["the film"]])[0] == [2.0, 5.0, 7.0, 3.0]
    assert not hasattr(engine, "facts")
    assert not hasattr(engine, "device_memory")


def test_a_build_without_the_provider(folder: Path) -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has the provider")
    with pytest.raises(UserError, match=r"no CUDA device: .*; its providers: .*CPUExecutionProvider"):
        OnnxEngine().load(asked(folder, placement={"device": "cuda"}))


def test_a_silent_fallback_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: both)
    opened: list[Any] = []

    class Session(onnxruntime.InferenceSession):
        def __init__(self, path: str, options: Any, providers: list[Any]) -> None:
            opened.append(providers)
            super().__init__(path, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    engine = OnnxEngine()
    with pytest.raises(UserError, match="could not start CUDAExecutionProvider and took CPUExecutionProvider"):
        engine.load(asked(folder, placement={"device": "cuda"}))
    # Without being asked it would compute FP32 in TF32.
    assert opened == [[("CUDAExecutionProvider", {"use_tf32": "0"})]]


@pytest.mark.parametrize("flag", ["compile", "graphs", "unpadded"])
def test_what_only_pytorch_has_is_refused(flag: str, folder: Path) -> None:
    with pytest.raises(UserError, match=f"placement.{flag}=true is PyTorch's; ONNX Runtime has none of it"):
        OnnxEngine().load(asked(folder, placement={"device": "cuda", flag: True}))


def test_with_the_provider_the_record_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])

    class Session:
        def __init__(self, path: str, options: Any, providers: list[Any]) -> None:
            self._providers = providers

        def get_providers(self) -> list[str]:
            return [self._providers[0][0], "CPUExecutionProvider"]

        def get_inputs(self) -> list[Any]:
            return [type("Input", (), {"name": "input_ids"})]

        def get_outputs(self) -> list[Any]:
            return [type("Output", (), {"name": "logits"})]

        def run(self, names: list[str], feed: dict[str, Any]) -> list[Any]:
            return [numpy.ones((1, 2), numpy.float32)]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    engine = OnnxEngine()
    phases = engine.load(asked(folder, placement={"device": "cuda", "tf32": True}))
    assert engine._session._providers[0][1] == {"use_tf32": "1"}
    assert engine.facts["tf32"] is True
    assert engine.facts["provider"] == "CUDAExecutionProvider"
    assert phases.memory["session"]["gpu"] == engine.device_memory()
    assert engine.device_memory()["allocated_mb"] is None
