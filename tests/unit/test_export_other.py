"""Architectures whose weights we can't read take PyTorch's exporter, through the same gate."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from edgedistil.compression.sublayers import sublayers
from edgedistil.devices.host import saturates_int8
from edgedistil.errors import UserError
from edgedistil.models.folder import save_model
from edgedistil.models.reference import write_reference
from edgedistil.models.shrunken import load_classifier
from edgedistil.stages.export import export

NATIVE = "s8_7bit" if saturates_int8() else "s8"
INT8 = {"method": "int8_dynamic", "embeddings": True, "weights": NATIVE, "max_rms": 0.3, "min_agreement": 0.9}


@pytest.fixture
def electra(tmp_path: Path, tokenizer_file: Path, sentence_ids: list[list[int]]) -> Path:
    from transformers import ElectraConfig, ElectraForSequenceClassification

    torch.manual_seed(0)
    config = ElectraConfig(vocab_size=120, embedding_size=32, hidden_size=32, num_hidden_layers=2,
                           num_attention_heads=4, intermediate_size=64, max_position_embeddings=64,
                           initializer_range=0.2)
    model = ElectraForSequenceClassification(config).eval()
    save_model(model, tmp_path / "electra", {"title": "electra", "lines": []})
    shutil.copyfile(tokenizer_file, tmp_path / "electra" / "tokenizer.json")
    write_reference(model, tmp_path / "electra", sentence_ids, [[0] * len(row) for row in sentence_ids], seed=0)
    return tmp_path / "electra"


def request(source: Path, output: Path, quantization: dict[str, Any], padding: bool = True) -> dict[str, Any]:
    output.mkdir()
    return {"options": {"quantization": quantization, "graph": {"padding": padding}}, "inputs": {"model": str(source)},
            "output": str(output), "label": "other"}


def answer(folder: Path, ids: list[int]) -> Any:
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    row = np.array([ids])
    return session.run(["logits"], {"input_ids": row, "attention_mask": np.ones_like(row)})[0]


def test_float_and_int8_of_another_architecture(electra: Path, tmp_path: Path, sentence_ids: list[list[int]]) -> None:
    facts = export(request(electra, tmp_path / "fp32", {"method": "none"}))
    assert facts["parity"]["max_abs_difference"] < 1e-4
    assert facts["exporter"] == "model_type='electra' can't be exported; supported: bert, distilbert"
    assert facts["parameters"] == sum(p.numel() for p in load_classifier(electra).parameters())
    quantised = export(request(electra, tmp_path / "int8", INT8))
    assert quantised["parity"]["agreement"] >= 0.9
    sizes = [(tmp_path / name / "model.onnx.data").stat().st_size for name in ("fp32", "int8")]
    assert sizes[1] < 0.6 * sizes[0]
    with torch.inference_mode():
        expected = load_classifier(electra)(input_ids=torch.tensor([sentence_ids[0]])).logits.numpy()
    np.testing.assert_allclose(answer(tmp_path / "fp32", sentence_ids[0]), expected, atol=1e-4)
    assert np.abs(answer(tmp_path / "int8", sentence_ids[0]) - expected).max() > 0


@pytest.mark.parametrize(("quantization", "padding"), [({"method": "int4_ort", "embeddings": True}, True),
                                                       ({"method": "none"}, False)])
def test_what_only_a_written_graph_can_have_is_refused(electra: Path, tmp_path: Path, quantization: dict[str, Any],
                                                       padding: bool) -> None:
    with pytest.raises(UserError, match=r"model_type='electra'.*none and int8_dynamic, with padding"):
        export(request(electra, tmp_path / "out", quantization, padding))


def test_another_architecture_can_not_be_cut(electra: Path) -> None:
    with pytest.raises(UserError, match="model_type='electra' can't be cut; supported: bert, distilbert"):
        sublayers(load_classifier(electra))


def test_weights_are_readable_by_all_who_may_read_the_graph(tiny_folder: Callable[..., Path], tmp_path: Path,
                                                            sentence_ids: list[list[int]]) -> None:
    folder = tiny_folder("distilbert")
    write_reference(load_classifier(folder), folder, sentence_ids, [[0] * len(row) for row in sentence_ids], seed=0)
    export(request(folder, tmp_path / "out", {"method": "none"}))
    modes = [(tmp_path / "out" / name).stat().st_mode for name in ("model.onnx", "model.onnx.data")]
    assert modes[0] == modes[1]
