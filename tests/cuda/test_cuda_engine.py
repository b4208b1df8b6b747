"""The PyTorch worker on a real GPU: its answers against the processor's, graphs, unpadded batches, memory, times.

Run with ``pytest --device cuda tests/cuda``.
"""

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgedistil.devices.cuda import gpu_state, gpus
from edgedistil.workers.client import Worker, WorkerError
from edgedistil.workers.cuda_capacity import OutOfMemory, largest_batch
from edgedistil.workers.torch import TorchEngine

pytestmark = pytest.mark.cuda

CUDA = {"device": "cuda"}
KINDS = pytest.mark.parametrize("kind", ["bert", "distilbert"])
# How far logits of a few units may lie from the processor's FP32: rounding to 24, 11, 11 and 8 bits, layer by layer.
TOLERANCES = {"none": 1e-4, "tf32": 0.02, "fp16": 0.02, "bf16": 0.15}
WIDTHS = {"bert": {"hidden_size": 64, "intermediate_size": 128}, "distilbert": {"dim": 64, "hidden_dim": 128}}


@pytest.fixture
def folder(tiny_model: Callable[..., Any], tiny_folder: Callable[..., Path],
           uneven_cut: Callable[[Any], Any]) -> Callable[..., Path]:
    """``folder(kind, cut=False)``: a tiny model with heads of 16 (flash attention wants a multiple of 8)."""

    def make(kind: str, cut: bool = False) -> Path:
        model = tiny_model(kind, initializer_range=0.15, **WIDTHS[kind])
        return tiny_folder(uneven_cut(model) if cut else model, f"{kind}_{cut}")

    return make


def loaded(folder: Path, quantization: str = "none", **placement: Any) -> TorchEngine:
    engine = TorchEngine()
    engine.phases = engine.load({
        "folder": str(folder), "threads": 1, "max_length": 64, "text": ["the film"], "quantization": quantization,
        **({"placement": placement} if placement else {})})
    return engine


def answers(engine: TorchEngine, rows: list[list[int]]) -> np.ndarray:
    return np.array([engine.predict_ids(row, [0] * len(row)) for row in rows])


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    # A runner refers to itself, so an engine of an earlier test may still hold memory.
    gc.collect()
    yield
    torch.set_float32_matmul_precision("highest")
    torch.cuda.empty_cache()


@KINDS
@pytest.mark.parametrize("precision", TOLERANCES)
@pytest.mark.parametrize("cut", [False, True])
def test_answers_are_the_processors(kind: str, precision: str, cut: bool, folder: Callable[..., Path],
                                    sentence_ids: list[list[int]]) -> None:
    model = folder(kind, cut)
    expected = answers(loaded(model), sentence_ids)
    quantization = "none" if precision == "tf32" else precision
    placed = loaded(model, quantization, **CUDA, tf32=precision == "tf32")
    assert {p.device.type for p in placed._model.parameters()} == {"cuda"}
    np.testing.assert_allclose(answers(placed, sentence_ids), expected, atol=TOLERANCES[precision])
    batch = placed.run(placed.pack(sentence_ids)).float().numpy()
    np.testing.assert_allclose(batch, expected, atol=TOLERANCES[precision])
    assert np.ptp(expected, axis=0).max() > 2 * TOLERANCES[precision]


@KINDS
@pytest.mark.parametrize("method", ["nf4", "llm_int8"])
def test_quantised_answers_are_near_and_heads_stay_full(kind: str, method: str, folder: Callable[..., Path],
                                                        sentence_ids: list[list[int]]) -> None:
    placed = loaded(folder(kind), method, **CUDA)
    names = {"bert": ("bert.pooler.dense", "classifier"), "distilbert": ("pre_classifier", "classifier")}[kind]
    assert {placed._model.get_submodule(name).weight.dtype for name in names} == {torch.float32}
    assert placed._model.get_input_embeddings().weight.dtype == torch.float16
    packed = {"nf4": torch.uint8, "llm_int8": torch.int8}[method]
    stored = [p for p in placed._model.parameters() if p.dtype == packed]
    assert len(stored) == 12
    if method == "nf4":
        # Against the same codes on the processor; LLM.int8 rounds its activations differently there.
        expected = answers(loaded(folder(kind), method), sentence_ids)
    else:
        expected = answers(loaded(folder(kind)), sentence_ids)
    found = answers(placed, sentence_ids)
    assert np.abs(found - expected).max() < 0.3 * np.ptp(expected, axis=0).max()


