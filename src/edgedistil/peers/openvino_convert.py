"""From an ONNX file to OpenVINO's format, in FP32 or quantised after training by NNCF."""

from pathlib import Path
from typing import Any

import onnx

from ..export.writer import MICROSOFT
from .telemetry import no_reports

# ONNX Runtime's own operators in our graphs, and the standard ones (opset 20) that compute the same.
_STANDARD = {"Gelu": {}, "FastGelu": {"approximate": "tanh"}}


def standard_operators(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a float graph of ours without operators of ONNX Runtime's own domain.

    Raises:
        ValueError: an operator has no standard counterpart, or takes a bias that the standard one has not.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for node in copy.graph.node:
        if node.domain != MICROSOFT:
            continue
        if node.op_type not in _STANDARD or len(node.input) != 1:
            raise ValueError(f"{node.name} ({node.op_type}, {len(node.input)} inputs) has no standard counterpart")
        attributes = _STANDARD[node.op_type]
        node.op_type, node.domain = "Gelu", ""
        node.attribute.extend(onnx.helper.make_attribute(k, v) for k, v in attributes.items())
    kept = [opset for opset in copy.opset_import if opset.domain != MICROSOFT]
    del copy.opset_import[:]
    copy.opset_import.extend(kept)
    return copy


@no_reports()
def convert_float(graph: Path, target: Path) -> None:
    """Write ``target`` (``.xml``, with its ``.bin`` beside it) with weights in FP32."""
    import openvino

    # By default it would store the weights in FP16.
    openvino.save_model(openvino.Core().read_model(graph), target, compress_to_fp16=False)


@no_reports()
def convert_int8(graph: Path, target: Path, rows: list[dict[str, Any]], reduce_range: bool) -> None:
    """Quantise weights and activations (static, from ``rows``) and write ``target``.

    Args:
        rows: inputs by name, int64 ``[1, tokens]``, each at its own length: padding would widen the ranges.
        reduce_range: hold all weights within 7 bits, for processors whose 16-bit sums of 8-bit products overflow.
    """
    import nncf
    import openvino
    from nncf.quantization.advanced_parameters import OverflowFix

    model = openvino.Core().read_model(graph)
    names = {port.get_any_name() for port in model.inputs}
    data = nncf.Dataset([{name: row[name] for name in names} for row in rows])
    quantised = nncf.quantize(
        model,
        data,
        preset=nncf.QuantizationPreset.MIXED,
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(rows),
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            # NNCF's own choice holds back the first layer only.
            overflow_fix=OverflowFix.ENABLE if reduce_range else OverflowFix.FIRST_LAYER
        ),
    )
    openvino.save_model(quantised, target, compress_to_fp16=False)
