"""A graph with a head of the vocabulary in place of the task's: for its size and time alone."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from edgedistil.models.reference import write_reference
from edgedistil.models.shrunken import load_classifier
from edgedistil.stages.export import export

INT8 = {"method": "int8_dynamic", "embeddings": True, "weights": "s8_7bit", "max_rms": 0.5, "min_agreement": 0.5}


@pytest.fixture
def exported(tiny_folder: Callable[..., Path], tmp_path: Path, sentence_ids: list[list[int]]) -> Callable[..., Any]:
    folder = tiny_folder("distilbert")
    write_reference(load_classifier(folder), folder, sentence_ids, [[0] * len(r) for r in sentence_ids], seed=0)

    def make(quantization: dict[str, Any], **graph: Any) -> tuple[Path, dict[str, Any]]:
        output = tmp_path / "output"
        shutil.rmtree(output, ignore_errors=True)
        output.mkdir()
        options = {"quantization": quantization, "graph": {"padding": True, **graph}}
        inputs = {"model": str(folder)}
        return output, export({"options": options, "inputs": inputs, "output": str(output), "label": "x"})

    return make


@pytest.mark.parametrize("quantization", [{"method": "none"}, INT8], ids=["fp32", "int8"])
def test_it_scores_the_vocabulary_and_stores_the_table_once(exported: Any, quantization: dict[str, Any]) -> None:
    plain, plain_facts = exported(quantization)
    bytes_plain = (plain / "model.onnx.data").stat().st_size
    folder, facts = exported(quantization, head="vocabulary")
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    row = np.array([[2, 5, 6, 3]])
    (logits,) = session.run(["logits"], {"input_ids": row, "attention_mask": np.ones_like(row)})
    words = next(t for t in onnx.load(folder / "model.onnx").graph.initializer if t.name == "words.table")
    assert logits.shape == (1, 4, words.dims[0])
    assert np.ptp(logits, axis=-1).min() > 0
    # One table, so the files differ by the small heads alone.
    assert (folder / "model.onnx.data").stat().st_size - bytes_plain < words.dims[0] * words.dims[1]
    assert facts["head"] == "vocabulary, random weights"
    assert "head" not in plain_facts
    assert facts["parity"] == plain_facts["parity"]
    assert facts["gflops_by_tokens"]["32"] > plain_facts["gflops_by_tokens"]["32"]
    assert "padding_spread" not in facts


def test_half_precision_halves_the_file_and_keeps_the_answers(exported: Any, sentence_ids: list[list[int]]) -> None:
    sizes = {}
    for method in ("none", "fp16"):
        bounds = {} if method == "none" else {"max_rms": 0.01, "min_agreement": 0.9}
        folder, facts = exported({"method": method, **bounds})
        sizes[method] = sum(t.ByteSize() for t in onnx.load(folder / "model.onnx").graph.initializer)
        kinds = {t.data_type for t in onnx.load(folder / "model.onnx").graph.initializer if len(t.dims) > 1}
        assert (onnx.TensorProto.FLOAT16 in kinds) == (method == "fp16")
    assert sizes["fp16"] < 0.56 * sizes["none"]
    assert 0 < facts["parity"]["rms_ratio"] < 0.005


def test_a_weight_beyond_half_precision_is_refused() -> None:
    from edgedistil.errors import UserError
    from edgedistil.export.half import Float16
    from edgedistil.export.weights import Linear
    from edgedistil.export.writer import GraphWriter

    layer = Linear(np.full((4, 4), 70000, np.float32), np.zeros(4, np.float32))
    with pytest.raises(UserError, match=r"layer0\.out\.weight holds 70000.*reach to 65504"):
        Float16().linear(GraphWriter(), "x", layer, "layer0.out")
