"""From an ONNX file to OpenVINO's format, in FP32 or quantised after training by NNCF."""

from pathlib import Path
from typing import Any

from ..telemetry import no_reports


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
