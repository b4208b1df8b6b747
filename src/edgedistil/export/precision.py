"""How matrices and tables are stored and multiplied: FP32, dynamic INT8, blocks of 4 bits.

Each class has the same two methods, so the graph is written once for all of them.
"""

from typing import Any, Protocol

import numpy as np
from onnx import TensorProto

from ..errors import UserError
from .weights import Array, Linear
from .writer import MICROSOFT, GraphWriter


class Precision(Protocol):
    """A way to store weights."""

    def linear(self, graph: GraphWriter, x: str, layer: Linear, name: str) -> str:
        """``x @ weight + bias`` over the last axis of ``x``."""

    def lookup(self, graph: GraphWriter, table: Array, ids: str, name: str) -> str:
        """Rows ``ids`` of a table ``[rows, width]``, as float."""


class Float32:
    """Weights as they are."""

    def linear(self, graph: GraphWriter, x: str, layer: Linear, name: str) -> str:
        product = graph.node("MatMul", [x, graph.constant(f"{name}.weight", layer.weight)], f"{name}.product")
        return graph.node("Add", [product, graph.constant(f"{name}.bias", layer.bias)], name)

    def lookup(self, graph: GraphWriter, table: Array, ids: str, name: str) -> str:
        return graph.node("Gather", [graph.constant(f"{name}.table", table), ids], name)


class DynamicInt8:
    """Signed 8-bit weights with a scale per output channel, unsigned 8-bit activations quantised as they come.

    ONNX Runtime has fast x86 kernels for unsigned × signed only. Without VNNI their 16-bit sums saturate, so there
    ``reduce_range`` keeps weights within 7 bits.
    """

    def __init__(self, embeddings: bool, reduce_range: bool) -> None:
        self._embeddings, self._limit = embeddings, 63 if reduce_range else 127

    def linear(self, graph: GraphWriter, x: str, layer: Linear, name: str) -> str:
        quantised, scale = _symmetric(layer.weight, axis=0, limit=self._limit)
        zero = np.zeros(scale.shape, np.int8)
        inputs = [
            x,
            graph.constant(f"{name}.weight", quantised),
            graph.constant(f"{name}.scale", scale),
            graph.constant(f"zeros_{zero.size}", zero),
            graph.constant(f"{name}.bias", layer.bias),
        ]
        return graph.node("DynamicQuantizeMatMul", inputs, name, MICROSOFT)

    def lookup(self, graph: GraphWriter, table: Array, ids: str, name: str) -> str:
        if not self._embeddings:
            return Float32().lookup(graph, table, ids, name)
        quantised, scale = _symmetric(table, axis=1, limit=127)
        rows = graph.node("Gather", [graph.constant(f"{name}.table", quantised), ids], f"{name}.rows")
        scales = graph.node("Gather", [graph.constant(f"{name}.scale", scale[:, None]), ids], f"{name}.scales")
        floats = graph.node("Cast", [rows], f"{name}.float", to=TensorProto.FLOAT)
        return graph.node("Mul", [floats, scales], name)


class Blocks4Bit:
    """4-bit weights in blocks along the input axis, one scale a block (round to nearest).

    Args:
        accuracy_level: of ``MatMulNBits``: 0 computes in float, 4 quantises activations to 8 bits.
    """

    def __init__(self, embeddings: bool, block_size: int, accuracy_level: int) -> None:
        if block_size & (block_size - 1):
            raise UserError(
                f"compression.quantization.block_size={block_size} is no power of two; allowed: 16, 32, 64, 128, 256"
            )
        self._embeddings, self._block, self._level = embeddings, block_size, accuracy_level

    def linear(self, graph: GraphWriter, x: str, layer: Linear, name: str) -> str:
        depth, width = layer.weight.shape
        blocks = -(-depth // self._block)
        padded = np.zeros((width, blocks * self._block), np.float32)
        padded[:, :depth] = layer.weight.T
        values, scale = _blocks(padded.reshape(width, blocks, self._block))
        unsigned = (values + 8).astype(np.uint8)
        packed = unsigned[..., 0::2] | (unsigned[..., 1::2] << 4)
        product = graph.node(
            "MatMulNBits",
            [x, graph.constant(f"{name}.weight", packed), graph.constant(f"{name}.scale", scale.reshape(-1))],
            f"{name}.product",
            MICROSOFT,
            K=depth,
            N=width,
            bits=4,
            block_size=self._block,
            accuracy_level=self._level,
        )
        return graph.node("Add", [product, graph.constant(f"{name}.bias", layer.bias)], name)

    def lookup(self, graph: GraphWriter, table: Array, ids: str, name: str) -> str:
        if not self._embeddings or table.shape[1] % self._block:
            return DynamicInt8(self._embeddings, False).lookup(graph, table, ids, name)
        values, scale = _blocks(table.reshape(len(table), -1, self._block))
        inputs = [
            graph.packed_int4(f"{name}.table", values.reshape(table.shape)),
            ids,
            graph.constant(f"{name}.scale", scale),
        ]
        return graph.node(
            "GatherBlockQuantized", inputs, name, MICROSOFT, gather_axis=0, quantize_axis=1, block_size=self._block
        )


def precision_of(quantization: dict[str, Any]) -> Precision:
    """The precision that a canonical ``compression.quantization`` names."""
    method = quantization["method"]
    if method == "none":
        return Float32()
    if method == "int8_dynamic":
        return DynamicInt8(quantization["embeddings"], quantization["reduce_range"])
    if method == "int4_ort":
        return Blocks4Bit(quantization["embeddings"], quantization["block_size"], quantization["accuracy_level"])
    raise ValueError(f"{method} has no ONNX form")


def _symmetric(matrix: Array, axis: int, limit: int) -> tuple[Any, Any]:
    """Signed 8-bit values and one scale for each index that is left when ``axis`` is reduced."""
    scale = np.maximum(np.abs(matrix).max(axis=axis), 1e-12).astype(np.float32) / limit
    spread = scale[None, :] if axis == 0 else scale[:, None]
    return np.clip(np.rint(matrix / spread), -limit, limit).astype(np.int8), scale


def _blocks(values: Array) -> tuple[Any, Any]:
    """Signed 4-bit values and scales of blocks along the last axis.

    The entry of largest magnitude becomes exactly −8, so that the whole range −8..7 is used.
    """
    place = np.abs(values).argmax(-1)[..., None]
    extreme = np.take_along_axis(values, place, -1)[..., 0]
    scale = np.where(extreme == 0, 1.0, extreme / -8).astype(np.float32)
    return np.clip(np.rint(values / scale[..., None]), -8, 7).astype(np.int8), scale
