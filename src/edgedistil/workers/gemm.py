"""The calibration worker: one large matrix product in FP32 and one in INT8, as a measure of what the cores give now.

The products are ONNX Runtime's own (MatMul; MatMulInteger of unsigned activations and signed weights, U8S8, which is
what dynamic quantisation runs), so the figures are the ceiling of the engine that ships. Run as ``python -m
edgedistil.workers.gemm``. Rows of a batch name the product: ``[[0]]`` is FP32, ``[[1]]`` INT8.
"""

import time

STARTED_NS = time.monotonic_ns()

from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from edgedistil.workers.loop import serve  # noqa: E402

# Large enough that packing and calls are lost in it, small enough to stay in a last-level cache.
SIZE = 768
OPERATIONS = 2 * SIZE**3

# (zero point, largest weight) of each form; two neighbouring products of 255 with it are summed in 16 bits, or not.
_EXTREMES = {"s8": (0, 127), "s8_7bit": (0, 63), "u8": (128, 255)}
_DEPTH = 64


class GemmEngine:
    """Two ONNX graphs of one product each, ``SIZE`` × ``SIZE`` × ``SIZE``, with constant weights."""

    def load(self, request: dict[str, Any]) -> dict[str, int]:
        import numpy
        import onnx
        import onnxruntime
        from onnx import TensorProto, helper, numpy_helper

        imported = time.monotonic_ns()
        chance = numpy.random.default_rng(0)
        self._products = []
        for operator, left, right, out in (
            ("MatMul", TensorProto.FLOAT, numpy.float32, TensorProto.FLOAT),
            ("MatMulInteger", TensorProto.UINT8, numpy.int8, TensorProto.INT32),
        ):
            shape = (SIZE, SIZE)
            weights = chance.integers(-60, 60, shape).astype(right)
            graph = helper.make_graph(
                [helper.make_node(operator, ["x", "w"], ["y"])],
                operator,
                [helper.make_tensor_value_info("x", left, shape)],
                [helper.make_tensor_value_info("y", out, shape)],
                [numpy_helper.from_array(weights, "w")],
            )
            model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
            onnx.checker.check_model(model)
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = request["threads"]
            options.inter_op_num_threads = 1
            session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            feed = {"x": chance.integers(0, 120, shape).astype(numpy.float32 if right is numpy.float32 else "uint8")}
            self._products.append((session, feed))
        return {"imported": imported, "session": time.monotonic_ns()}

    def probe(self) -> dict[str, Any]:
        """Whether ONNX Runtime's unsigned × signed 8-bit products saturate here, by the form of the weights.

        One product with the largest activations (255) and the largest weights of each form, against exact integers.
        """
        return {form: not _is_exact(zero, weight) for form, (zero, weight) in _EXTREMES.items()}

    def pack(self, rows: list[list[int]]) -> Any:
        return self._products[rows[0][0]]

    def run(self, packed: Any) -> Any:
        session, feed = packed
        return session.run(None, feed)


def write_products(folder: Path) -> dict[str, Path]:
    """The same two products as model folders for the native runner, by name.

    One token id, 0, picks the left side out of a table, so that nothing can be computed beforehand; ``logits`` are a
    few numbers of the product.
    """
    import numpy
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    chance, made = numpy.random.default_rng(0), {}
    for name, operator, kind in (("fp32", "MatMul", numpy.float32), ("int8", "MatMulInteger", numpy.int8)):
        weights = chance.integers(-60, 60, (SIZE, SIZE)).astype(kind)
        left = chance.integers(0, 120, (1, SIZE, SIZE)).astype(numpy.float32 if kind is numpy.float32 else numpy.uint8)
        bounds = {"starts": [0, 0], "ends": [1, 8], "axes": [2, 3]}
        graph = helper.make_graph(
            [
                helper.make_node("Gather", ["left", "input_ids"], ["x"]),
                helper.make_node(operator, ["x", "right"], ["product"]),
                helper.make_node("Slice", ["product", *bounds], ["corner"]),
                helper.make_node("Cast", ["corner"], ["floats"], to=TensorProto.FLOAT),
                helper.make_node("Reshape", ["floats", "shape"], ["logits"]),
            ],
            operator,
            [helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, 1])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 8])],
            [
                numpy_helper.from_array(left, "left"),
                numpy_helper.from_array(weights, "right"),
                numpy_helper.from_array(numpy.array([1, 8]), "shape"),
                *(numpy_helper.from_array(numpy.array(value), key) for key, value in bounds.items()),
            ],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model)
        made[name] = folder / name
        made[name].mkdir(parents=True)
        onnx.save(model, made[name] / "model.onnx")
    return made


def _is_exact(zero: int, weight: int) -> bool:
    import numpy
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    kind = numpy.uint8 if zero else numpy.int8
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "w", "", "zero"], ["y"])],
        "probe",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, (_DEPTH, _DEPTH))],
        [helper.make_tensor_value_info("y", TensorProto.INT32, (_DEPTH, _DEPTH))],
        [
            numpy_helper.from_array(numpy.full((_DEPTH, _DEPTH), weight, kind), "w"),
            numpy_helper.from_array(numpy.array(zero, kind), "zero"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": numpy.full((_DEPTH, _DEPTH), 255, numpy.uint8)})
    return bool((found == _DEPTH * 255 * (weight - zero)).all())


if __name__ == "__main__":
    serve(GemmEngine(), STARTED_NS)
