"""What quantising a node alone costs, and the nodes that are left out of it: by hand, and until a budget holds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgedistil.devices.host import saturates_int8
from edgedistil.errors import UserError
from edgedistil.export.answers import Drift, drift, logits_of
from edgedistil.export.exclusion import Cost, HeldOut, accuracy, node_costs, protect, smallest, table_of
from edgedistil.export.graph import write_graph
from edgedistil.export.lint import lint
from edgedistil.export.named_precision import precision_of
from edgedistil.export.nodes import Node, matching, nodes_of
from edgedistil.export.precision import Blocks4Bit, DynamicInt8, Float32, Mixed, MixedInt8
from edgedistil.export.reading import read_model
from edgedistil.export.sensitivity import choose_static
from edgedistil.export.weights import Linear, ModelWeights
from edgedistil.export.writer import GraphWriter

NATIVE = "s8_7bit" if saturates_int8() else "s8"
SAID = ["table.words", "table.positions", "layer0.qkv", "layer0.out", "layer0.ffn_in", "layer0.ffn_out",
        "layer1.query", "layer1.key", "layer1.value", "layer1.out", "layer1.ffn_in", "layer1.ffn_out", "head.dense"]
INT8 = {"method": "int8_dynamic", "embeddings": True, "weights": NATIVE}


def texts(count: int, seed: int = 0) -> list[list[int]]:
    chance = np.random.default_rng(seed)
    return [chance.integers(5, 90, chance.integers(4, 24)).tolist() for _ in range(count)]


@pytest.fixture
def weights(tiny_model: Callable[..., Any], tiny_folder: Callable[..., Path]) -> ModelWeights:
    return read_model(tiny_folder(tiny_model("distilbert", initializer_range=0.2)))


class Wrong(Float32):
    """FP32 whose named products have the wrong sign: answers that depend on them are lost."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def linear(self, graph: GraphWriter, x: str, layer: Linear, name: str) -> str:
        sign = np.float32(-1 if name in self.names else 1)
        return super().linear(graph, x, Linear(sign * layer.weight, sign * layer.bias), name)


def types_of(model: onnx.ModelProto) -> dict[str, int]:
    return {t.name: t.data_type for t in model.graph.initializer}


def test_nodes_are_what_a_quantised_graph_stores_otherwise(weights: ModelWeights) -> None:
    assert [node.said for node in nodes_of(weights)] == SAID
    stored = types_of(write_graph(weights, DynamicInt8(True, NATIVE)))
    small = {n for n, kind in stored.items() if kind == onnx.TensorProto.INT8 and n.endswith((".weight", ".table"))}
    assert small == {f"{n.name}.{'weight' if n.tensor else 'table'}" for n in nodes_of(weights)}


def test_globs_name_nodes_and_unknown_ones_are_refused(weights: ModelWeights) -> None:
    nodes = nodes_of(weights)
    assert [n.said for n in matching(["head.*", "*.ffn_out", "layer0.out"], nodes)] == [
        "layer0.out", "layer0.ffn_out", "layer1.ffn_out", "head.dense"]
    assert matching([], nodes) == []
    with pytest.raises(UserError) as refused:
        matching(["layer0.*", "layer7.qkv"], nodes)
    assert str(refused.value) == (
        "compression.quantization.exclude holds 'layer7.qkv', which names no product or table of this model; allowed "
        "are globs of: " + ", ".join(SAID))


def test_what_is_left_out_is_stored_in_float_and_lint_knows(tiny_model: Callable[..., Any],
                                                           tiny_folder: Callable[..., Path]) -> None:
    weights = read_model(tiny_folder(tiny_model("distilbert", dim=128, hidden_dim=256)))
    own = {name: Float32() for name in ("dense", "layer0.ffn_in", "words")}
    written = write_graph(weights, precision_of(INT8, own=own))
    stored = types_of(written)
    for name in ("dense.weight", "layer0.ffn_in.weight", "words.table"):
        assert stored[name] == onnx.TensorProto.FLOAT
    assert stored["layer0.ffn_out.weight"] == stored["positions.table"] == onnx.TensorProto.INT8
    assert lint(written, quantised=True, kept=own) == []
    faults = lint(written, quantised=True, kept=["dense", "words"])
    assert faults == ["layer0.ffn_in.weight is left in float (0.13 MB) in a quantised graph"]


def test_a_table_has_a_precision_of_its_own(weights: ModelWeights) -> None:
    four_bit_table = write_graph(weights, precision_of(INT8 | {"embeddings": "int4", "block_size": 32}))
    stored = types_of(four_bit_table)
    assert stored["words.table"] == stored["positions.table"] == onnx.TensorProto.INT4
    assert stored["layer0.qkv.weight"] == onnx.TensorProto.INT8
    four = {"method": "int4_ort", "block_size": 32, "accuracy_level": 0}
    stored = types_of(write_graph(weights, precision_of(four | {"embeddings": "int8"})))
    assert stored["words.table"] == onnx.TensorProto.INT8
    assert stored["layer0.qkv.weight"] == onnx.TensorProto.UINT8
    plain = write_graph(weights, precision_of(four | {"embeddings": True}))
    assert write_graph(weights, precision_of(four | {"embeddings": "int4"})) == plain


