"""Which of 16 values each weight of a block becomes, and the block's scale.

``nearest``, ``search`` and ``gptq`` give signed values in −8..7 and one scale a block, so the graph, its bytes and its
speed are the same whatever the rounding. ``asymmetric`` adds a 4-bit zero point a block. ``hqq`` needs a zero point in
float beside each scale, for which ``MatMulNBits`` has no fast kernel on the CPU. ONNX Runtime's own versions
(``onnxruntime.quantization``: HQQ, k-quant, GPTQ) can't be imported without the package ``onnx_ir``, which it does not
install: hence these.
"""

from typing import Any

import numpy as np

from .weights import Array

ROUNDINGS = ("nearest", "search", "asymmetric", "hqq", "gptq")
# Where the largest magnitude of a block is put, when the scale is searched for.
_PLACES = (-9.0, -8.5, -8.0, -7.5, -7.0)
# Of the half-quadratic solver: Badri and Shaji's norm, start and growth of beta, and number of steps.
_NORM, _BETA, _GROWTH, _STEPS = 0.7, 10.0, 1.01, 20
# Added to the diagonal of the inputs' second moments, as a share of its mean (Frantar et al. 2022, section 3.3).
_DAMPING = 0.01


def nearest(values: Array) -> tuple[Any, Any]:
    """Signed 4-bit values and scales of blocks along the last axis.

    The entry of largest magnitude becomes exactly −8, so that the whole range −8..7 is used.
    """
    scale = _scales(values, -1)
    return _integers(values / scale[..., None]), scale


def search(values: Array) -> tuple[Any, Any]:
    """Like :func:`nearest`, with the scale of least squared error out of a few.

    Five places of the largest magnitude around −8 and as many around +8 are tried; to the integers that follow from
    each the scale is fitted by least squares.
    """
    integers, best_scale = nearest(values)
    scale, best = best_scale, _squared_error(values, integers, best_scale)
    for place in (*_PLACES, *(-p for p in _PLACES)):
        guess = scale * np.float32(-8 / place)
        integers = _integers(values / guess[..., None]).astype(np.float32)
        squares = (integers * integers).sum(-1)
        fitted = np.where(squares > 0, (integers * values).sum(-1) / np.maximum(squares, 1), guess).astype(np.float32)
        fitted = np.where(fitted == 0, guess, fitted)
        found = _squared_error(values, _integers(values / fitted[..., None]), fitted)
        better = found < best
        best_scale, best = np.where(better, fitted, best_scale), np.where(better, found, best)
    return _integers(values / best_scale[..., None]), best_scale


def asymmetric(values: Array) -> tuple[Any, Any, Any]:
    """Values in 0..15, scales, and zero points in 0..15 for blocks along the last axis: 16 values are spread over the
    block's range, and zero is one of them."""
    low, high = np.minimum(values.min(-1), 0), np.maximum(values.max(-1), 0)
    scale = np.where(high > low, (high - low) / 15, 1.0).astype(np.float32)
    zero = np.clip(np.rint(-low / scale), 0, 15).astype(np.uint8)
    return np.clip(np.rint(values / scale[..., None]) + zero[..., None], 0, 15).astype(np.uint8), scale, zero


def half_quadratic(values: Array) -> tuple[Any, Any, Any]:
    """Values in 0..15, scales, and zero points that are no integers, for blocks along the last axis.

    HQQ (Badri and Shaji 2023, "Half-Quadratic Quantization of Large Machine Learning Models"): large errors are set
    apart by the generalised soft threshold (their equation for the norm 0.7), then the zero point has a closed form.
    """
    low = values.min(-1)
    scale = np.maximum((values.max(-1) - low) / 15, 1e-9).astype(np.float32)
    units = values / scale[..., None]
    zero = (-low / scale).astype(np.float32)
    best_zero, best, beta = zero, np.float32(np.inf), _BETA
    for _ in range(_STEPS):
        integers = np.clip(np.rint(units + zero[..., None]), 0, 15)
        error = (units + zero[..., None] - integers) * scale[..., None]
        size = np.abs(error)
        found = float(size.mean())
        if found >= best:
            break
        best_zero, best = zero, np.float32(found)
        apart = np.sign(error) * np.maximum(size - (size + 1e-8) ** np.float32(_NORM - 1) / np.float32(beta), 0)
        zero = (integers - units + apart / scale[..., None]).mean(-1).astype(np.float32)
        beta *= _GROWTH
    return np.clip(np.rint(units + best_zero[..., None]), 0, 15).astype(np.uint8), scale, best_zero


def gptq(weight: Array, moments: Any, block: int) -> tuple[Any, Any]:
    """Rows of ``weight`` ``[in, out]`` one after the other, each error made good by the rows that are still free.

    Frantar et al. 2022 (GPTQ), algorithm 1, without its batches of columns; scales as in :func:`nearest`, taken when a
    block is reached.

    Args:
        moments: ``[in, in]``, sum of ``xᵀx`` over the inputs ``x`` of the product.

    Returns:
        Values ``[out, blocks, block]`` and scales ``[out, blocks]``; rows that fill the last block up are 0.
    """
    depth, width = weight.shape
    blocks = -(-depth // block)
    rest = np.zeros((blocks * block, width), np.float64)
    rest[:depth] = weight
    second = np.array(moments, np.float64)
    diagonal = np.arange(depth)
    second[diagonal, diagonal] += _DAMPING * max(float(second.trace()) / depth, 1e-12)
    # Upper factor of the inverse: its row i says how row i's error is spread over the rows after it.
    spread = np.linalg.cholesky(np.linalg.inv(second)).T
    integers = np.zeros((blocks * block, width), np.int8)
    scales = np.ones((blocks, width), np.float32)
    for row in range(depth):
        place = row // block
        if row % block == 0:
            scales[place] = _scales(rest[row : row + block].astype(np.float32), 0)
        integers[row] = _integers(rest[row] / scales[place])
        error = (rest[row] - integers[row] * scales[place]) / spread[row, row]
        rest[row + 1 : depth] -= np.outer(spread[row, row + 1 :], error)
    shaped = integers.reshape(blocks, block, width).transpose(2, 0, 1)
    return np.ascontiguousarray(shaped), np.ascontiguousarray(scales.T)


def _scales(values: Array, axis: int) -> Any:
    place = np.expand_dims(np.abs(values).argmax(axis), axis)
    extreme = np.take_along_axis(values, place, axis).squeeze(axis)
    return np.where(extreme == 0, 1.0, extreme / -8).astype(np.float32)


def _integers(values: Any) -> Any:
    return np.clip(np.rint(values), -8, 7).astype(np.int8)


def _squared_error(values: Array, integers: Any, scale: Any) -> Any:
    return ((values - integers * scale[..., None]) ** 2).sum(-1)
