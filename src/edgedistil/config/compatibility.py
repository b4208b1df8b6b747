"""Which cells can't exist: decided from the config alone, before anything runs."""

from typing import Any

from .device import why_not_on
from .pruning import why_budget_impossible

_ENGINES = {
    "none": ("onnxruntime", "torch"),
    "fp16": ("onnxruntime", "torch"),
    "bf16": ("torch",),
    "int8_dynamic": ("onnxruntime",),
    "int8_static": ("onnxruntime",),
    "int4_ort": ("onnxruntime",),
    "nf4": ("torch",),
    "llm_int8": ("torch",),
}
# Whose rounding learning/fake_quantisation.py imitates.
_TRAINED_FOR = ("int8_dynamic", "int4_ort")
_NOT_TRAINED_FOR = ("smooth", "rounding", "exclude", "max_drop")


def why_impossible(compression: dict[str, Any], device: dict[str, Any], bare_onnx: bool) -> str | None:
    """One line that says why this combination can't run, or None when it can."""
    method = compression["quantization"]["method"]
    engine = device["engine"]
    if compression["pruning"]["method"] == "magnitude" and compression["recovery"]["method"] != "none":
        return "recovery would fill the zeros of magnitude pruning again: use compression/recovery=none, or structured"
    if compression["pruning"].get("budget") == "latency_ms" and device.get("kind", "cpu") != "cpu":
        return (
            "compression.pruning.budget=latency_ms is counted by this machine's processor: cut for device=cpu, or use "
            "compression.pruning.ratio"
        )
    uncountable = why_budget_impossible(compression, engine)
    if uncountable:
        return uncountable
    if "qat" in compression:
        if compression["pruning"]["method"] == "magnitude":
            return "quantisation-aware training would fill the zeros of magnitude pruning: use compression/qat=none"
        if method not in _TRAINED_FOR:
            return f"quantisation-aware training knows the rounding of {' and '.join(_TRAINED_FOR)}, not of {method}"
        other = [key for key in _NOT_TRAINED_FOR if key in compression["quantization"]]
        if other:
            return f"quantisation-aware training imitates plain rounding: leave out compression.quantization.{other[0]}"
    if engine not in _ENGINES[method]:
        allowed = " or ".join(_ENGINES[method])
        if "torch" in _ENGINES[method]:
            return f"{method} is a load-time step of PyTorch without an ONNX file: it needs device.engine={allowed}"
        return f"{method} is made of ONNX Runtime's own operators: it needs device.engine={allowed}"
    refused = why_not_on(device, method) if "kind" in device else None
    if refused:
        return refused
    if "head" in compression.get("graph", {}) and (bare_onnx or engine != "onnxruntime"):
        return "compression.graph.head=vocabulary is written into an ONNX file: it needs device.engine=onnxruntime"
    changed = compression["pruning"]["method"] != "none" or bool({"vocabulary", "embeddings"} & compression.keys())
    if bare_onnx and (changed or method != "none"):
        return "a bare ONNX file is measured as it is: compression needs a Hugging Face folder"
    if bare_onnx and engine != "onnxruntime":
        return f"a bare ONNX file runs on ONNX Runtime only, not on device.engine={engine}"
    return None