def test_a_tied_decoder_goes_with_its_table(tmp_path: Path) -> None:
    import torch
    from transformers import DistilBertConfig, DistilBertForMaskedLM

    torch.manual_seed(0)
    DistilBertForMaskedLM(DistilBertConfig(vocab_size=90, max_position_embeddings=64, dim=32, n_layers=1, n_heads=4,
                                           hidden_dim=64, initializer_range=0.2)).save_pretrained(tmp_path)
    weights = read_model(tmp_path)
    assert [n.said for n in nodes_of(weights)][-1] == "head.transform"
    expected = logits_of(weights, Float32(), texts(3))
    for own in ({"words": Float32()}, {"words": Blocks4Bit(True, 32, 0)}):
        model = write_graph(weights, Mixed(DynamicInt8(True, NATIVE), own))
        onnx.checker.check_model(model)
        found = logits_of(weights, Mixed(DynamicInt8(True, NATIVE), own), texts(3))
        assert 0 < drift(found, expected).rms_ratio < 0.3


def test_an_excluded_product_is_not_made_static(weights: ModelWeights) -> None:
    ranges, facts = choose_static(weights, texts(128), True, NATIVE, 50.0, own={"layer0.ffn_in": Float32()})
    assert sorted(ranges) == ["layer0.ffn_out", "layer0.out", "layer0.qkv"] == facts["static_products"]
    every = {n.name: Float32() for n in nodes_of(weights)}
    assert choose_static(weights, texts(128), True, NATIVE, 50.0, own=every)[0] == {}
    written = write_graph(weights, Mixed(MixedInt8(True, NATIVE, ranges), {"layer0.ffn_in": Float32()}))
    assert types_of(written)["layer0.ffn_in.weight"] == onnx.TensorProto.FLOAT


def test_drift_by_hand() -> None:
    expected = np.log(np.array([[0.5, 0.5], [0.8, 0.2]], np.float32))
    found = np.log(np.array([[0.25, 0.75], [0.8, 0.2]], np.float32))
    result = drift(found, expected)
    assert result.kl == pytest.approx((0.5 * np.log(2) + 0.5 * np.log(0.5 / 0.75)) / 2, abs=1e-6)
    assert result.flips == 1
    rms = np.sqrt((np.log(2) ** 2 + np.log(1.5) ** 2) / 4)
    assert result.rms_ratio == pytest.approx(rms / expected.std(), rel=1e-5)
    assert drift(expected, expected) == Drift(0.0, 0.0, 0)
    # Logits have no origin: a shift of all classes changes no probability.
    assert drift(expected + 3, expected).kl == pytest.approx(0, abs=1e-6)


def test_the_node_that_hurts_comes_first_and_bytes_are_exact(weights: ModelWeights) -> None:
    costs = node_costs(weights, nodes_of(weights), DynamicInt8(True, NATIVE), texts(6))
    by_name = {c.node.said: c for c in costs}
    errors = [c.drift.rms_ratio for c in costs]
    assert sorted(by_name) == sorted(SAID)
    assert errors == sorted(errors, reverse=True)
    assert min(errors) > 0
    # 32 × 64 weights from 4 bytes to 1, a scale and a zero for each of 64 columns
    assert by_name["layer0.ffn_in"].bytes_saved == 3 * 32 * 64 - (4 + 1) * 64
    words = weights.encoder.words
    assert by_name["table.words"].bytes_saved == 3 * words.size - 4 * len(words)
    broken = node_costs(weights, nodes_of(weights), Wrong("layer1.ffn_in"), texts(6))
    assert broken[0].node.said == "layer1.ffn_in"
    assert [c.drift.rms_ratio for c in broken[1:]] == [0.0] * (len(SAID) - 1)


@pytest.mark.parametrize("limit", range(8))
def test_the_smallest_number_that_holds(limit: int) -> None:
    asked: list[int] = []

    def holds(n: int) -> bool:
        asked.append(n)
        return n >= limit

    assert smallest(7, holds) == limit
    assert len(asked) <= 4


def held_out(weights: ModelWeights, count: int = 60, dense: float = 1.0) -> HeldOut:
    """Labels that the FP32 graph gets right all of them, so that every point of the drop is known."""
    some = texts(count, seed=3)
    return HeldOut(some, logits_of(weights, Float32(), some).argmax(-1).tolist(), dense)


def test_only_the_nodes_that_break_the_answers_are_left_out(weights: ModelWeights) -> None:
    nodes = nodes_of(weights)
    broken = Wrong("layer1.ffn_in", "dense")
    judged = held_out(weights)
    worst_first = [c.node for c in node_costs(weights, nodes, broken, judged.texts)]
    found = protect(weights, worst_first, lambda own: Mixed(broken, own), {}, judged, 0.0)
    assert {n.said for n in found.excluded} == {"layer1.ffn_in", "head.dense"}
    assert found.drop == 0.0
    assert found.unprotected > 5
    assert found.moved == []
    assert found.verdict == (
        f"2 of 13 in FP32: 0.00 points lost instead of {found.unprotected:.2f} on 60 held-out texts, 0 allowed")
    assert set(found.own) == {"layer1.ffn_in", "dense"}


