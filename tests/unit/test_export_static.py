"""Static activations: ranges on known values, products chosen by what they do to the answers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgedistil.devices.host import saturates_int8
from edgedistil.export.calibration import Range, least_error, observe
from edgedistil.export.graph import write_graph
from edgedistil.export.named_precision import precision_of
from edgedistil.export.precision import MixedInt8
from edgedistil.export.reading import read_model
from edgedistil.export.sensitivity import _largest, all_token_products, choose_static

NATIVE = "s8_7bit" if saturates_int8() else "s8"
KINDS = pytest.mark.parametrize("kind", ["distilbert", "bert"])
CALM = {"initializer_range": 0.2}


def texts(count: int, seed: int = 0) -> list[list[int]]:
    chance = np.random.default_rng(seed)
    return [chance.integers(5, 90, chance.integers(4, 24)).tolist() for _ in range(count)]


def test_range_maps_zero_exactly_and_covers_its_ends() -> None:
    found = Range(-1.0, 3.0)
    assert found.scale == pytest.approx(4 / 255)
    assert found.zero_point == 64
    assert Range(0.0, 2.0).zero_point == 0
    assert Range(-2.0, 0.0).zero_point == 255


def test_even_values_keep_their_whole_range_and_a_lone_outlier_is_cut() -> None:
    even = least_error(np.full(2048, 100), -1.0, 1.0)
    assert (even.low, even.high) == pytest.approx((-1, 1), abs=0.03)
    counts = np.zeros(2048, np.int64)
    counts[:1024] = 10_000
    counts[-1] = 1
    cut = least_error(counts, 0.0, 2.0)
    # Half the range holds one value in ten million: steps spent there cost more than clipping it.
    assert 0.9 < cut.high < 1.2


@KINDS
def test_observed_ranges_hold_what_pytorch_computes(kind: str, tiny_model: Callable[..., Any],
                                                    tiny_folder: Callable[..., Path]) -> None:
    model = tiny_model(kind, **CALM)
    weights = read_model(tiny_folder(model))
    assert all_token_products(weights) == [f"layer0.{p}" for p in ("qkv", "out", "ffn_in", "ffn_out")]
    sentences = texts(12)
    seen: list[torch.Tensor] = []
    layer = model.distilbert.transformer.layer[0].ffn.lin2 if kind == "distilbert" else \
        model.bert.encoder.layer[0].output.dense
    layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].flatten()))
    with torch.inference_mode():
        for ids in sentences:
            model(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long))
    values = torch.cat(seen)
    found = observe(weights, sentences, ["layer0.ffn_out"])["layer0.ffn_out"]
    assert 0.3 * float(values.max()) - 1e-4 <= found.high <= float(values.max()) + 1e-4
    assert float(values.min()) - 1e-4 <= found.low <= 0


@KINDS
def test_products_join_while_the_error_stays_within_the_slack(kind: str, tiny_model: Callable[..., Any],
                                                              tiny_folder: Callable[..., Path]) -> None:
    weights = read_model(tiny_folder(tiny_model(kind, **CALM)))
    sentences = texts(128)
    none, _ = choose_static(weights, sentences, True, NATIVE, slack=-0.99)
    every, facts = choose_static(weights, sentences, True, NATIVE, slack=50.0)
    assert none == {}
    assert sorted(every) == facts["static_products"] == sorted(all_token_products(weights))
    assert (facts["observed_texts"], facts["judged_texts"]) == (64, 64)
    some, facts = choose_static(weights, sentences, True, NATIVE, slack=0.25)
    assert facts["static_rms_ratio"] <= 1.25 * facts["dynamic_rms_ratio"]
    graph = write_graph(weights, precision_of({"method": "int8_static", "embeddings": True, "weights": NATIVE}, every))
    ops = [node.op_type for node in graph.graph.node]
    assert ops.count("MatMulIntegerToFloat") == ops.count("QuantizeLinear") == 4
    # the last layer's six and the dense layer before the classifier
    assert ops.count("DynamicQuantizeMatMul") == 7
    assert len(some) <= 4


def test_a_wrong_range_is_seen_and_left_out(tiny_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch,
                                            tiny_model: Callable[..., Any]) -> None:
    import edgedistil.export.sensitivity as sensitivity

    def broken(*arguments: Any) -> dict[str, Range]:
        return observe(*arguments) | {"layer0.ffn_in": Range(-0.01, 0.01)}

    monkeypatch.setattr(sensitivity, "observe", broken)
    weights = read_model(tiny_folder(tiny_model("distilbert", **CALM)))
    chosen, facts = choose_static(weights, texts(128), True, NATIVE, slack=1.0)
    assert "layer0.ffn_in" not in chosen
    assert max(facts["rms_ratio_by_product"], key=facts["rms_ratio_by_product"].get) == "layer0.ffn_in"


@pytest.mark.parametrize("limit", range(6))
def test_bisection_finds_every_limit(limit: int) -> None:
    assert _largest(5, lambda n: n <= limit) == min(limit, 5)


def test_mixed_is_dynamic_without_ranges(tiny_folder: Callable[..., Path]) -> None:
    weights = read_model(tiny_folder("distilbert"))
    mixed = write_graph(weights, MixedInt8(True, NATIVE, {}))
    dynamic = write_graph(weights, precision_of({"method": "int8_dynamic", "embeddings": True, "weights": NATIVE}))
    assert mixed == dynamic
