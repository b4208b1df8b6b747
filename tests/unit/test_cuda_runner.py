"""A placed model on the processor answers as PyTorch's eager mode does, through the worker's own loop too."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import edgedistil
from edgedistil.workers.client import Worker
from edgedistil.workers.cuda_placement import Placement
from edgedistil.workers.cuda_runner import Runner
from edgedistil.workers.torch import TorchEngine


def loaded(folder: Path, **more: Any) -> TorchEngine:
    engine = TorchEngine()
    engine.load({"folder": str(folder), "threads": 1, "max_length": 64, "text": ["the film"], **more})
    return engine


TEXTS = [["the film is good", "bad"], ["a dull plot", "it was long and never funny"], ["superb"]]


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_an_unpadded_worker_answers_as_the_padded_one(
    kind: str, quantization: str, tiny_model: Callable[..., Any], tiny_folder: Callable[..., Path]
) -> None:
    width = {"bert": {"hidden_size": 64}, "distilbert": {"dim": 64}}[kind]
    folder = tiny_folder(tiny_model(kind, **width))
    plain = loaded(folder, quantization=quantization)
    placed = loaded(folder, quantization=quantization, placement={"device": "cpu", "unpadded": True})
    np.testing.assert_allclose(placed.predict(TEXTS), plain.predict(TEXTS), atol=1e-5)
    assert not hasattr(plain, "facts")
    assert placed.facts["attention"] == "repadded"
    assert (placed.facts["dtype"], placed.facts["quantization"]) == ("float32", quantization)


@pytest.mark.parametrize("unpadded", [False, True])
@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_spans_of_a_placed_worker(kind: str, unpadded: bool, span_model: Callable[..., Any],
                                  tiny_folder: Callable[..., Path], sentence_ids: list[list[int]]) -> None:
    model = span_model(kind)
    plain = loaded(tiny_folder(model))
    runner = Runner(model, Placement(unpadded=unpadded), None, 64)
    for row in sentence_ids[:4]:
        types = [0, 0, *[1] * (len(row) - 2)]
        packed = runner.pack([row], [types])
        np.testing.assert_allclose(runner.sides(packed, runner.run(packed)), plain.spans(row, types), atol=1e-5)
    packed = runner.pack(sentence_ids[:4])
    output = runner.run(packed)
    for i, row in enumerate(sentence_ids[:4]):
        found = [side[packed.spans[i]].tolist() for side in output]
        np.testing.assert_allclose(found, plain.spans(row, [0] * len(row)), atol=1e-5)


@pytest.mark.parametrize(("quantization", "dtype"), [("fp16", torch.float16), ("bf16", torch.bfloat16)])
def test_16_bits_are_weights_and_activations(
    quantization: str, dtype: torch.dtype, tiny_model: Callable[..., Any], tiny_folder: Callable[..., Path]
) -> None:
    folder = tiny_folder(tiny_model("bert", initializer_range=0.1))
    full, half = loaded(folder), loaded(folder, quantization=quantization)
    assert {p.dtype for p in half._model.parameters()} == {dtype}
    assert half.run(half.pack([[2, 7, 3]])).dtype == dtype
    expected, found = np.array(full.predict(TEXTS)), np.array(half.predict(TEXTS))
    assert 0 < np.abs(found - expected).max() < 0.02


def test_compiled_code_is_asked_for_by_shape_and_never_given_up_silently(
    tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(torch, "compile", lambda f, **k: (asked.append(k), f)[1])
    monkeypatch.setattr(torch._dynamo.config, "fail_on_recompile_limit_hit", False)
    model = tiny_model("bert")
    for unpadded in (False, True):
        Runner(model, Placement(compile=True, unpadded=unpadded), None, 64)
    assert asked == [{"dynamic": None}] * 2
    assert torch._dynamo.config.fail_on_recompile_limit_hit
    Runner(model, Placement(compile=True, graphs=True), None, 64)
    assert asked[2:] == [{"dynamic": False}]
    Runner(model, Placement(graphs=True), None, 64)
    assert len(asked) == 3


@pytest.mark.long
@pytest.mark.parametrize("unpadded", [False, True])
def test_compiled_code_answers_as_eager_mode(
    unpadded: bool, tiny_model: Callable[..., Any], sentence_ids: list[list[int]]
) -> None:
    model = tiny_model("bert")
    plain = Runner(model, Placement(), None, 64)
    placed = Runner(model, Placement(compile=True, unpadded=unpadded), None, 64)
    for rows in (sentence_ids[:1], sentence_ids[1:2], sentence_ids[:5], sentence_ids[2:9]):
        torch.testing.assert_close(placed.run(placed.pack(rows)), plain.run(plain.pack(rows)), atol=1e-5, rtol=1e-5)
    torch._dynamo.reset()


def test_a_batch_travels_in_one_piece(tiny_model: Callable[..., Any]) -> None:
    runner = Runner(tiny_model("bert"), Placement(), None, 64)
    packed = runner.pack([[2, 7, 3], [2, 3]], [[0, 1, 1], [0, 0]])
    assert packed.buffer.tolist() == [2, 7, 3, 2, 3, 0, 0, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1, 0]
    assert packed.shapes == {"ids": (2, 3), "types": (2, 3), "mask": (2, 3)}
    assert (packed.spans, packed.tokens, str(packed)) == ([slice(0, 3), slice(3, 5)], 5, "a batch of 2 x 3")
    # Equal lengths need no mask, so a kernel without one can run.
    assert list(runner.pack([[2, 7, 3], [2, 8, 3]]).shapes) == ["ids", "types"]


def test_the_worker_program_tells_what_it_is(tiny_folder: Callable[..., Path]) -> None:
    with Worker("torch", 1) as worker:
        found = worker.load(tiny_folder("distilbert"), 64, ("the film",), quantization="bf16",
                            placement={"device": "cpu", "unpadded": True})
        worker.ask("prepare", name="b", batches=[[[2, 7, 3], [2, 3]]])
        times = worker.ask("time", name="b", start=0, count=2)
    assert found["facts"] == {
        "device": "cpu", "torch": torch.__version__, "dtype": "bfloat16",
        "tf32": False, "compile": False, "graphs": False, "graph_buckets": [], "unpadded": True,
        "attention": "repadded", "quantization": "bf16"}
    assert list(found["cold_start_ms"]) == [
        "started", "imported", "tokenizer", "read", "session", "first_logits", "total"]
    assert "gpu" not in found["memory"]
    # The processor has no clock but the wall's.
    assert set(times) == {"wall_ms", "cpu_ms", "involuntary_switches"}


def test_attention_that_is_written_out_gets_a_mask_that_it_can_add(
    tiny_model: Callable[..., Any], sentence_ids: list[list[int]]
) -> None:
    model = tiny_model("bert")
    found = {}
    for how in ("sdpa", "eager"):
        model.set_attn_implementation(how)
        runner = Runner(model, Placement(), None, 64)
        found[how] = runner.run(runner.pack(sentence_ids))
    torch.testing.assert_close(found["eager"], found["sdpa"], atol=1e-5, rtol=1e-5)
    assert runner.facts()["attention"] == "eager"


def test_attention_of_padded_batches_is_named(tiny_model: Callable[..., Any]) -> None:
    kernels = Runner(tiny_model("distilbert"), Placement(), None, 64).facts()["attention"]
    assert set(kernels) == {"without_padding", "with_padding"}
    assert set(kernels.values()) <= {"math", "flash_attention", "efficient_attention", "cudnn_attention"}


ENGINE = """
import time
from edgedistil.workers.loop import serve
from edgedistil.workers.phases import Phases