def test_nothing_is_left_out_where_nothing_is_lost(weights: ModelWeights) -> None:
    found = protect(weights, nodes_of(weights), lambda own: Mixed(DynamicInt8(True, NATIVE), own), {},
                    held_out(weights), 100.0)
    assert (found.own, found.moved, found.excluded) == ({}, [], [])
    assert found.verdict.startswith("nothing had to be excluded: ")


def test_eight_bits_go_before_full_precision(weights: ModelWeights) -> None:
    nodes, judged = nodes_of(weights), held_out(weights)
    worst_first = sorted(nodes, key=lambda n: n.said != "layer1.ffn_in")
    broken, sound = Wrong("layer1.ffn_in"), Float32()
    found = protect(weights, worst_first, lambda own: Mixed(broken, own), {n.name: sound for n in nodes}, judged, 0.0)
    assert [n.said for n in found.moved] == ["layer1.ffn_in"]
    assert found.excluded == []
    # When 8 bits are as bad, the node goes on to FP32, and the others stay in 8 bits.
    found = protect(weights, worst_first, lambda own: Mixed(broken, own), {n.name: broken for n in nodes}, judged, 0.0)
    assert [n.said for n in found.excluded] == ["layer1.ffn_in"]
    assert len(found.moved) == len(SAID) - 1


def test_a_budget_that_was_spent_before_can_not_be_met(weights: ModelWeights) -> None:
    judged = held_out(weights, dense=1.02)
    with pytest.raises(UserError, match=(
            r"max_drop=0.5 can't be met: with every product and table in FP32 this model still loses 2.00 points .* "
            r"not quantisation's doing; allow at least max_drop=2")):
        protect(weights, nodes_of(weights), lambda own: Mixed(DynamicInt8(True, NATIVE), own), {}, judged, 0.5)


def test_accuracy_and_table_by_hand() -> None:
    assert accuracy(np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 1.0]]), [0, 1, 1]) == pytest.approx(2 / 3)
    row = Cost(Node("dense", "head.dense", "x"), Drift(0.1, 0.02, 3), 400)
    assert table_of([row], {"head.dense": "fp32"}) == [{
        "node": "head.dense", "rms_ratio": 0.1, "kl": 0.02, "flips": 3, "bytes_saved": 400, "precision": "fp32"}]


def test_too_few_texts_to_calibrate_on_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import edgedistil.tasks.training_part as parts
    from edgedistil.stages.quantise import _Texts
    from edgedistil.tasks.examples import Examples

    monkeypatch.setattr(parts, "training_part", lambda request, limit: Examples([("a",)] * 75, [0] * 75, ["a", "b"]))
    monkeypatch.setattr(parts, "held_out_part", lambda request: Examples([], [], ["a", "b"]))
    texts = _Texts({"options": {"task": {"held_out": 0.0}}})
    with pytest.raises(UserError, match="the training part has 75 texts and quantisation is calibrated on at least 96"):
        texts.training(256)
    with pytest.raises(UserError, match=r"task\.held_out=0 leaves no texts to judge quantisation on"):
        texts.held_out()


def test_pairs_that_a_bert_tells_apart_by_type_are_not_judged_without(
    monkeypatch: pytest.MonkeyPatch, tiny_model: Callable[..., Any], tiny_folder: Callable[..., Path],
) -> None:
    import edgedistil.tasks.training_part as parts
    from edgedistil.stages.quantise import plan
    from edgedistil.tasks.examples import Examples

    held_out = Examples([("a", "b")] * 4, [0, 1, 0, 1], ["x", "y"])
    monkeypatch.setattr(parts, "held_out_part", lambda request: held_out)
    asked = {"method": "int8_dynamic", "weights": "s8", "embeddings": True, "max_drop": 0.5, "judged_sentences": 4}
    request = {"options": {"quantization": asked, "task": {"held_out": 0.1}}}
    with pytest.raises(UserError, match="can't judge a BERT on pairs of texts"):
        plan(read_model(tiny_folder(tiny_model("bert"))), request)


def test_blocks_that_do_not_divide_a_table_are_refused(weights: ModelWeights) -> None:
    from edgedistil.stages.quantise import plan

    asked = {"method": "int8_dynamic", "weights": "s8", "embeddings": "int4", "block_size": 64}
    for four in (asked, asked | {"method": "int4_ort", "embeddings": True, "accuracy_level": 0}):
        with pytest.raises(UserError, match="block_size=64 does not divide the width of 32 that an embedding table"):
            plan(weights, {"options": {"quantization": four, "task": {}}})
    assert plan(weights, {"options": {"quantization": asked | {"block_size": 16}, "task": {}}}).kept == []
