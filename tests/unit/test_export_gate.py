"""Lint finds what exporters leave behind, and the parity gate opens and shuts where it says."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgedistil.export.graph import write_graph
from edgedistil.export.lint import bytes_by_part, lint
from edgedistil.export.parity import parity, verdict
from edgedistil.export.precision import Blocks4Bit, DynamicInt8, Float32, Precision
from edgedistil.export.reading import read_model
from edgedistil.models.reference import write_reference
from edgedistil.models.shrunken import load_classifier

BIG = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
OTHER = BIG + 1


def graph(initialisers: dict[str, Any], nodes: list[onnx.NodeProto] | None = None) -> onnx.ModelProto:
    """A chain of MatMul over every initialiser, or the given nodes."""
    names = list(initialisers)
    chain = [helper.make_node("MatMul", [f"x{i}", name], [f"x{i + 1}"]) for i, name in enumerate(names)]
    body = helper.make_graph(
        chain if nodes is None else nodes,
        "g",
        [helper.make_tensor_value_info("x0", TensorProto.FLOAT, [1, 64])],
        [helper.make_tensor_value_info(f"x{len(names)}", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in initialisers.items()],
    )
    return helper.make_model(body)


def dropout(mode: list[bool] | None) -> onnx.ModelProto:
    inputs = ["x0", "share"] + (["mode"] if mode is not None else [])
    tensors: dict[str, Any] = {"share": np.float32(0.1)} | ({"mode": np.array(mode[0])} if mode else {})
    return graph(tensors, [helper.make_node("Dropout", inputs, ["y"], name="drop")])


def test_clean_float_file_has_no_fault() -> None:
    assert lint(graph({"a": BIG, "b": OTHER}), quantised=False) == []


def test_matrix_stored_twice_is_found() -> None:
    assert lint(graph({"a": BIG, "b": OTHER, "c": BIG.copy()}), quantised=False) == ["c is stored twice (as a too)"]


def test_small_tensors_may_repeat() -> None:
    assert lint(graph({"a": BIG[:, :63], "b": BIG[:, :63].copy()}), quantised=False) == []


def test_float_matrix_left_over_in_a_quantised_graph_is_found() -> None:
    model = graph({"a": BIG, "b": BIG.astype(np.int8), "a.scale": OTHER, "flat": (BIG + 2).reshape(-1)})
    assert lint(model, quantised=False) == []
    assert lint(model, quantised=True) == ["a is left in float (0.02 MB) in a quantised graph"]


def test_half_precision_counts_as_float() -> None:
    wide = np.concatenate([BIG, OTHER]).astype(np.float16)
    assert lint(graph({"a": wide}), quantised=True) == ["a is left in float (0.02 MB) in a quantised graph"]


@pytest.mark.parametrize(("mode", "live"), [(None, False), ([False], False), ([True], True), ([], True)])
def test_dropout_in_training_mode_is_found(mode: list[bool] | None, live: bool) -> None:
    # No third input: off. An input that is no constant may be on.
    assert lint(dropout(mode), quantised=False) == (["drop is dropout in training mode"] if live else [])


def test_initialiser_that_nothing_reads_is_found_at_any_size() -> None:
    model = graph({"a": BIG})
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float32), "left"))
    assert lint(model, quantised=False) == ["left is stored and never read"]


@pytest.mark.parametrize(
    ("precision", "quantised"), [(Float32(), False), (DynamicInt8(True, "s8"), True), (Blocks4Bit(True, 32, 4), True)]
)
@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_our_own_files_are_clean(
    kind: str, precision: Precision, quantised: bool, tiny_model: Callable[..., Any], tiny_folder: Callable[..., Path]
) -> None:
    # Wide enough that every matrix is above the size that lint looks at.
    shape = {"distilbert": {"dim": 128, "hidden_dim": 256}, "bert": {"hidden_size": 128, "intermediate_size": 256}}[
        kind
    ]
    weights = read_model(tiny_folder(tiny_model(kind, **shape)))
    assert lint(write_graph(weights, precision, token_types=True), quantised) == []


@pytest.mark.parametrize("precision", [DynamicInt8(False, "s8"), Blocks4Bit(False, 32, 4)])
def test_embeddings_left_in_float_on_purpose_are_no_fault(
    precision: Precision, tiny_model: Callable[..., Any], tiny_folder: Callable[..., Path]
) -> None:
    weights = read_model(tiny_folder(tiny_model("distilbert", dim=128, hidden_dim=256)))
    assert lint(write_graph(weights, precision, token_types=False), quantised=True, float_tables=True) == []


def test_classifier_of_many_classes_left_in_float_on_purpose_is_no_fault(
    tiny_model: Callable[..., Any], tiny_folder: Callable[..., Path]
) -> None:
    names = {i: f"class {i}" for i in range(40)}
    model = tiny_model("distilbert", dim=128, hidden_dim=256, id2label=names, label2id={v: k for k, v in names.items()})
    weights = read_model(tiny_folder(model))
    assert weights.head.classifier.weight.nbytes == 128 * 40 * 4
    assert lint(write_graph(weights, DynamicInt8(True, "s8"), token_types=False), quantised=True) == []


def test_bytes_by_part_add_up(tiny_folder: Callable[..., Path]) -> None:
    weights = read_model(tiny_folder("distilbert"))
    parts = bytes_by_part(write_graph(weights, Float32(), token_types=False))
    assert parts["embeddings"] == 4 * (weights.encoder.words.size + weights.encoder.positions.size + 64)
    assert parts["head"] == 4 * (32 * 32 + 32 + 2 * 32 + 2)
    # The last layer's key bias moves no share of its softmax and is left out.
    assert parts["encoder"] == 4 * (2 * (4 * (32 * 32 + 32) + 32 * 64 + 64 + 64 * 32 + 32 + 4 * 32) - 32)
    assert 0 < parts["other"] < 800


@pytest.fixture
def referenced(tiny_model: Callable[..., Any], tiny_folder: Callable[..., Path], sentence_ids: list[list[int]]) -> Path:
    folder = tiny_folder(tiny_model("bert", initializer_range=0.2))
    types = [[0] * (len(row) - 2) + [1, 1] for row in sentence_ids]
    write_reference(load_classifier(folder), folder, sentence_ids, types, seed=0)
    return folder


def figures(folder: Path, precision: Precision) -> dict[str, Any]:
    onnx.save(write_graph(read_model(folder), precision, token_types=True), folder / "model.onnx")
    return parity(folder / "model.onnx", folder)


def test_parity_of_a_faithful_file(referenced: Path) -> None:
    found = figures(referenced, Float32())
    assert found["n"] == 12
    assert found["agreement"] == 1.0
    assert found["max_abs_difference"] < 1e-5
    assert found["rms_ratio"] < 1e-5
    assert verdict(found, {"method": "none"}) is None


def test_parity_of_a_file_of_other_weights(
    referenced: Path, tiny_model: Callable[..., Any], tiny_folder: Callable[..., Path]
) -> None:
    other = tiny_folder(tiny_model("bert", seed=7), "other")
    onnx.save(write_graph(read_model(other), Float32(), token_types=True), referenced / "model.onnx")
    found = parity(referenced / "model.onnx", referenced)
    assert found["max_abs_difference"] > 0.1
    assert str(verdict(found, {"method": "none"})).startswith("FP32 logits differ from PyTorch's by ")


def test_parity_figures_by_hand(referenced: Path) -> None:
    from safetensors.numpy import load_file, save_file

    data = load_file(referenced / "reference.safetensors")
    shift = np.array([0.5, -0.5], np.float32)
    save_file({**data, "logits": data["logits"] - shift}, referenced / "reference.safetensors")
    found = figures(referenced, Float32())
    moved = data["logits"] - shift
    spread = float(np.sqrt(np.mean((moved - moved.mean(1, keepdims=True)) ** 2)))
    assert found["max_abs_difference"] == pytest.approx(0.5, abs=1e-4)
    assert found["rms_ratio"] == pytest.approx(0.5 / spread, rel=1e-4)
    assert found["agreement"] == float(np.mean(moved.argmax(1) == data["logits"].argmax(1)))


def test_float_gate_shuts_just_above_its_bound() -> None:
    for difference, opens in ((0.0, True), (1e-4, True), (1.01e-4, False)):
        found = {"max_abs_difference": difference, "rms_ratio": 9.0, "agreement": 0.0, "n": 5}
        assert (verdict(found, {"method": "none"}) is None) == opens


def test_quantised_gate_needs_both_bounds() -> None:
    bounds = {"method": "int8_dynamic", "max_rms": 0.2, "min_agreement": 0.95}
    for rms, agreement in itertools.product((0.1, 0.2, 0.21), (0.94, 0.95, 1.0)):
        why = verdict({"max_abs_difference": 9.0, "rms_ratio": rms, "agreement": agreement, "n": 128}, bounds)
        assert (why is None) == (rms <= 0.2 and agreement >= 0.95)
        if why:
            assert f"by {rms:.3f} of their spread (allowed 0.2)" in why
            assert f"keeps {agreement:.3f} of 128 answers (needed 0.95)" in why


def test_broken_file_does_not_pass_the_gate(referenced: Path) -> None:
    found = figures(referenced, Float32()) | {"max_abs_difference": float("nan"), "rms_ratio": float("nan")}
    assert verdict(found, {"method": "none"}) is not None
    assert verdict(found, {"method": "int8_dynamic", "max_rms": 0.2, "min_agreement": 0.9}) is not None
