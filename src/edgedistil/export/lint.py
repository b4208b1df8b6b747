"""Faults that exporters are known to leave in ONNX files, looked for in every file that we publish."""

from collections.abc import Iterable
from typing import Any

import onnx

# Smaller tensors (biases, scales, gains) may repeat and may stay in float.
_MATRIX_BYTES = 16_384
_FLOATS = {onnx.TensorProto.FLOAT: 4, onnx.TensorProto.FLOAT16: 2, onnx.TensorProto.DOUBLE: 8}


def lint(model: onnx.ModelProto, quantised: bool, float_tables: bool = False, kept: Iterable[str] = ()) -> list[str]:
    """One line a fault; an empty list is a clean file.

    Looks for matrices stored twice (tied weights that an exporter copied: optimum#1326), float matrices left over in a
    quantised graph, dropout in training mode, and initialisers that nothing reads.

    Args:
        float_tables: the embedding tables are meant to stay in float (``quantization.embeddings=false``).
        kept: products and tables that are meant to stay in float, by their names in the graph.
    """
    faults: list[str] = []
    seen: dict[bytes, str] = {}
    tables = ("words.", "positions.") if float_tables else ()
    meant_float = ("logits.", "spans.", "types.", "own_", *tables, *(f"{name}." for name in kept))
    used = {name for node in model.graph.node for name in node.input} | {o.name for o in model.graph.output}
    for tensor in model.graph.initializer:
        size = len(tensor.raw_data)
        if tensor.name not in used:
            faults.append(f"{tensor.name} is stored and never read")
        if size < _MATRIX_BYTES:
            continue
        first = seen.setdefault(tensor.raw_data, tensor.name)
        if first != tensor.name:
            faults.append(f"{tensor.name} is stored twice (as {first} too)")
        meant = tensor.name.endswith(".scale") or tensor.name.startswith(meant_float)
        if quantised and tensor.data_type in _FLOATS and len(tensor.dims) > 1 and not meant:
            faults.append(f"{tensor.name} is left in float ({size / 1e6:.2f} MB) in a quantised graph")
    faults += [
        f"{node.name or node.op_type} is dropout in training mode"
        for node in model.graph.node
        if _is_live_dropout(node, model)
    ]
    return faults


def _is_live_dropout(node: onnx.NodeProto, model: onnx.ModelProto) -> bool:
    if node.op_type != "Dropout" or len(node.input) < 3 or not node.input[2]:
        return False
    mode = next((t for t in model.graph.initializer if t.name == node.input[2]), None)
    return mode is None or bool(onnx.numpy_helper.to_array(mode).any())


def bytes_by_part(model: onnx.ModelProto) -> dict[str, int]:
    """Bytes of the initialisers: embedding tables, encoder and head, everything else."""
    parts: dict[str, Any] = {"embeddings": 0, "encoder": 0, "head": 0, "other": 0}
    for tensor in model.graph.initializer:
        name = tensor.name
        part = (
            "embeddings"
            if name.startswith(("words.", "positions.", "types.", "embeddings."))
            else "encoder"
            if name.startswith("layer")
            else "head"
            if name.startswith(("dense.", "logits.", "spans", "transform"))
            else "other"
        )
        parts[part] += len(tensor.raw_data)
    return parts