class Engine:
    facts = {"device": "a fake"}

    def load(self, request):
        from pathlib import Path
        self.mb = [5.0, 40.0, 7.0, 6.0, 3.0]
        phases = Phases(Path(request["folder"]))
        phases.end("imported")
        phases.device_memory = self.device_memory
        phases.end("context")
        with phases.aside():
            time.sleep(0.3)
        phases.end("session")
        phases.end("first_logits")
        return phases

    def pack(self, rows):
        return rows

    def run(self, rows):
        time.sleep(0.002)

    def device_ms(self):
        return 1.5

    def device_memory(self):
        return {"allocated_peak_mb": self.mb.pop(0), "allocated_mb": 2.0, "process_mb": None}

serve(Engine(), time.monotonic_ns())
"""


def test_a_devices_memory_and_time_stand_beside_the_processors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "device_engine.py").write_text(ENGINE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(Path(edgedistil.__file__).parents[1])]))
    with Worker("device_engine", 1) as worker:
        found = worker.load(tmp_path, 64, ("a",))
        worker.ask("prepare", name="b", batches=[[[1]]])
        times = worker.ask("time", name="b", start=0, count=3)
        now = worker.ask("memory")["memory"]
    assert "gpu" not in found["memory_by_phase"]["imported"]
    peaks = [found["memory_by_phase"][p]["gpu"]["allocated_peak_mb"] for p in ("context", "session", "first_logits")]
    assert peaks == [5.0, 40.0, 7.0]
    assert found["memory"]["gpu"] == {"allocated_peak_mb": 40.0, "allocated_mb": 2.0, "process_mb": None}
    assert now["gpu"] == {"allocated_peak_mb": 3.0, "allocated_mb": 2.0, "process_mb": None}
    assert now["peak_rss_mb"] > 1
    assert found["facts"] == {"device": "a fake"}
    assert times["device_ms"] == [1.5] * 3
    assert min(times["wall_ms"]) >= 2.0
    # A look aside is no part of a start.
    assert found["cold_start_ms"]["session"] < 100


def test_what_a_plain_worker_imports_before_it_is_asked_is_light() -> None:
    program = ("import sys, json; before = set(sys.modules); import edgedistil.workers.torch; "
               "print(json.dumps(sorted({m.split('.')[0] for m in set(sys.modules) - before} "
               "- set(sys.stdlib_module_names))))")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == ["edgedistil"]