@KINDS
@pytest.mark.parametrize("unpadded", [False, True])
@pytest.mark.parametrize(("quantization", "tolerance"), [("fp16", 0.02), ("nf4", 0.02), ("llm_int8", 0.15)])
def test_a_graphs_replay_is_eager_mode(kind: str, unpadded: bool, quantization: str, tolerance: float,
                                       folder: Callable[..., Path], sentence_ids: list[list[int]]) -> None:
    # Other shapes take other kernels; where activations are rounded to 8 bits, the last bit becomes a whole step.
    model = folder(kind)
    eager = loaded(model, quantization, **CUDA)
    graphed = loaded(model, quantization, **CUDA, graphs=True, unpadded=unpadded)
    expected = answers(eager, sentence_ids)
    # In another order, so that what a graph left behind would show.
    for rows, wanted in ((sentence_ids, expected), (sentence_ids[::-1], expected[::-1])):
        np.testing.assert_allclose(answers(graphed, rows), wanted, atol=tolerance)
    batches = [graphed.pack(sentence_ids[:6]), graphed.pack(sentence_ids[6:])]
    for _ in range(2):
        found = np.concatenate([graphed.run(batch).float().numpy() for batch in batches])
        np.testing.assert_allclose(found, expected, atol=tolerance)
    assert graphed.facts["graph_buckets"] == [16, 32, 48, 64]


def test_graphs_in_full_precision_are_exact_to_rounding(folder: Callable[..., Path],
                                                        sentence_ids: list[list[int]]) -> None:
    model = folder("bert")
    for unpadded in (False, True):
        graphed = loaded(model, **CUDA, graphs=True, unpadded=unpadded)
        np.testing.assert_allclose(answers(graphed, sentence_ids), answers(loaded(model), sentence_ids), atol=1e-4)


@KINDS
@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize(("quantization", "attention", "tolerance"), [
    ("fp16", "varlen", 0.02), ("bf16", "varlen", 0.15), ("none", "repadded", 1e-4)])
def test_unpadded_is_padded(kind: str, cut: bool, quantization: str, attention: str, tolerance: float,
                            folder: Callable[..., Path], sentence_ids: list[list[int]]) -> None:
    model = folder(kind, cut)
    unpadded = loaded(model, quantization, **CUDA, unpadded=True)
    capability = torch.cuda.get_device_capability()
    assert unpadded.facts["attention"] == (attention if capability >= (8, 0) else "repadded")
    padded = loaded(model, quantization, **CUDA)
    expected = padded.run(padded.pack(sentence_ids)).float().numpy()
    found = unpadded.run(unpadded.pack(sentence_ids)).float().numpy()
    np.testing.assert_allclose(found, expected, atol=tolerance)
    np.testing.assert_allclose(answers(unpadded, sentence_ids), expected, atol=tolerance)


@pytest.mark.parametrize("unpadded", [False, True])
@pytest.mark.parametrize("graphs", [False, True])
def test_compiled_is_eager_mode(unpadded: bool, graphs: bool, folder: Callable[..., Path],
                                sentence_ids: list[list[int]]) -> None:
    model = folder("distilbert")
    compiled = loaded(model, "fp16", **CUDA, compile=True, graphs=graphs, unpadded=unpadded)
    np.testing.assert_allclose(answers(compiled, sentence_ids), answers(loaded(model), sentence_ids), atol=0.02)
    torch._dynamo.reset()


def test_spans(tiny_model: Callable[..., Any], tiny_folder: Callable[..., Path],
               sentence_ids: list[list[int]]) -> None:
    from transformers import BertForQuestionAnswering

    classifier = tiny_model("bert", initializer_range=0.15, **WIDTHS["bert"])
    model = BertForQuestionAnswering(classifier.config)
    model.bert.load_state_dict(classifier.bert.state_dict(), strict=False)
    torch.nn.init.normal_(model.qa_outputs.weight, std=0.2)
    saved = tiny_folder(model.eval(), "spans")
    plain = loaded(saved)
    for more in ({}, {"graphs": True}, {"unpadded": True}, {"graphs": True, "unpadded": True}):
        placed = loaded(saved, "fp16", **CUDA, **more)
        for row in sentence_ids[:5]:
            types = [0, 0, *[1] * (len(row) - 2)]
            np.testing.assert_allclose(placed.spans(row, types), plain.spans(row, types), atol=0.02)


