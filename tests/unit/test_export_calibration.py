"""Ranges of activations from known histograms, and outliers that move into the weights without moving an answer."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedistil.devices.host import saturates_int8
from edgedistil.export.answers import logits_of, rms_ratio
from edgedistil.export.calibration import (
    Range,
    _divergence,
    calibration_of,
    channel_maxima,
    entropy,
    least_error,
    min_max,
    observe,
    percentile,
    second_moments,
)
from edgedistil.export.precision import DynamicInt8, Float32
from edgedistil.export.reading import read_model
from edgedistil.export.sensitivity import all_token_products
from edgedistil.export.smoothing import factors_of, smooth
from edgedistil.export.weights import ModelWeights

KINDS = pytest.mark.parametrize("kind", ["distilbert", "bert"])
CALM = {"initializer_range": 0.2}
NATIVE = "s8_7bit" if saturates_int8() else "s8"


def texts(count: int, seed: int = 0) -> list[list[int]]:
    chance = np.random.default_rng(seed)
    return [chance.integers(5, 90, chance.integers(4, 24)).tolist() for _ in range(count)]


def ends(found: Range) -> tuple[float, float]:
    return found.low, found.high


def test_min_max_keeps_everything() -> None:
    assert ends(min_max(np.array([1, 0, 0, 1]), -3.0, 5.0)) == (-3.0, 5.0)


def test_percentile_cuts_each_end_by_half_of_what_it_leaves_out() -> None:
    even = np.ones(100, np.int64)
    assert ends(percentile(even, -50.0, 50.0, 90.0)) == pytest.approx((-45.0, 45.0))
    assert ends(percentile(even, -50.0, 50.0, 100.0)) == (-50.0, 50.0)
    # 0 stays in the range, or it could not be stored exactly.
    assert ends(percentile(even, 0.0, 100.0, 98.0)) == pytest.approx((0.0, 99.0))
    # 1,000 values of which one is ten times as large as the others.
    counts = np.zeros(100, np.int64)
    counts[:10], counts[99] = 100, 1
    assert percentile(counts, 0.0, 100.0, 99.0).high == pytest.approx(10 - 0.05 * 0.8, abs=0.01)


def test_divergence_by_hand() -> None:
    even, uneven = np.array([1.0, 1.0, 2.0, 2.0]), np.array([3.0, 1.0, 2.0, 2.0])
    # Two levels of two bins each: what a level holds is shared out evenly.
    assert _divergence(even, 0, 4, 2) == pytest.approx(0, abs=1e-12)
    assert _divergence(uneven, 0, 4, 2) == pytest.approx(3 / 8 * np.log(1.5) + 1 / 8 * np.log(0.5))
    # Clipped to its first half the last bin takes the 4 outside; the levels do not know of them.
    assert _divergence(even, 0, 2, 2) == pytest.approx(1 / 6 * np.log(1 / 3) + 5 / 6 * np.log(5 / 3))
    # An empty bin gets nothing of its level.
    assert _divergence(np.array([2.0, 0.0, 3.0, 3.0]), 0, 4, 2) == pytest.approx(0, abs=1e-12)


def test_entropy_of_nothing_but_zeros_is_a_range_of_nothing() -> None:
    counts = np.zeros(2048, np.int64)
    counts[0] = 500
    assert ends(entropy(counts, 0.0, 0.0)) == (0.0, 0.0)


def test_entropy_keeps_an_even_range_and_cuts_a_lone_outlier() -> None:
    assert ends(entropy(np.full(2048, 100), -1.0, 1.0)) == (-1.0, 1.0)
    chance = np.random.default_rng(0)
    values = np.concatenate([chance.normal(0, 1, 200_000), [40.0]])
    counts = np.histogram(values, 2048, (-40, 40))[0]
    assert entropy(counts, -40.0, 40.0).high == pytest.approx(12, abs=0.1)
    assert least_error(counts, -40.0, 40.0).high < 40


@pytest.mark.parametrize(("quantization", "expected"), [
    ({}, least_error), ({"calibration": "least_error"}, least_error), ({"calibration": "min_max"}, min_max),
    ({"calibration": "entropy"}, entropy)])
def test_the_option_names_the_choice(quantization: dict[str, Any], expected: Any) -> None:
    assert calibration_of(quantization) is expected


def test_the_percentile_is_the_options() -> None:
    choice = calibration_of({"calibration": "percentile", "percentile": 80.0})
    assert ends(choice(np.ones(100, np.int64), -50.0, 50.0)) == pytest.approx((-40.0, 40.0))


@KINDS
def test_observed_figures_belong_to_each_products_input(kind: str, tiny_model: Callable[..., Any],
                                                        tiny_folder: Callable[..., Path]) -> None:
    weights = read_model(tiny_folder(tiny_model(kind, **CALM)))
    names, some = ["layer0.qkv", "layer0.ffn_out"], texts(6)
    ranges = observe(weights, some, names, min_max)
    maxima, moments = channel_maxima(weights, some, names), second_moments(weights, some, names)
    tokens = sum(map(len, some))
    for name, depth in (("layer0.qkv", 32), ("layer0.ffn_out", 64)):
        assert maxima[name].shape == (depth,)
        assert float(maxima[name].max()) == pytest.approx(max(-ranges[name].low, ranges[name].high))
        assert moments[name].shape == (depth, depth)
        assert (np.diag(moments[name]) <= tokens * maxima[name].astype(float) ** 2 + 1e-6).all()
        assert np.allclose(moments[name], moments[name].T)


def test_factors_by_hand() -> None:
    weight = np.array([[1.0, -0.5], [0.0, 4.0], [0.0, 0.0]], np.float32)
    found = factors_of(np.array([4.0, 1.0, 7.0], np.float32), weight, 0.5)
    # √(4/1), √(1/4), and a row of nothing but zeros that has nothing to share
    np.testing.assert_allclose(found, [2.0, 0.5, 1.0])
    np.testing.assert_allclose(factors_of(np.array([4.0, 1.0, 7.0], np.float32), weight, 1.0), [4.0, 1.0, 1.0])


def with_outliers(weights: ModelWeights) -> ModelWeights:
    """The same model but for one channel of the embeddings' norm that is 30 times as large as it was."""
    norm = weights.encoder.embedding_norm
    gain = norm.gain.copy()
    gain[3] *= 30
    return replace(weights, encoder=replace(weights.encoder, embedding_norm=replace(norm, gain=gain)))


