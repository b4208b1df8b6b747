"""Weights stored in 16 bits and multiplied in 32: half the file, the arithmetic of FP32."""

from typing import Any

import numpy as np
from onnx import TensorProto

from ..errors import UserError
from .weights import Array, Linear
from .writer import GraphWriter


class Float16:
    """Matrices and tables as IEEE half precision, each widened to FP32 once, when ONNX Runtime folds constants as the
    session loads. Its CPU provider has hardly any products in half precision, so nothing is faster for it; biases and
    norms, which are small, stay as they are."""

    def linear(self, graph: GraphWriter, x: str, layer: Linear, name: str) -> str:
        product = graph.node("MatMul", [x, self._widened(graph, f"{name}.weight", layer.weight)], f"{name}.product")
        if not layer.bias.any():
            return product
        return graph.node("Add", [product, graph.constant(f"{name}.bias", layer.bias)], name)

    def lookup(self, graph: GraphWriter, table: Array, ids: str, name: str, tied: bool = False) -> str:
        """Rows are widened after they are looked up, so that the table stays small in memory too."""
        rows = graph.node("Gather", [self._stored(graph, f"{name}.table", table), ids], f"{name}.rows")
        return graph.node("Cast", [rows], name, to=TensorProto.FLOAT)

    def decode(self, graph: GraphWriter, x: str, table: Array, bias: Array, table_name: str, name: str) -> str:
        stored = self._widened(graph, f"{table_name}.table", table)
        product = graph.times_transposed(x, stored, f"{name}.product", rank=2)
        return graph.node("Add", [product, graph.constant(f"{name}.bias", bias)], name)

    def _widened(self, graph: GraphWriter, name: str, values: Array) -> str:
        return graph.once("Cast", [self._stored(graph, name, values)], f"{name}.float", to=TensorProto.FLOAT)

    @staticmethod
    def _stored(graph: GraphWriter, name: str, values: Any) -> str:
        largest = float(np.abs(values).max())
        if largest > float(np.finfo(np.float16).max):
            raise UserError(
                f"compression.quantization.method=fp16: {name} holds {largest:g}, and 16 bits reach to 65504; use "
                "compression/quantization=none or int8_dynamic"
            )
        return graph.constant(name, np.asarray(values).astype(np.float16))
