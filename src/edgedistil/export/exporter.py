"""The plain ONNX file that everybody gets: PyTorch's exporter on the model as it is, in FP32."""

import logging
import warnings
from pathlib import Path
from typing import Any

from ..models.kinds import takes_token_types
from ..models.shrunken import load_classifier
from .parity import FLOAT_BOUND, parity

# The newest that the exporter's TorchScript path writes without converting versions afterwards.
_OPSET = 17


def export_standard(source: Path, target: Path, token_types: bool) -> dict[str, Any]:
    """Write ``target`` with both axes dynamic, and hold it against PyTorch's answers.

    The TorchScript path (``dynamo=False``) on eager attention, because ONNX Runtime's quantiser can't read what the
    newer path writes.

    Args:
        source: model folder with ``reference.safetensors``.
        token_types: export ``token_type_ids`` as a third input (BERT only); without it every token counts as type 0.

    Returns:
        Figures of :func:`edgedistil.export.parity.parity`.

    Raises:
        RuntimeError: the file does not answer as PyTorch does.
    """
    import torch

    model = load_classifier(source)
    model.set_attn_implementation("eager")
    names = ["input_ids", "attention_mask"]
    if token_types and takes_token_types(model):
        names.append("token_type_ids")

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *inputs: Any) -> Any:
            return self.model(**dict(zip(names, inputs, strict=True))).logits

    # eval() on the wrapper: left in training mode it would switch dropout on inside the exported model.
    wrapper = Logits().eval()
    sample = torch.ones(2, 7, dtype=torch.long)
    axes = {name: {0: "batch", 1: "sequence"} for name in names} | {"logits": {0: "batch"}}
    with warnings.catch_warnings():
        # The exporter says of itself that it will be replaced, and of every model what it could not follow: the
        # parity below tells.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            wrapper,
            tuple(sample.clone() for _ in names),
            str(target),
            dynamo=False,
            opset_version=_OPSET,
            input_names=names,
            output_names=["logits"],
            dynamic_axes=axes,
        )
    figures = parity(target, source)
    if figures["max_abs_difference"] > FLOAT_BOUND:
        raise RuntimeError(
            f"the exporter's FP32 logits differ from PyTorch's by {figures['max_abs_difference']:.2e}, allowed "
            f"{FLOAT_BOUND:.0e}"
        )
    return figures


def quantise_dynamic(model_file: Path, weights: str, tables: bool = True) -> None:
    """Replace a float file by its INT8 form, as ONNX Runtime's own quantiser makes it, per output channel.

    Args:
        weights: form of the weights, see :class:`edgedistil.export.precision.DynamicInt8`.
        tables: False leaves the embedding tables in float.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    graph = onnx.load(model_file, load_external_data=False).graph
    stored = {tensor.name for tensor in graph.initializer}
    lookups = [node.name for node in graph.node if node.op_type == "Gather" and node.input[0] in stored]
    # It tells of every activation that has no scale beforehand, as none has here.
    logging.disable(logging.WARNING)
    try:
        quantize_dynamic(
            model_file,
            model_file,
            per_channel=True,
            weight_type=QuantType.QUInt8 if weights == "u8" else QuantType.QInt8,
            reduce_range=weights == "s8_7bit",
            nodes_to_exclude=[] if tables else lookups,
        )
    finally:
        logging.disable(logging.NOTSET)
