"""How matrices and tables are stored and multiplied: FP32, INT8, blocks of 4 bits, or each in a way of its own.

Each class has the same two methods, so the graph is written once for all of them.
"""

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from onnx import TensorProto

from ..errors import UserError
from .rounding import ROUNDINGS, asymmetric, gptq, half_quadratic, nearest, search
from .weights import Array, Linear
from .writer import MICROSOFT, GraphWriter

if TYPE_CHECKING:
    from .calibration import Range

WEIGHTS = ("s8", "s8_7bit", "u8")
# Embedding tables by their names in the graph.
TABLES = ("words", "positions")


class Precision(Protocol):
    """A way to store weights."""

    def linear(self, graph: GraphWriter, x: str, layer: Linear, name: str) -> str:
        """``x @ weight + bias`` over the last axis of ``x``."""

    def lookup(self, graph: GraphWriter, table: Array, ids: str, name: str, tied: bool = False) -> str:
        """Rows ``ids`` of a table ``[rows, width]``, as float; ``tied``: :meth:`decode` will multiply by it too."""

    def decode(self, graph: GraphWriter, x: str, table: Array, bias: Array, table_name: str, name: str) -> str:
        """``x @ table.T + bias`` for a table that :meth:`lookup` stored under ``table_name``."""


class Float32:
    """Weights as they are."""

    def linear(self, graph: GraphWriter, x: str, layer: Linear, name: str) -> str:
        weight = graph.constant(f"{name}.weight", layer.weight)
        if not layer.bias.any():
            return graph.node("MatMul", [x, weight], name)
        product = graph.node("MatMul", [x, weight], f"{name}.product")
        return graph.node("Add", [product, graph.constant(f"{name}.bias", layer.bias)], name)

    def lookup(self, graph: GraphWriter, table: Array, ids: str, name: str, tied: bool = False) -> str:
        return graph.node("Gather", [graph.constant(f"{name}.table", table), ids], name)

    def decode(self, graph: GraphWriter, x: str, table: Array, bias: Array, table_name: str, name: str) -> str:
        stored = graph.constant(f"{table_name}.table", table)
        product = graph.times_transposed(x, stored, f"{name}.product", rank=2)
        return graph.node("Add", [product, graph.constant(f"{name}.bias", bias)], name)


class DynamicInt8:
    """8-bit weights with a scale per output channel, unsigned 8-bit activations quantised as they come.

    Args:
        embeddings: quantise the tables too.
        weights: ``s8``: signed, the fast form of x86 with VNNI and of Arm; ``s8_7bit``: signed within ±63, for x86
            without VNNI, whose 16-bit sums of unsigned × signed products saturate; ``u8``: unsigned around 128, exact
            everywhere and half as fast without VNNI. Never signed × signed on x86: it has no fast kernel there.
    """

    def __init__(self, embeddings: bool, weights: str) -> None:
        if weights not in WEIGHTS:
            raise ValueError(f"weights={weights!r} is none of {', '.join(WEIGHTS)}")
        self._embeddings, self._weights = embeddings, weights
        self._limit = 63 if weights == "s8_7bit" else 127

    def linear(self, graph: GraphWriter, x: str, layer: Linear, name: str) -> str:
        quantised, scale = _symmetric(layer.weight, axis=0, limit=self._limit)
        stored = graph.constant(f"{name}.weight", self._signed_or_not(quantised))
        return self._product(graph, x, stored, graph.constant(f"{name}.scale", scale), layer.bias, name)

    def lookup(self, graph: GraphWriter, table: Array, ids: str, name: str, tied: bool = False) -> str:
        if not self._embeddings:
            return Float32().lookup(graph, table, ids, name)
        quantised, scale = _symmetric(table, axis=1, limit=63 if tied and self._weights != "s8" else 127)
        rows = graph.node("Gather", [graph.constant(f"{name}.table", quantised), ids], f"{name}.rows")
        scales = graph.node("Gather", [graph.constant(f"{name}.scale", scale[:, None]), ids], f"{name}.scales")
        floats = graph.node("Cast", [rows], f"{name}.float", to=TensorProto.FLOAT)
        return graph.node("Mul", [floats, scales], name)

    def decode(self, graph: GraphWriter, x: str, table: Array, bias: Array, table_name: str, name: str) -> str:
        if not self._embeddings:
            return Float32().decode(graph, x, table, bias, table_name, name)
        # Folded when the session loads: the file holds the table once.
        stored = graph.node("Transpose", [f"{table_name}.table"], f"{name}.weight", perm=[1, 0])
        axis = graph.constant("axis_1", np.array([1]))
        scale = graph.node("Squeeze", [f"{table_name}.scale", axis], f"{name}.scale")
        return self._product(graph, x, stored, scale, bias, name, signed=True)

    def _signed_or_not(self, quantised: Any) -> Any:
        return (quantised.astype(np.int16) + 128).astype(np.uint8) if self._weights == "u8" else quantised

    def _product(
        self, graph: GraphWriter, x: str, weight: str, scale: str, bias: Array, name: str, signed: bool = False
    ) -> str:
        inputs = [x, weight, scale, self._zeros(graph, bias.size, self._weights == "u8" and not signed)]
        if bias.any():
            inputs.append(graph.constant(f"{name}.bias", bias))
        return graph.node("DynamicQuantizeMatMul", inputs, name, MICROSOFT)

    @staticmethod
    def _zeros(graph: GraphWriter, size: int, unsigned: bool) -> str:
        """The weights' zero point, once for every output channel."""
        zero = np.full(size, 128, np.uint8) if unsigned else np.zeros(size, np.int8)
        return graph.constant(f"zeros{'_u8' * unsigned}_{size}", zero)


