"""Costs against what really cut and exported models count, weigh and hold."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgedistil.compression.costs import Cost, check_cuts, cost_of, falling, rounded_up, structure_of, with_vocabulary
from edgedistil.compression.curves import Curve
from edgedistil.compression.search import Budget, parts_of, search
from edgedistil.errors import UserError
from edgedistil.export.files import save
from edgedistil.export.graph import write_graph
from edgedistil.export.named_precision import precision_of
from edgedistil.export.reading import read_model
from edgedistil.export.weights import ModelWeights
from edgedistil.measurement.flops import graph_flops
from edgedistil.measurement.latency_table import LatencyTable
from edgedistil.measurement.units import unit_weights
from edgedistil.models.folder import count_parameters
from edgedistil.models.layers import encoder_layers

KINDS = pytest.mark.parametrize("kind", ["distilbert", "bert"])
DENSE, UNEVEN = [(4, 64), (4, 64)], [(1, 24), (3, 40)]
PRECISIONS = {
    "none": {"method": "none"},
    "int8": {"method": "int8_dynamic", "embeddings": True, "weights": "s8"},
    "int8_float_tables": {"method": "int8_dynamic", "embeddings": False, "weights": "u8"},
    "int4": {"method": "int4_ort", "embeddings": True, "block_size": 16, "accuracy_level": 4},
}


@pytest.fixture
def dense_and_cut(tiny_model: Callable[..., Any], tiny_folder: Callable[..., Path],
                  uneven_cut: Callable[[Any], Any]) -> Callable[..., tuple[ModelWeights, ModelWeights, Any]]:
    """(weights of the dense model, of the cut one, the cut one)."""
    def make(kind: str, **changes: Any) -> tuple[ModelWeights, ModelWeights, Any]:
        dense = read_model(tiny_folder(tiny_model(kind, **changes), "dense"))
        model = uneven_cut(tiny_model(kind, **changes))
        return dense, read_model(tiny_folder(model, "cut")), model

    return make


@KINDS
def test_parameters_are_those_of_the_cut_model(kind: str, dense_and_cut: Any) -> None:
    dense, _, model = dense_and_cut(kind)
    cost = cost_of({"budget": "parameters"}, dense)
    assert structure_of(dense) == DENSE
    assert cost.total(UNEVEN) == count_parameters(model)
    layer = encoder_layers(model)[0]
    head, neuron = unit_weights(layer.query.in_features, layer.head_size).values()
    assert (cost("heads", 1, 3), cost("neurons", 0, 24)) == (3 * head, 24 * neuron)


@KINDS
@pytest.mark.parametrize("tokens", [3, 17])
def test_operations_are_those_of_the_cut_graph_whose_last_layer_reads_one_token(
        kind: str, tokens: int, dense_and_cut: Any) -> None:
    dense, cut, _ = dense_and_cut(kind)
    cost = cost_of({"budget": "gflops", "tokens": tokens}, dense)
    assert cost.total(UNEVEN) == pytest.approx(graph_flops(cut, tokens) / 1e9, rel=1e-12)
    assert cost("neurons", 1, 40) == pytest.approx(cost("neurons", 0, 40) / tokens)


@KINDS
@pytest.mark.parametrize("precision", PRECISIONS)
def test_megabytes_are_those_of_the_cut_models_file(kind: str, precision: str, dense_and_cut: Any,
                                                    tmp_path: Path) -> None:
    # What parts share (zero points of one width) and the graph's own text are the larger the smaller a model is.
    dense, cut, _ = dense_and_cut(kind, **{"dim" if kind == "distilbert" else "hidden_size": 96})
    cost = cost_of({"budget": "size_mb"}, dense, PRECISIONS[precision])
    for weights, structure in ((dense, DENSE), (cut, UNEVEN)):
        save(write_graph(weights, precision_of(PRECISIONS[precision])), tmp_path / "model.onnx")
        stored = sum(f.stat().st_size for f in tmp_path.glob("model.onnx*")) / 1e6
        assert cost.total(structure) == pytest.approx(stored, rel=0.02)
        for f in tmp_path.glob("model.onnx*"):
            f.unlink()
    assert cost.total(DENSE) > 1.1 * cost.total(UNEVEN)


def test_a_size_budget_leaves_more_at_a_lower_precision(dense_and_cut: Any) -> None:
    dense, _, _ = dense_and_cut("distilbert")
    sizes = {name: cost_of({"budget": "size_mb"}, dense, PRECISIONS[name]) for name in ("none", "int8", "int4")}
    assert sizes["none"]("neurons", 0, 64) == pytest.approx(4 * (2 * 64 * 32 + 64 + 32) / 1e6, rel=0.02)
    assert sizes["none"]("neurons", 0, 64) > 2 * sizes["int8"]("neurons", 0, 64) > 2 * sizes["int4"]("neurons", 0, 64)
    target = sizes["int8"].total(DENSE)
    assert sizes["none"].total(UNEVEN) > target


def test_a_trimmed_vocabulary_is_counted_as_it_will_ship(dense_and_cut: Any) -> None:
    dense, _, _ = dense_and_cut("distilbert")
    rows, positions = len(dense.encoder.words), len(dense.encoder.positions)
    trimmed = with_vocabulary(dense, rows - 10, 16)
    whole, less = (cost_of({"budget": "parameters"}, w).fixed for w in (dense, trimmed))
    assert whole - less == 32 * (10 + positions - 16)


def test_ratio_is_the_share_of_prunable_weights(dense_and_cut: Any) -> None:
    dense, _, _ = dense_and_cut("bert")
    cost = cost_of({"ratio": 0.5}, dense)
    assert cost.total(DENSE) == pytest.approx(1)
    assert cost.total([(2, 32), (2, 32)]) == pytest.approx(0.5)
    assert cost("heads", 0, 1) == pytest.approx(1048 / (8 * 1048 + 128 * 65))


TABLE = LatencyTable(32, 0.5, 0.25, {
    "heads": {1: 0.0, 2: 0.1, 3: 0.3, 4: 0.7}, "neurons": {8: 0.0, 32: 0.6, 64: 2.0},
    "last_heads": {1: 0.0, 4: 0.3}, "last_neurons": {8: 0.0, 64: 0.056}}, True)


@pytest.mark.parametrize("target", [0.85, 1.5, 2.5])
def test_search_under_milliseconds_stays_within_the_budget_by_the_table(target: float, dense_and_cut: Any) -> None:
    dense, _, _ = dense_and_cut("distilbert")
    cost = cost_of({"budget": "latency_ms"}, dense, table=TABLE)
    assert cost.total(DENSE) == pytest.approx(TABLE.predict(DENSE)) == pytest.approx(0.5 + 0.25 + 2.7 + 0.356)
    found = searched(cost, target)
    assert TABLE.predict(found) <= target + 1e-9
    # Neurons are worth the same everywhere and next to free in the last layer, which is left whole.
    assert found[1][1] == 64


def searched(cost: Cost, target: float) -> list[tuple[int, int]]:
    curves = [Curve(layer, kind, range(units), [float(k) for k in range(units + 1)])
              for layer in range(2) for kind, units in (("heads", 4), ("neurons", 64))]
    budget = Budget(cost, target - cost.fixed, f"target={target:g}", lambda spent: rounded_up(cost.fixed + spent))
    found = search(parts_of(curves, cost, 8), budget)
    return [(found[0], found[1]), (found[2], found[3])]


@pytest.mark.parametrize("budget", ["parameters", "gflops", "size_mb", "latency_ms"])
def test_a_budget_that_can_not_be_met_names_the_nearest_which_can(budget: str, dense_and_cut: Any) -> None:
    dense, _, _ = dense_and_cut("distilbert")
    cost = cost_of({"budget": budget, "tokens": 32}, dense, PRECISIONS["int8"], TABLE)
    with pytest.raises(UserError, match=r"target=1e-06 can't be met") as caught:
        searched(cost, 1e-6)
    nearest = float(str(caught.value).split(" is reached")[0].split()[-1])
    assert cost.total([(1, 8), (1, 8)]) <= nearest <= 1.001 * cost.total([(1, 8), (1, 8)])
    assert searched(cost, nearest) == [(1, 8), (1, 8)]
    with pytest.raises(UserError, match=r"target=1e\+09 .* leaves nothing to cut: the model comes to"):
        check_cuts(cost, 1e9, DENSE)
    check_cuts(cost, nearest, DENSE)


def test_budgets_fall_by_equal_factors_to_the_target() -> None:
    assert falling(90.0, 20.0, 10.0, 3) == pytest.approx([50.0, 30.0, 20.0])
    assert falling(1.0, 0.2, 0.0, 1) == [0.2]


def test_rounding_up_never_names_less() -> None:
    assert [rounded_up(x) for x in (0.123456, 12.0, 7012345.0, 2.5)] == ["0.1235", "12", "7013000", "2.5"]
