"""A small writer of ONNX graphs: nodes and initialisers by name, in order."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

MICROSOFT = "com.microsoft"
# Opset 21 and IR 10 know 4-bit tensors; ONNX Runtime reads them since 1.18.
OPSET, IR_VERSION = 21, 10


@dataclass(frozen=True)
class Output:
    """A float output of the graph; names in ``shape`` are dynamic axes."""

    name: str
    shape: list[str | int]


class GraphWriter:
    """Collects nodes and initialisers; every method that adds a node returns its first output's name.

    Args:
        standard: write operators of the ONNX standard only, for engines other than ONNX Runtime.
    """

    def __init__(self, standard: bool = False) -> None:
        self.standard = standard
        self._nodes: list[onnx.NodeProto] = []
        self._initialisers: dict[str, onnx.TensorProto] = {}
        self._shared: set[str] = set()

    def constant(self, name: str, value: Any) -> str:
        """Add an initialiser once; the same name with the same use is shared."""
        if name not in self._initialisers:
            array = np.asarray(value)
            # ascontiguousarray would make a vector of a scalar.
            self._initialisers[name] = numpy_helper.from_array(
                np.ascontiguousarray(array) if array.ndim else array, name
            )
        return name

    def packed_int4(self, name: str, values: Any) -> str:
        """Add a signed 4-bit initialiser from integers in −8..7; two to a byte, the first in the low half."""
        flat = (np.asarray(values, np.int8).reshape(-1) & 0x0F).astype(np.uint8)
        flat = np.append(flat, np.zeros(flat.size % 2, np.uint8))
        raw = (flat[0::2] | (flat[1::2] << 4)).tobytes()
        self._initialisers[name] = helper.make_tensor(name, TensorProto.INT4, list(np.shape(values)), raw, raw=True)
        return name

    def node(self, op: str, inputs: list[str], name: str, domain: str = "", outputs: int = 1, **attributes: Any) -> str:
        """Add a node whose outputs are ``name`` or, when there are several, ``name.0``, ``name.1``, ..."""
        names = [name] if outputs == 1 else [f"{name}.{i}" for i in range(outputs)]
        self._nodes.append(helper.make_node(op, inputs, names, name=name, domain=domain, **attributes))
        return names[0]

    def once(self, op: str, inputs: list[str], name: str, **attributes: Any) -> str:
        """Like :meth:`node`, but the same name asked for again is the node that is there."""
        if name in self._shared:
            return name
        self._shared.add(name)
        return self.node(op, inputs, name, **attributes)

    def times_transposed(self, a: str, b: str, name: str, rank: int) -> str:
        """``a @ b`` with the last two axes of ``b`` (of this rank) exchanged."""
        if not self.standard:
            return self.node("FusedMatMul", [a, b], name, MICROSOFT, transB=1)
        order = [*range(rank - 2), rank - 1, rank - 2]
        return self.node("MatMul", [a, self.node("Transpose", [b], f"{name}.transposed", perm=order)], name)

    def activation(self, kind: str, x: str, name: str) -> str:
        """``gelu``, ``gelu_new`` (the tanh approximation) or ``relu`` of ``x``."""
        if kind == "relu":
            return self.node("Relu", [x], name)
        if self.standard:
            return self.node("Gelu", [x], name, approximate="tanh" if kind == "gelu_new" else "none")
        return self.node("FastGelu" if kind == "gelu_new" else "Gelu", [x], name, MICROSOFT)

    def stored_bytes(self) -> dict[str, int]:
        """Bytes of each initialiser so far, by name."""
        return {name: tensor.ByteSize() for name, tensor in self._initialisers.items()}

    def model(self, inputs: list[str], outputs: list[Output]) -> onnx.ModelProto:
        """The finished model: int64 ``[batch, sequence]`` inputs, float outputs."""
        graph = helper.make_graph(
            self._nodes,
            "edgedistil",
            [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"]) for name in inputs],
            [helper.make_tensor_value_info(o.name, TensorProto.FLOAT, o.shape) for o in outputs],
            list(self._initialisers.values()),
        )
        return helper.make_model(
            graph,
            ir_version=IR_VERSION,
            producer_name="edgedistil",
            opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)],
        )