class MixedInt8(DynamicInt8):
    """Like :class:`DynamicInt8`, but products with a known range take it instead of looking for it at every call.

    Args:
        static: range of the input by the product's name, from :mod:`edgedistil.export.calibration`.
    """

    def __init__(self, embeddings: bool, weights: str, static: "dict[str, Range]") -> None:
        super().__init__(embeddings, weights)
        self._static = static

    def linear(self, graph: GraphWriter, x: str, layer: Linear, name: str) -> str:
        if name not in self._static:
            return super().linear(graph, x, layer, name)
        quantised, scale = _symmetric(layer.weight, axis=0, limit=self._limit)
        known = self._static[name]
        step = graph.constant(f"{name}.input.scale", known.scale)
        zero = graph.constant(f"{name}.input.zero_point", known.zero_point)
        inputs = [
            graph.node("QuantizeLinear", [x, step, zero], f"{name}.input"),
            graph.constant(f"{name}.weight", self._signed_or_not(quantised)),
            step,
            graph.constant(f"{name}.scale", scale),
            zero,
            self._zeros(graph, layer.bias.size, self._weights == "u8"),
        ]
        if layer.bias.any():
            inputs.append(graph.constant(f"{name}.bias", layer.bias))
        return graph.node("MatMulIntegerToFloat", inputs, name, MICROSOFT)


