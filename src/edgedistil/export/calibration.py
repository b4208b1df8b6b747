"""What activations look like on real texts: the ranges and figures that a quantisation needs to know beforehand."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from .graph import write_graph
from .nodes import nodes_of
from .precision import Float32
from .weights import Array, ModelWeights

_BINS = 2048
# Shares of the largest magnitude at which a range may be cut.
_CUTS = np.linspace(0.3, 1.0, 36)
_LEVELS = 256
# Of one value: a level that the narrower form lacks must not make the divergence infinite.
_FLOOR = 1e-4


@dataclass(frozen=True)
class Range:
    """The part of an activation's values that 256 steps are spread over; contains 0."""

    low: float
    high: float

    @property
    def scale(self) -> np.float32:
        return np.float32(max(self.high - self.low, 1e-8) / 255)

    @property
    def zero_point(self) -> np.uint8:
        return np.uint8(np.clip(np.rint(-self.low / self.scale), 0, 255))


# (counts of a histogram, its low end, its high end) to a range
Choice = Callable[[NDArray[np.int64], float, float], Range]


def calibration_of(quantization: dict[str, Any]) -> Choice:
    """How a canonical ``compression.quantization`` chooses ranges; ``least_error`` where it does not say."""
    name = quantization.get("calibration", "least_error")
    if name == "percentile":
        share = float(quantization["percentile"])
        return lambda counts, low, high: percentile(counts, low, high, share)
    return {"least_error": least_error, "min_max": min_max, "entropy": entropy}[name]


def observe(
    weights: ModelWeights, texts: list[list[int]], products: list[str], choice: Choice | None = None
) -> dict[str, Range]:
    """Run the FP32 graph on ``texts`` (token ids, one at a time) and choose a range for the input of each product.

    Twice through the texts: extremes first, then a histogram of 2048 bins between them, from which ``choice``
    (:func:`least_error`) takes the range.
    """
    extremes: dict[str, tuple[float, float]] = {}
    for tensor, value in _inputs(weights, texts, products):
        low, high = extremes.get(tensor, (0.0, 0.0))
        extremes[tensor] = min(low, float(value.min())), max(high, float(value.max()))
    counts = {t: np.zeros(_BINS, np.int64) for t in extremes}
    for tensor, value in _inputs(weights, texts, products):
        low, high = extremes[tensor]
        counts[tensor] += np.histogram(value, _BINS, (low, max(high, low + 1e-8)))[0]
    chosen = {t: (choice or least_error)(counts[t], *extremes[t]) for t in extremes}
    return {name: chosen[tensor] for name, tensor in _tensors(weights, products).items()}


def least_error(counts: NDArray[np.int64], low: float, high: float) -> Range:
    """The range inside ``low``..``high`` whose 256 steps err least on values with this histogram.

    Expected squared error: of rounding inside the range, of clipping outside (the MSE observer of Nagel et al. 2021, "A
    White Paper on Neural Network Quantization", section 3.1).
    """
    centres = _centres(counts, low, high)
    best, best_error = Range(low, high), np.inf
    for cut in _CUTS:
        candidate = Range(low * cut, high * cut)
        outside = np.maximum(candidate.low - centres, 0) + np.maximum(centres - candidate.high, 0)
        error = float((counts * (outside**2 + (outside == 0) * candidate.scale**2 / 12)).sum())
        if error < best_error:
            best, best_error = candidate, error
    return best


def min_max(counts: NDArray[np.int64], low: float, high: float) -> Range:
    """Everything that was seen."""
    return Range(low, high)


def percentile(counts: NDArray[np.int64], low: float, high: float, share: float) -> Range:
    """The range that leaves out ``100 − share`` per cent of the values, half of them at each end.

    Wu et al. 2020 ("Integer Quantization for Deep Learning Inference", arXiv 2004.09602) cut the magnitudes
    at their percentile; these steps are unsigned, so each side is cut by its own. Values spread evenly inside a bin.
    """
    if share == 100:
        return min_max(counts, low, high)
    edges = np.linspace(low, max(high, low + 1e-8), len(counts) + 1)
    below = np.concatenate([[0], np.cumsum(counts)]) / max(int(counts.sum()), 1) * 100
    bottom, top = np.interp([(100 - share) / 2, (100 + share) / 2], below, edges)
    return Range(min(float(bottom), 0.0), max(float(top), 0.0))


