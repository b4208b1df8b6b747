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
from edgedistil.compression.vocabulary import trim_embeddings
from edgedistil.config.exported import why_not_exported
from edgedistil.devices.host import saturates_int8
from edgedistil.errors import UserError
from edgedistil.export.reading import read_model
from edgedistil.measurement.flops import graph_flops, module_flops
from edgedistil.models.folder import save_model
from edgedistil.models.reference import write_reference
from edgedistil.models.shrunken import load_classifier
from edgedistil.stages.export import export
from edgedistil.workers.torch import TorchEngine

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


@pytest.fixture
def mobilebert(tmp_path: Path, tokenizer_file: Path, sentence_ids: list[list[int]]) -> Path:
    """Bottlenecks, NoNorm and trigrams of words, as the published one, with weights that tell sentences apart."""
    from transformers import MobileBertConfig, MobileBertForSequenceClassification

    torch.manual_seed(0)
    config = MobileBertConfig(vocab_size=120, embedding_size=16, hidden_size=32, num_hidden_layers=2,
                              num_attention_heads=2, intermediate_size=32, intra_bottleneck_size=16,
                              num_feedforward_networks=2, max_position_embeddings=64, initializer_range=0.2,
                              classifier_activation=False)
    model = MobileBertForSequenceClassification(config).eval()
    save_model(model, tmp_path / "mobilebert", {"title": "mobilebert", "lines": []})
    shutil.copyfile(tokenizer_file, tmp_path / "mobilebert" / "tokenizer.json")
    write_reference(model, tmp_path / "mobilebert", sentence_ids, [[0] * len(row) for row in sentence_ids], seed=0)
    return tmp_path / "mobilebert"


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


def test_mobilebert_has_both_axes_dynamic_and_its_padding_counts_for_nothing(
    mobilebert: Path, tmp_path: Path, sentence_ids: list[list[int]]
) -> None:
    facts = export(request(mobilebert, tmp_path / "fp32", {"method": "none"}))
    assert facts["parity"]["max_abs_difference"] < 1e-4
    assert facts["padding_spread"]["max_abs_difference"] < 1e-4
    model = load_classifier(mobilebert)
    assert facts["parameters"] == sum(p.numel() for p in model.parameters())
    assert facts["gflops_by_tokens"]["64"] == round(module_flops(model, 64) / 1e9, 6) > 0
    rows = sorted(sentence_ids, key=len)[-3:]
    longest = max(map(len, rows))
    feed = {"input_ids": [row + [0] * (longest - len(row)) for row in rows],
            "attention_mask": [[1] * len(row) + [0] * (longest - len(row)) for row in rows]}
    session = onnxruntime.InferenceSession(str(tmp_path / "fp32" / "model.onnx"), providers=["CPUExecutionProvider"])
    found = session.run(["logits"], {name: np.array(values) for name, values in feed.items()})[0]
    with torch.inference_mode():
        expected = model(**{name: torch.tensor(values) for name, values in feed.items()}).logits.numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.ptp(expected[:, 0]) > 1e-2, "the same answer to everything proves nothing"


def test_a_pair_has_token_types_in_pytorch_too(mobilebert: Path, sentence_ids: list[list[int]]) -> None:
    engine = TorchEngine()
    engine.load({"folder": str(mobilebert), "threads": 1, "max_length": 32, "text": ["the film"]})
    ids = sentence_ids[0]
    types = [0, 0] + [1] * (len(ids) - 2)
    with torch.inference_mode():
        inputs = {"input_ids": torch.tensor([ids]), "token_type_ids": torch.tensor([types])}
        expected = load_classifier(mobilebert)(**inputs).logits[0].tolist()
    assert engine.predict_ids(ids, types) == pytest.approx(expected, abs=1e-5)
    assert engine.predict_ids(ids, [0] * len(ids)) != pytest.approx(expected, abs=1e-3)