class Blocks4Bit:
    """4-bit weights in blocks along the input axis, one scale a block.

    Args:
        accuracy_level: of ``MatMulNBits``: 0 computes in float, 4 quantises activations to 8 bits.
        rounding: one of :data:`~edgedistil.export.rounding.ROUNDINGS`. Tables know ``nearest`` and ``search``, which
            they take with every other rounding of products.
        moments: of each product's input by the product's name, for ``gptq``
            (:func:`edgedistil.export.calibration.second_moments`).
    """

    def __init__(
        self,
        embeddings: bool,
        block_size: int,
        accuracy_level: int,
        rounding: str = "nearest",
        moments: dict[str, Any] | None = None,
    ) -> None:
        if block_size & (block_size - 1):
            raise UserError(
                f"compression.quantization.block_size={block_size} is no power of two; allowed: 16, 32, 64, 128, 256"
            )
        if rounding not in ROUNDINGS:
            raise ValueError(f"rounding={rounding!r} is none of {', '.join(ROUNDINGS)}")
        self._embeddings, self._block, self._level = embeddings, block_size, accuracy_level
        self._rounding, self._moments = rounding, moments or {}

    def linear(self, graph: GraphWriter, x: str, layer: Linear, name: str) -> str:
        depth, width = layer.weight.shape
        unsigned, scale, zero = self._rounded(layer.weight, name)
        packed = unsigned[..., 0::2] | (unsigned[..., 1::2] << 4)
        inputs = [x, graph.constant(f"{name}.weight", packed), graph.constant(f"{name}.scale", scale.reshape(-1))]
        if zero is not None:
            inputs.append(graph.constant(f"{name}.zero_point", zero.reshape(-1)))
        product = graph.node(
            "MatMulNBits",
            inputs,
            f"{name}.product",
            MICROSOFT,
            K=depth,
            N=width,
            bits=4,
            block_size=self._block,
            accuracy_level=self._level,
        )
        if not layer.bias.any():
            return product
        return graph.node("Add", [product, graph.constant(f"{name}.bias", layer.bias)], name)

    def _rounded(self, weight: Array, name: str) -> tuple[Any, Any, Any]:
        """Values in 0..15 ``[out, blocks, block]``, scales and, where they are not all 8, zero points."""
        if self._rounding == "gptq" and name in self._moments:
            values, scale = gptq(weight, self._moments[name], self._block)
            return (values + 8).astype(np.uint8), scale, None
        depth, width = weight.shape
        blocks = -(-depth // self._block)
        padded = np.zeros((width, blocks * self._block), np.float32)
        padded[:, :depth] = weight.T
        in_blocks = padded.reshape(width, blocks, self._block)
        if self._rounding == "hqq":
            return half_quadratic(in_blocks)
        if self._rounding == "asymmetric":
            found, scale, zero = asymmetric(in_blocks)
            # Two to a byte, the first in the low half; a row of blocks begins with a byte of its own.
            zero = np.pad(zero, ((0, 0), (0, blocks % 2)))
            return found, scale, zero[:, 0::2] | (zero[:, 1::2] << 4)
        values, scale = self._signed(in_blocks)
        return (values + 8).astype(np.uint8), scale, None

    def _signed(self, in_blocks: Array) -> tuple[Any, Any]:
        return nearest(in_blocks) if self._rounding == "nearest" else search(in_blocks)

    def decode(self, graph: GraphWriter, x: str, table: Array, bias: Array, table_name: str, name: str) -> str:
        # The two operators want their 4-bit values in different orders, so a decoder is stored beside its table.
        return self.linear(graph, x, Linear(np.ascontiguousarray(table.T), bias), name)

    def lookup(self, graph: GraphWriter, table: Array, ids: str, name: str, tied: bool = False) -> str:
        if not self._embeddings or table.shape[1] % self._block:
            return DynamicInt8(self._embeddings, "s8").lookup(graph, table, ids, name)
        values, scale = self._signed(table.reshape(len(table), -1, self._block))
        inputs = [
            graph.packed_int4(f"{name}.table", values.reshape(table.shape)),
            ids,
            graph.constant(f"{name}.scale", scale),
        ]
        return graph.node(
            "GatherBlockQuantized", inputs, name, MICROSOFT, gather_axis=0, quantize_axis=1, block_size=self._block
        )


class Mixed:
    """One precision for most products and tables, others for those that are named.

    Args:
        own: precision by the name of a product or table in the graph. A decoder that is tied to a table goes with it.
    """

    def __init__(self, default: Precision, own: dict[str, Precision]) -> None:
        self._default, self._own = default, own

    def linear(self, graph: GraphWriter, x: str, layer: Linear, name: str) -> str:
        return self._own.get(name, self._default).linear(graph, x, layer, name)

    def lookup(self, graph: GraphWriter, table: Array, ids: str, name: str, tied: bool = False) -> str:
        return self._own.get(name, self._default).lookup(graph, table, ids, name, tied)

    def decode(self, graph: GraphWriter, x: str, table: Array, bias: Array, table_name: str, name: str) -> str:
        return self._own.get(table_name, self._default).decode(graph, x, table, bias, table_name, name)


def _symmetric(matrix: Array, axis: int, limit: int) -> tuple[Any, Any]:
    """Signed 8-bit values and one scale for each index that is left when ``axis`` is reduced."""
    scale = np.maximum(np.abs(matrix).max(axis=axis), 1e-12).astype(np.float32) / limit
    spread = scale[None, :] if axis == 0 else scale[:, None]
    return np.clip(np.rint(matrix / spread), -limit, limit).astype(np.int8), scale
