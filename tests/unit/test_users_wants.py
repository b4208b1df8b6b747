"""What users of compressed encoders asked for and did not get (docs/compression_wants.md: which test holds which)."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from edgedistil.compression.structured import Kept, cut
from edgedistil.devices.host import saturates_int8
from edgedistil.export.files import save
from edgedistil.export.graph import write_graph
from edgedistil.export.lint import lint
from edgedistil.export.parity import parity
from edgedistil.export.precision import Blocks4Bit, DynamicInt8, Float32, Precision
from edgedistil.export.reading import read_model
from edgedistil.export.spread import padding_spread
from edgedistil.models.folder import count_parameters
from edgedistil.models.reference import predict, write_reference
from edgedistil.models.shrunken import load_classifier, structure_of

KINDS = pytest.mark.parametrize("kind", ["distilbert", "bert"])
NATIVE = "s8_7bit" if saturates_int8() else "s8"
CALM = {"initializer_range": 0.2}
# One head of width 8: query, key and value with biases, and its part of the output; a neuron: in, bias, out.
HEAD, NEURON = 3 * (32 * 8 + 8) + 8 * 32, 32 + 1 + 32


def weight_bytes(folder: Path) -> int:
    """Bytes of ``model.safetensors`` behind its header, whose length stands in the first eight."""
    data = (folder / "model.safetensors").read_bytes()
    return len(data) - 8 - int.from_bytes(data[:8], "little")


def referenced(folder: Path, ids: list[list[int]]) -> Path:
    write_reference(load_classifier(folder), folder, ids, [[0] * len(row) for row in ids], seed=0)
    return folder


def exported(folder: Path, precision: Precision) -> onnx.ModelProto:
    model = write_graph(read_model(folder), precision)
    # Saving takes the weights out of the graph that it is given.
    save(write_graph(read_model(folder), precision), folder / "model.onnx")
    return model


@KINDS
def test_the_file_shrinks_by_exactly_what_was_cut(
    kind: str, tiny_model: Callable[..., Any], tiny_folder: Callable[..., Path]
) -> None:
    dense = tiny_folder(tiny_model(kind), "dense")
    model = tiny_model(kind)
    cut(model, [Kept([2], list(range(24))), Kept([0, 1, 3], list(range(40)))])
    small = tiny_folder(model, "small")
    gone = (3 + 1) * HEAD + (40 + 24) * NEURON
    assert weight_bytes(dense) - weight_bytes(small) == 4 * gone
    assert weight_bytes(small) == 4 * count_parameters(model)
    # and so does the graph, but for some constants of shapes
    stored = [sum(len(t.raw_data) for t in exported(f, Float32()).graph.initializer) for f in (dense, small)]
    assert stored[0] - stored[1] == pytest.approx(4 * gone, abs=512)
    files = [(f / "model.onnx.data").stat().st_size for f in (dense, small)]
    assert files[0] - files[1] == pytest.approx(4 * gone, abs=4096)


@KINDS
def test_a_whole_layer_can_go(kind: str, tiny_model: Callable[..., Any], tiny_folder: Callable[..., Path],
                              sentence_ids: list[list[int]]) -> None:
    from transformers import AutoModelForSequenceClassification

    from edgedistil.models.depth import keep_layers

    model = tiny_model(kind)
    before = count_parameters(model)
    folder = tiny_folder(keep_layers(model, [1]).eval(), "one")
    again = load_classifier(folder)
    assert structure_of(again)["layers"] == [{"heads": 4, "ffn": 64}]
    # heads, neurons, the biases of two outputs, two norms
    assert before - count_parameters(again) == 4 * HEAD + 64 * NEURON + 2 * 32 + 2 * 2 * 32
    np.testing.assert_array_equal(predict(again, sentence_ids), predict(model, sentence_ids))
    auto = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    np.testing.assert_allclose(predict(auto, sentence_ids), predict(model, sentence_ids), atol=1e-5)
    referenced(folder, sentence_ids)
    exported(folder, Float32())
    assert parity(folder / "model.onnx", folder)["max_abs_difference"] <= 1e-4


@KINDS
def test_neighbours_and_padding_move_fp32_by_rounding_and_int8_by_a_measured_spread(
    kind: str, tiny_model: Callable[..., Any], tiny_folder: Callable[..., Path], sentence_ids: list[list[int]],
    uneven_cut: Callable[[Any], Any],
) -> None:
    folder = referenced(tiny_folder(uneven_cut(tiny_model(kind, **CALM))), sentence_ids)
    exported(folder, Float32())
    exact = padding_spread(folder / "model.onnx", folder, batch_size=4)
    assert exact["max_abs_difference"] <= 1e-5
    assert exact["agreement"] == 1.0
    assert (exact["n"], exact["batch_size"]) == (12, 4)
    batches = [sentence_ids[i : i + 4] for i in (0, 4, 8)]
    padded = sum(4 * max(map(len, rows)) for rows in batches)
    assert exact["padding_share"] == pytest.approx(1 - sum(map(len, sentence_ids)) / padded, abs=1e-4)

    exported(folder, DynamicInt8(True, NATIVE))
    moved = padding_spread(folder / "model.onnx", folder, batch_size=4)
    error = parity(folder / "model.onnx", folder)
    # ranges are taken over the whole batch: an effect, of no more than the order of quantisation's own error
    assert 1e-4 < moved["rms_ratio"] < 2 * error["rms_ratio"] + 0.02
    # by hand, for one batch
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])

    def run(rows: list[list[int]]) -> Any:
        ids = np.zeros((len(rows), max(map(len, rows))), np.int64)
        mask = np.zeros_like(ids)
        for place, row in enumerate(rows):
            ids[place, : len(row)], mask[place, : len(row)] = row, 1
        return session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]

    by_hand = max(float(np.abs(run(rows) - np.concatenate([run([r]) for r in rows])).max()) for rows in batches)
    assert moved["max_abs_difference"] == pytest.approx(by_hand, rel=1e-6)


def test_alone_there_is_no_spread(tiny_folder: Callable[..., Path], sentence_ids: list[list[int]]) -> None:
    folder = referenced(tiny_folder("bert"), sentence_ids)
    exported(folder, DynamicInt8(True, NATIVE))
    found = padding_spread(folder / "model.onnx", folder, batch_size=1)
    assert (found["max_abs_difference"], found["rms_ratio"], found["padding_share"]) == (0, 0, 0)


@KINDS
def test_a_tied_table_is_stored_once_and_a_copy_is_found(kind: str, tmp_path: Path) -> None:
    import transformers

    name = {"distilbert": "DistilBert", "bert": "Bert"}[kind]
    shape = {"dim": 64, "n_layers": 1, "n_heads": 4, "hidden_dim": 64} if kind == "distilbert" else \
        {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}
    config = getattr(transformers, name + "Config")(vocab_size=90, max_position_embeddings=64, **shape)
    model = getattr(transformers, name + "ForMaskedLM")(config).eval()
    model.save_pretrained(tmp_path)
    table = 4 * 90 * 64
    assert table > 16_384, "smaller tensors may repeat"
    for precision, quantised, size in ((Float32(), False, table), (DynamicInt8(True, NATIVE), True, table // 4)):
        written = exported(tmp_path, precision)
        assert lint(written, quantised) == []
        assert sum(len(t.raw_data) == size for t in written.graph.initializer) == 1
    # what exporters write: the table once more, turned, under the decoder's name
    written = exported(tmp_path, Float32())
    stored = next(t for t in written.graph.initializer if len(t.raw_data) == table)
    copy = onnx.TensorProto()
    copy.CopyFrom(stored)
    copy.name = "decoder"
    written.graph.initializer.append(copy)
    written.graph.node[0].input.append("decoder")
    assert f"decoder is stored twice (as {stored.name} too)" in lint(written, False)


@pytest.mark.parametrize("method", ["nf4", "llm_int8"])
@pytest.mark.parametrize("head", ["classifier", "spans"])
def test_heads_stay_in_full_precision_when_bitsandbytes_quantises(
    method: str, head: str, tiny_model: Callable[..., Any], span_model: Callable[..., Any]
) -> None:
    bnb = pytest.importorskip("bitsandbytes")
    from edgedistil.models.bitsandbytes import quantise_linears

    heads = {"bert": ("bert.pooler.dense", "classifier"), "distilbert": ("pre_classifier", "classifier")}
    for kind, names in heads.items():
        model = tiny_model(kind) if head == "classifier" else span_model(kind)
        names = names if head == "classifier" else ("qa_outputs",)
        kept = {n: model.get_submodule(n).weight.detach().clone() for n in names}
        layers = sum(isinstance(m, torch.nn.Linear) for m in model.modules()) - len(names)
        model = quantise_linears(model, method)
        for name, weight in kept.items():
            module = model.get_submodule(name)
            assert type(module) is torch.nn.Linear
            assert module.weight.dtype == torch.float32
            assert torch.equal(module.weight.cpu(), weight)
        kinds = (bnb.nn.Linear4bit, bnb.nn.Linear8bitLt)
        assert sum(isinstance(m, kinds) for m in model.modules()) == layers == 12


@KINDS
@pytest.mark.parametrize("precision", [DynamicInt8(True, NATIVE), Blocks4Bit(True, 32, 0)])
def test_the_last_layer_of_the_head_stays_in_float_in_the_graph(
    kind: str, precision: Precision, tiny_model: Callable[..., Any], tiny_folder: Callable[..., Path]
) -> None:
    model = tiny_model(kind)
    written = exported(tiny_folder(model), precision)
    (weight,) = [t for t in written.graph.initializer if t.name == "logits.weight"]
    assert weight.data_type == onnx.TensorProto.FLOAT
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(weight), model.classifier.weight.detach().numpy().T)


def test_four_bits_are_called_a_feature_for_size(repository: Path) -> None:
    from edgedistil.reporting.table import notes

    row = {"status": "done", "n": 10, "sample": False, "threads": 1, "isa": "avx2", "quantization": "int4_ort"}
    assert any("4-bit is a feature for size" in line for line in notes([row]))
    assert not any("4-bit" in line for line in notes([row | {"quantization": "int8_dynamic"}]))
    assert "a feature for size" in (repository / "conf/compression/quantization/int4_ort.yaml").read_text()


def test_the_instruction_set_is_told_and_decides_the_form_of_int8(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgedistil.devices import host

    assert isinstance(host.cpu_facts()["isa"], list)
    for isa, saturates in ((["avx2"], True), (["avx2", "avx512_vnni"], False), (["avx2", "avx_vnni"], False)):
        monkeypatch.setattr(host, "cpu_facts", lambda isa=isa: {"machine": "x86_64", "isa": isa})
        assert host.saturates_int8() is saturates
    monkeypatch.setattr(host, "cpu_facts", lambda: {"machine": "aarch64", "isa": []})
    assert host.saturates_int8() is False


@pytest.mark.parametrize("precision", [Float32(), DynamicInt8(True, NATIVE)])
def test_three_classes_go_the_whole_way(
    precision: Precision, tiny_model: Callable[..., Any], tiny_folder: Callable[..., Path],
    sentence_ids: list[list[int]], uneven_cut: Callable[[Any], Any],
) -> None:
    names = {0: "contradiction", 1: "neutral", 2: "entailment"}
    model = uneven_cut(tiny_model("bert", id2label=names, label2id={v: k for k, v in names.items()}, **CALM))
    folder = referenced(tiny_folder(model), sentence_ids)
    assert json.loads((folder / "config.json").read_text())["id2label"] == {str(k): v for k, v in names.items()}
    again = load_classifier(folder)
    np.testing.assert_array_equal(predict(again, sentence_ids), predict(model, sentence_ids))
    assert predict(again, sentence_ids).shape == (12, 3)
    exported(folder, precision)
    figures = parity(folder / "model.onnx", folder)
    assert figures["rms_ratio"] < (1e-4 if isinstance(precision, Float32) else 0.2)