def test_a_mobilebert_loses_word_pieces_as_others_do(mobilebert: Path, sentence_ids: list[list[int]]) -> None:
    model = load_classifier(mobilebert)
    with torch.inference_mode():
        before = model(input_ids=torch.tensor([sentence_ids[0]])).logits
        kept = sorted({0, *sentence_ids[0]})
        trim_embeddings(model, kept, 32)
        after = model(input_ids=torch.tensor([[kept.index(i) for i in sentence_ids[0]]])).logits
    assert (model.config.vocab_size, model.config.max_position_embeddings) == (len(kept), 32)
    torch.testing.assert_close(after, before)


@pytest.mark.parametrize("tables", [True, False])
def test_int8_of_mobilebert_leaves_the_tables_alone_where_it_is_asked_to(
    mobilebert: Path, tmp_path: Path, tables: bool
) -> None:
    import onnx

    loose = INT8 | {"embeddings": tables, "max_rms": 1.0, "min_agreement": 0.0}
    export(request(mobilebert, tmp_path / "int8", loose))
    model = onnx.load(tmp_path / "int8" / "model.onnx", load_external_data=False)
    types = {tuple(tensor.dims): tensor.data_type for tensor in model.graph.initializer if len(tensor.dims) == 2}
    assert (types[120, 16] == onnx.TensorProto.FLOAT) == (not tables)
    assert sum(node.op_type == "MatMulInteger" for node in model.graph.node) > 20


def test_operations_counted_by_pytorch_are_those_of_our_graphs_with_a_whole_last_layer(
    tiny_folder: Callable[..., Path]
) -> None:
    for kind in ("bert", "distilbert"):
        folder = tiny_folder(kind, kind)
        assert module_flops(load_classifier(folder), 16) == graph_flops(read_model(folder), 16, trimmed=False), kind


DENSE = {"pruning": {"method": "none"}, "recovery": {"method": "none"}, "graph": {"padding": True},
         "quantization": {"method": "none"}}


@pytest.mark.parametrize(("changes", "said"), [
    ({"pruning": {"method": "structured"}}, "compression/pruning=structured needs an architecture"),
    ({"pruning": {"method": "magnitude"}}, "compression/pruning=magnitude needs an architecture"),
    ({"embeddings": {"method": "low_rank"}}, "compression/embeddings=low_rank needs"),
    ({"qat": {"method": "distillation"}}, "compression/qat=distillation needs"),
    ({"quantization": {"method": "int4_ort"}}, "makes compression/quantization=none and int8_dynamic"),
    ({"graph": {"padding": False}}, "with padding"),
    ({"graph": {"padding": True, "head": "vocabulary"}}, "compression.graph.head=vocabulary needs"),
    ({"quantization": INT8 | {"smooth": 0.5}}, "compression.quantization.smooth needs"),
    ({"quantization": INT8 | {"embeddings": "int4"}}, "compression.quantization.embeddings=int4 needs"),
])
def test_what_the_exporter_can_not_do_is_known_before_anything_runs(changes: dict[str, Any], said: str) -> None:
    why = why_not_exported("mobilebert", DENSE | changes, "onnxruntime")
    assert why is not None
    assert why.startswith("model_type='mobilebert' goes through PyTorch's exporter")
    assert said in why


def test_what_the_exporter_and_pytorch_can_do_is_let_through() -> None:
    assert why_not_exported("mobilebert", DENSE, "onnxruntime") is None
    assert why_not_exported("mobilebert", DENSE | {"quantization": INT8}, "onnxruntime") is None
    assert why_not_exported("mobilebert", DENSE | {"vocabulary": {"method": "trimmed"}}, "onnxruntime") is None
    assert why_not_exported("mobilebert", DENSE | {"quantization": {"method": "fp16"}}, "torch") is None
    assert "spans" in str(why_not_exported("mobilebert", DENSE, "onnxruntime", spans=True))


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