@KINDS
@pytest.mark.parametrize("uneven", [False, True])
@pytest.mark.parametrize("alpha", [0.3, 0.5, 0.8])
def test_smoothing_changes_no_answer_and_shrinks_outliers(
        kind: str, uneven: bool, alpha: float, tiny_model: Callable[..., Any], tiny_folder: Callable[..., Path],
        uneven_cut: Callable[[Any], Any]) -> None:
    model = tiny_model(kind, n_layers=3, **CALM) if kind == "distilbert" else tiny_model(
        kind, num_hidden_layers=3, **CALM)
    if uneven:
        from edgedistil.compression.structured import Kept, cut

        cut(model, [Kept([2], list(range(5, 29))), Kept([0, 1, 3], list(range(20, 60))), Kept([1, 2], [0, 1, 2])])
    weights = with_outliers(read_model(tiny_folder(model)))
    some = texts(8)
    smoothed = smooth(weights, some, alpha)
    expected = logits_of(weights, Float32(), texts(12, seed=1))
    found = logits_of(smoothed, Float32(), texts(12, seed=1))
    np.testing.assert_allclose(found, expected, atol=1e-5 * float(np.abs(expected).max()))
    names = [n for n in all_token_products(weights) if not n.endswith("ffn_out")]
    before, after = (channel_maxima(w, some, names) for w in (weights, smoothed))
    # What the outlier costs is how far it stands out from its neighbours.
    stands_out = [float(m["layer0.qkv"].max() / np.median(m["layer0.qkv"])) for m in (before, after)]
    assert stands_out[1] < 0.7 * stands_out[0]
    # What comes out of GELU is left alone.
    untouched = [channel_maxima(w, some, ["layer1.ffn_out"])["layer1.ffn_out"] for w in (weights, smoothed)]
    np.testing.assert_allclose(untouched[1], untouched[0], rtol=1e-3, atol=1e-4)
    assert weights.encoder.layers[0].attention_residual is None


def test_a_model_with_outliers_loses_less_when_it_is_smoothed(tiny_model: Callable[..., Any],
                                                              tiny_folder: Callable[..., Path]) -> None:
    weights = with_outliers(read_model(tiny_folder(tiny_model("distilbert", n_layers=3, **CALM))))
    expected, precision = logits_of(weights, Float32(), texts(24, 1)), DynamicInt8(True, NATIVE)
    plain = rms_ratio(logits_of(weights, precision, texts(24, 1)), expected)
    smoothed = rms_ratio(logits_of(smooth(weights, texts(8), 0.5), precision, texts(24, 1)), expected)
    assert smoothed < 0.8 * plain
