"""Ranges of activations, observed on real texts: what a static 8-bit quantisation needs to know beforehand."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from .graph import write_graph
from .precision import Float32
from .weights import Linear, ModelWeights
from .writer import GraphWriter

_BINS = 2048
# Shares of the largest magnitude at which a range may be cut.
_CUTS = np.linspace(0.3, 1.0, 36)


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


class _Observed(Float32):
    """FP32 that remembers which tensor each product takes."""

    def __init__(self) -> None:
        self.inputs: dict[str, str] = {}

    def linear(self, graph: GraphWriter, x: str, layer: Linear, name: str) -> str:
        self.inputs[name] = x
        return super().linear(graph, x, layer, name)


def observe(weights: ModelWeights, texts: list[list[int]], products: list[str]) -> dict[str, Range]:
    """Run the FP32 graph on ``texts`` (token ids, one at a time) and choose a range for the input of each product.

    Twice through the texts: extremes first, then a histogram of 2048 bins between them, from which the cut of least
    expected squared error is taken (rounding inside the range, clipping outside; as in the MSE observers of PyTorch
    and of Nagel et al. 2021, section 2.2.1).
    """
    precision = _Observed()
    model = write_graph(weights, precision)
    tensors = {name: precision.inputs[name] for name in products}
    for tensor in sorted(set(tensors.values())):
        model.graph.output.append(onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, None))
    session = open_session(model)
    wanted = sorted(set(tensors.values()))
    extremes = {t: [0.0, 0.0] for t in wanted}
    for values in _runs(session, texts, wanted):
        for tensor, value in values.items():
            low, high = extremes[tensor]
            extremes[tensor] = [min(low, float(value.min())), max(high, float(value.max()))]
    counts = {t: np.zeros(_BINS, np.int64) for t in wanted}
    for values in _runs(session, texts, wanted):
        for tensor, value in values.items():
            low, high = extremes[tensor]
            counts[tensor] += np.histogram(value, _BINS, (low, max(high, low + 1e-8)))[0]
    chosen = {t: least_error(counts[t], *extremes[t]) for t in wanted}
    return {name: chosen[tensor] for name, tensor in tensors.items()}


def least_error(counts: NDArray[np.int64], low: float, high: float) -> Range:
    """The range inside ``low``..``high`` whose 256 steps err least on values with this histogram."""
    edges = np.linspace(low, max(high, low + 1e-8), len(counts) + 1)
    centres = (edges[1:] + edges[:-1]) / 2
    best, best_error = Range(low, high), np.inf
    for cut in _CUTS:
        candidate = Range(low * cut, high * cut)
        outside = np.maximum(candidate.low - centres, 0) + np.maximum(centres - candidate.high, 0)
        error = float((counts * (outside**2 + (outside == 0) * candidate.scale**2 / 12)).sum())
        if error < best_error:
            best, best_error = candidate, error
    return best


def open_session(model: onnx.ModelProto) -> Any:
    """ONNX Runtime on one thread of the CPU, from a model in memory."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _runs(session: Any, texts: list[list[int]], tensors: list[str]) -> Any:
    for ids in texts:
        row = np.array([ids], np.int64)
        found = session.run(tensors, {"input_ids": row, "attention_mask": np.ones_like(row)})
        yield dict(zip(tensors, found, strict=True))