def test_the_allocators_peak_moves_by_a_known_tensor_and_is_reset(folder: Callable[..., Path]) -> None:
    engine = loaded(folder("bert"), **CUDA)
    before = engine.device_memory()
    assert before is not None
    block = torch.zeros(200_000_000, dtype=torch.uint8, device="cuda")
    del block
    during, after = engine.device_memory(), engine.device_memory()
    assert during is not None
    assert after is not None
    assert during["allocated_peak_mb"] - before["allocated_mb"] == pytest.approx(200, abs=3)
    assert during["allocated_mb"] == pytest.approx(before["allocated_mb"], abs=0.1)
    assert after["allocated_peak_mb"] == pytest.approx(before["allocated_mb"], abs=0.1)
    assert during["reserved_peak_mb"] >= during["allocated_peak_mb"]


def test_memory_of_a_process_with_its_context_apart(folder: Callable[..., Path]) -> None:
    with Worker("torch", 1) as worker:
        found = worker.load(folder("bert"), 64, ("the film",), "fp16", placement=CUDA)
        now = worker.ask("memory")["memory"]["gpu"]
    assert list(found["memory_by_phase"]) == [
        "torch", "context", "imported", "tokenizer", "read", "session", "first_logits"]
    context = found["memory_by_phase"]["context"]["gpu"]
    assert context["allocated_peak_mb"] == 0
    assert found["memory"]["gpu"]["allocated_peak_mb"] >= now["allocated_mb"] > 0
    assert 50 < now["context_mb"] < 2000
    assert now["context_mb"] == context["context_mb"] == found["facts"]["context_mb"]
    if now["process_mb"] is not None:
        assert found["facts"]["context_by"] == "process"
        assert now["process_mb"] >= now["context_mb"] + now["allocated_mb"] - 1
    assert "gpu" not in found["memory_by_phase"]["torch"]
    # The look at nvidia-smi takes hundreds of milliseconds and is no part of the start.
    assert set(found["cold_start_ms"]) >= {"context", "session", "first_logits"}


def test_nf4_weights_take_a_quarter_of_fp16s(folder: Callable[..., Path], tiny_model: Callable[..., Any],
                                             tiny_folder: Callable[..., Path]) -> None:
    wide = tiny_folder(tiny_model("bert", hidden_size=512, intermediate_size=2048, num_hidden_layers=4), "wide")
    weights = {}
    for quantization in ("none", "fp16", "nf4", "llm_int8"):
        weights[quantization] = loaded(wide, quantization, **CUDA).facts["weights_mb"]
        gc.collect()
    assert weights["fp16"] == pytest.approx(weights["none"] / 2, rel=0.02)
    linears = 4 * (4 * 512 * 512 + 2 * 512 * 2048) / 1e6
    rest = weights["fp16"] - 2 * linears
    # 4 bits, and a scale of about half a bit a weight; the pooler and the classifier are in FP32.
    assert weights["nf4"] == pytest.approx(0.52 * linears + rest + 2 * 512 * 514 / 1e6, rel=0.1)
    assert weights["llm_int8"] == pytest.approx(linears + rest + 2 * 512 * 514 / 1e6, rel=0.1)


@pytest.mark.parametrize("more", [{}, {"graphs": True}, {"unpadded": True}], ids=str)
def test_events_lie_within_wall_time(more: dict[str, bool], folder: Callable[..., Path],
                                     sentence_ids: list[list[int]]) -> None:
    with Worker("torch", 1) as worker:
        worker.load(folder("bert"), 64, ("the film",), "fp16", placement=CUDA | more)
        worker.ask("prepare", name="b", batches=[[row] for row in sentence_ids])
        worker.ask("time", name="b", start=0, count=20)
        times = worker.ask("time", name="b", start=0, count=50)
    assert len(times["device_ms"]) == len(times["wall_ms"]) == 50
    # Events tick in half microseconds.
    assert all(0 < device <= wall + 0.002 for device, wall in zip(times["device_ms"], times["wall_ms"], strict=True))


