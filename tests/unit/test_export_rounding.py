"""4-bit rounding: exact where it must be, and each choice errs less where it says so."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgedistil.export.answers import logits_of, rms_ratio, run_texts
from edgedistil.export.calibration import second_moments
from edgedistil.export.graph import write_graph
from edgedistil.export.nodes import nodes_of
from edgedistil.export.precision import Blocks4Bit, Float32
from edgedistil.export.reading import read_model
from edgedistil.export.rounding import ROUNDINGS, asymmetric, gptq, half_quadratic, nearest, search

CHANCE = np.random.default_rng(0)
NORMAL = CHANCE.normal(size=(64, 4, 32)).astype(np.float32)


def error(values: Any, integers: Any, scale: Any, zero: Any = 0.0) -> Any:
    """Squared error of each block."""
    back = (integers - np.asarray(zero)[..., None]) * scale[..., None] if np.ndim(zero) else integers * scale[..., None]
    return ((values - back) ** 2).sum(-1)


@pytest.mark.parametrize("rounding", [nearest, search])
def test_weights_on_the_grid_are_exact(rounding: Any) -> None:
    grid = CHANCE.integers(-8, 8, (16, 2, 32))
    grid[..., 0] = -8
    values = (grid * 0.0625).astype(np.float32)
    integers, scale = rounding(values)
    assert (integers == grid).all()
    assert (scale == 0.0625).all()


def test_the_searched_scale_errs_less_and_never_more_than_the_nearest() -> None:
    plain, searched = error(NORMAL, *nearest(NORMAL)), error(NORMAL, *search(NORMAL))
    assert (searched <= plain + 1e-6).all()
    assert searched.sum() < 0.92 * plain.sum()


def test_blocks_of_zeros_stay_zeros() -> None:
    zeros = np.zeros((2, 1, 16), np.float32)
    for rounding in (nearest, search):
        integers, scale = rounding(zeros)
        assert (integers * scale[..., None] == 0).all()
    integers, scale, zero = half_quadratic(zeros)
    assert ((integers - zero[..., None]) * scale[..., None] == 0).all()


def test_an_asymmetric_grid_is_exact_and_zero_stays_zero() -> None:
    grid = CHANCE.integers(0, 16, (32, 3, 32))
    grid[..., 0], grid[..., 1] = 0, 15
    values = ((grid - 5) * 0.125).astype(np.float32)
    integers, scale, zero = asymmetric(values)
    assert (integers == grid).all()
    assert (zero == 5).all()
    assert (scale == 0.125).all()
    # A block of one sign still has zero among its values.
    integers, scale, zero = asymmetric(np.abs(NORMAL) + 1)
    assert (zero == 0).all()
    assert np.abs(integers * scale[..., None] - np.abs(NORMAL) - 1).max() <= scale.max() / 2 + 1e-6
    integers, scale, zero = asymmetric(np.zeros((2, 1, 16), np.float32))
    assert ((integers.astype(int) - zero[..., None]) == 0).all()


@pytest.mark.parametrize("depth", [64, 96])
def test_zero_points_are_packed_as_the_operator_reads_them(depth: int, tmp_path: Path) -> None:
    import onnxruntime
    from onnx import TensorProto, helper

    from edgedistil.export.weights import Linear
    from edgedistil.export.writer import GraphWriter, Output

    chance = np.random.default_rng(1)
    weight = (chance.normal(size=(depth, 24)) + 0.7).astype(np.float32)
    graph = GraphWriter()
    layer = Linear(weight, np.zeros(24, np.float32))
    name = Blocks4Bit(False, 32, 0, "asymmetric").linear(graph, "x", layer, "p")
    made = graph.model([], [Output(name, ["rows", 24])])
    made.graph.input.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", depth]))
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    x = chance.normal(size=(5, depth)).astype(np.float32)
    integers, scale, zero = asymmetric(weight.T.reshape(24, depth // 32, 32))
    back = ((integers.astype(int) - zero[..., None]) * scale[..., None]).reshape(24, depth).T
    np.testing.assert_allclose(session.run(None, {"x": x})[0], x @ back, atol=1e-4)
    # Mostly of one sign: symmetric blocks waste values.
    assert error(weight.T.reshape(24, -1, 32), integers.astype(int) - zero[..., None], scale).sum() < 0.8 * error(
        weight.T.reshape(24, -1, 32), *nearest(weight.T.reshape(24, -1, 32))).sum()


def test_a_zero_point_that_is_no_integer_fits_what_lies_between() -> None:
    grid = CHANCE.integers(0, 16, (32, 2, 32))
    grid[..., 0], grid[..., 1] = 0, 15
    values = ((grid - 5.5) * 0.1).astype(np.float32)
    integers, scale, zero = half_quadratic(values)
    assert (integers == grid).all()
    np.testing.assert_allclose(zero, 5.5, atol=1e-3)
    assert error(values, integers, scale, zero).max() < 1e-6
    assert error(values, *nearest(values)).min() > 1e-3


def test_half_quadratic_errs_less_than_the_nearest() -> None:
    integers, scale, zero = half_quadratic(NORMAL)
    assert integers.min() >= 0
    assert integers.max() <= 15
    assert error(NORMAL, integers, scale, zero).sum() < 0.85 * error(NORMAL, *nearest(NORMAL)).sum()


def test_gptq_is_the_nearest_where_inputs_have_nothing_to_do_with_each_other() -> None:
    weight = CHANCE.normal(size=(48, 8)).astype(np.float32)
    integers, scale = gptq(weight, np.eye(48), 16)
    plain = nearest(np.ascontiguousarray(weight.T).reshape(8, 3, 16))
    assert (integers == plain[0]).all()
    assert (scale == plain[1]).all()


def test_gptq_moves_the_output_less_where_inputs_go_together() -> None:
    weight = CHANCE.normal(size=(40, 24)).astype(np.float32)
    inputs = CHANCE.normal(size=(200, 6)) @ CHANCE.normal(size=(6, 40)) + 0.1 * CHANCE.normal(size=(200, 40))
    # 40 rows do not fill blocks of 16: the last is filled up with zeros.
    integers, scale = gptq(weight, inputs.T @ inputs, 16)
    assert integers.shape == (24, 3, 16)
    assert (integers[:, 2, 8:] == 0).all()
    padded = np.zeros((24, 48), np.float32)
    padded[:, :40] = weight.T
    plain = nearest(padded.reshape(24, 3, 16))

    def moved(found: Any, factor: Any) -> float:
        back = (found * factor[..., None]).reshape(24, 48)[:, :40].T
        return float(((inputs @ (back - weight)) ** 2).sum())

    assert moved(integers, scale) < 0.5 * moved(*plain)


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_the_graph_multiplies_what_was_rounded(rounding: str, tiny_model: Callable[..., Any],
                                               tiny_folder: Callable[..., Path]) -> None:
    weights = read_model(tiny_folder(tiny_model("distilbert", initializer_range=0.2)))
    some = [CHANCE.integers(5, 90, 12).tolist() for _ in range(16)]
    moments = second_moments(weights, some, [n.name for n in nodes_of(weights) if n.tensor])
    model = write_graph(weights, Blocks4Bit(True, 16, 0, rounding, moments))
    onnx.checker.check_model(model)
    arrays = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    assert ("layer0.ffn_in.zero_point" in arrays) == (rounding in ("hqq", "asymmetric"))
    packed, scale = arrays["layer0.ffn_in.weight"], arrays["layer0.ffn_in.scale"].reshape(64, 2, 1)
    zero: Any = 8
    if rounding == "hqq":
        zero = arrays["layer0.ffn_in.zero_point"].reshape(64, 2, 1)
    if rounding == "asymmetric":
        both = arrays["layer0.ffn_in.zero_point"].reshape(64, 1)
        zero = np.concatenate([both & 15, both >> 4], 1)[..., None].astype(int)
    unpacked = np.stack([packed & 15, packed >> 4], -1).reshape(64, 2, 16).astype(int)
    back = ((unpacked - zero) * scale).reshape(64, 32).T
    own = weights.encoder.layers[0].ffn_in.weight
    assert 0.01 < np.sqrt(((back - own) ** 2).mean() / (own**2).mean()) < 0.15
    assert 0 < rms_ratio(run_texts(model, some), logits_of(weights, Float32(), some)) < 0.5


def test_another_rounding_is_an_error() -> None:
    with pytest.raises(ValueError, match="rounding='up' is none of nearest, search, asymmetric, hqq, gptq"):
        Blocks4Bit(True, 32, 4, "up")