def entropy(counts: NDArray[np.int64], low: float, high: float) -> Range:
    """The range whose 256 levels lose least information on values with this histogram.

    Migacz 2017 ("8-bit Inference with TensorRT", GTC S7310): the Kullback-Leibler divergence of the histogram whose
    outliers were clipped to the range's ends from the same histogram in 256 levels, each level's count shared out among
    those of its bins that hold something. Both ends are cut alike, at the shares that :func:`least_error` tries.
    """
    centres = _centres(counts, low, high)
    best, least = Range(low, high), np.inf
    for cut in _CUTS:
        candidate = Range(low * cut, high * cut)
        inside = np.flatnonzero((centres >= candidate.low) & (centres <= candidate.high))
        if not len(inside):
            # Nothing but zeros was seen.
            continue
        found = _divergence(counts.astype(np.float64), int(inside[0]), int(inside[-1]) + 1, _LEVELS)
        # Of equals the widest.
        if found <= least:
            best, least = candidate, found
    return best


def _divergence(counts: NDArray[np.float64], first: int, end: int, levels: int) -> float:
    """KL(clipped ‖ in levels) in nats of the bins ``first`` to ``end``."""
    kept = counts[first:end]
    clipped = kept.copy()
    clipped[0] += counts[:first].sum()
    clipped[-1] += counts[end:].sum()
    level = np.arange(len(kept)) * levels // len(kept)
    sums = np.bincount(level, kept, levels)
    filled = np.bincount(level, kept > 0, levels)
    coarse = np.where(kept > 0, (sums / np.maximum(filled, 1))[level], 0)
    coarse = np.maximum(coarse, _FLOOR * (clipped > 0))
    p, q = clipped / clipped.sum(), coarse / max(coarse.sum(), _FLOOR)
    some = p > 0
    return float((p[some] * np.log(p[some] / q[some])).sum())


def channel_maxima(weights: ModelWeights, texts: list[list[int]], products: list[str]) -> dict[str, Array]:
    """Largest magnitude of each channel of the input of each product, ``[in]``."""
    largest: dict[str, Array] = {}
    for tensor, value in _inputs(weights, texts, products):
        found = np.abs(value.reshape(-1, value.shape[-1])).max(0)
        largest[tensor] = np.maximum(largest[tensor], found) if tensor in largest else found
    return {name: largest[tensor] for name, tensor in _tensors(weights, products).items()}


def second_moments(weights: ModelWeights, texts: list[list[int]], products: list[str]) -> dict[str, Any]:
    """Sum of ``xᵀx`` over all inputs ``x`` of each product, ``[in, in]``; products of one input share one array."""
    sums: dict[str, Any] = {}
    for tensor, value in _inputs(weights, texts, products):
        rows = value.reshape(-1, value.shape[-1]).astype(np.float64)
        sums[tensor] = sums[tensor] + rows.T @ rows if tensor in sums else rows.T @ rows
    return {name: sums[tensor] for name, tensor in _tensors(weights, products).items()}


def open_session(model: onnx.ModelProto | Path) -> Any:
    """ONNX Runtime on one thread of the CPU, from a model in memory or a file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    what = str(model) if isinstance(model, Path) else model.SerializeToString()
    return onnxruntime.InferenceSession(what, options, providers=["CPUExecutionProvider"])


def _centres(counts: NDArray[np.int64], low: float, high: float) -> NDArray[np.float64]:
    edges = np.linspace(low, max(high, low + 1e-8), len(counts) + 1)
    return (edges[1:] + edges[:-1]) / 2


def _tensors(weights: ModelWeights, products: list[str]) -> dict[str, str]:
    """Name of the tensor that each product takes, in the FP32 graph."""
    inputs = {node.name: node.tensor for node in nodes_of(weights) if node.tensor is not None}
    return {name: inputs[name] for name in products}


def _inputs(weights: ModelWeights, texts: list[list[int]], products: list[str]) -> Iterator[tuple[str, Array]]:
    """(tensor, its value) of every tensor that one of the products takes, for each text."""
    model = write_graph(weights, Float32())
    wanted = sorted(set(_tensors(weights, products).values()))
    if not wanted:
        return
    for tensor in wanted:
        model.graph.output.append(onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, None))
    session = open_session(model)
    for ids in texts:
        row = np.array([ids], np.int64)
        found = session.run(wanted, {"input_ids": row, "attention_mask": np.ones_like(row)})
        yield from zip(wanted, found, strict=True)