def test_inputs_are_pinned_and_logits_are_on_the_host(folder: Callable[..., Path],
                                                      sentence_ids: list[list[int]]) -> None:
    engine = loaded(folder("bert"), "fp16", **CUDA)
    packed = engine.pack(sentence_ids)
    assert packed.buffer.is_pinned()
    output = engine.run(packed)
    assert output.device.type == "cpu"
    assert output.shape == (len(sentence_ids), 2)


@pytest.mark.parametrize("more", [{}, {"graphs": True}, {"unpadded": True}], ids=str)
def test_out_of_memory_is_an_answer_and_the_worker_goes_on(more: dict[str, bool], folder: Callable[..., Path],
                                                           sentence_ids: list[list[int]]) -> None:
    engine = loaded(folder("bert"), **CUDA, **more)
    before = answers(engine, sentence_ids)
    torch.cuda.empty_cache()
    held = torch.cuda.memory_allocated()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 40e6) / total)
    try:
        with pytest.raises(OutOfMemory, match=r"MB allocated before it, \d+ of \d+ MB free"):
            engine.run(engine.pack([[2, *[7] * 60, 3]] * 4096))
        assert torch.cuda.memory_allocated() <= held + 4e6
        np.testing.assert_allclose(answers(engine, sentence_ids), before, atol=1e-5)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_the_largest_batch_of_a_worker(folder: Callable[..., Path], tmp_path: Path,
                                       monkeypatch: pytest.MonkeyPatch) -> None:
    # A worker whose allocator may hold little more than the model.
    (tmp_path / "small_gpu.py").write_text(
        "import time; started = time.monotonic_ns()\n"
        "import torch\nfrom edgedistil.workers.loop import serve\nfrom edgedistil.workers.torch import TorchEngine\n"
        "torch.cuda.set_per_process_memory_fraction(100e6 / torch.cuda.get_device_properties(0).total_memory)\n"
        "serve(TorchEngine(), started)\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    with Worker("small_gpu", 1) as worker:
        worker.load(folder("bert"), 64, ("the film",), placement=CUDA)
        found = largest_batch(worker, lambda rows: [[2, *[7] * 60, 3]] * rows, 100_000)
        assert found is not None
        assert 10 < found < 100_000
        worker.ask("prepare", name="over", batches=[[[2, *[7] * 60, 3]] * (found * 4)])
        with pytest.raises(WorkerError, match="could not time: OutOfMemory: a batch of"):
            worker.ask("time", name="over", start=0, count=1)
        worker.ask("prepare", name="over", batches=[[[2, *[7] * 60, 3]] * max(1, found // 2)])
        assert worker.ask("time", name="over", start=0, count=1)["wall_ms"][0] > 0


def test_facts_name_the_device_and_its_driver(folder: Callable[..., Path]) -> None:
    facts = loaded(folder("distilbert"), "bf16", **CUDA).facts
    names = {gpu["uuid"]: gpu["name"] for gpu in gpus()}
    assert names[facts["uuid"]] == facts["device"] == torch.cuda.get_device_name()
    assert facts["driver"]
    assert facts["cuda"] == torch.version.cuda
    assert facts["dtype"] == "bfloat16"
    assert "math" not in facts["attention"].values()
    assert all(state["temperature_c"] is not None for state in gpu_state())


def test_no_visible_gpu_is_an_error(folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with Worker("torch", 1) as worker, pytest.raises(WorkerError, match="UserError: no CUDA device: "):
        worker.load(folder("bert"), 64, ("the film",), placement=CUDA)


@pytest.mark.parametrize("method", ["none", "nf4", "llm_int8"])
def test_the_processor_is_used_when_it_is_asked_for(method: str, folder: Callable[..., Path]) -> None:
    engine = loaded(folder("bert"), method)
    assert {p.device.type for p in engine._model.parameters()} == {"cpu"}
    assert engine.device_memory() is None
    assert engine.device_ms() is None
