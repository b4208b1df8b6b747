"""What a device takes, the canonical form of its options, and how much is measured on one that is emulated."""

from typing import Any

# What people call the precision of a method; several methods store weights in the same one.
PRECISIONS = {
    "none": "fp32",
    "fp16": "fp16",
    "bf16": "bf16",
    "int8_dynamic": "int8",
    "int8_static": "int8",
    "llm_int8": "int8",
    "int4_ort": "int4",
    "nf4": "int4",
}
# What of a phone's options changes a figure; the others say how it is reached, or are facts of the device itself.
_OF_A_PHONE = ("cores", "max_thermal_status", "sentences", "emulated_cpu")
_REHEARSED_TOKENS = 32
# Other engines stand beside a cell on this machine's processor alone.
_BASELINES = {"android": ("onnxruntime_fp32",), "cuda": ("torch_fp32",)}


def canonical_device(device: dict[str, Any], method: str) -> dict[str, Any]:
    """Drop what the kind of device does not read, so that equal work has one name.

    Args:
        method: of the cell's quantisation: 4 bits on ``device=cuda`` are the cells of ``device=cuda_4bit``.
    """
    result = {k: v for k, v in device.items() if k not in ("only", "gpu", "phone")}
    if device["kind"] == "cuda":
        result["gpu"] = device["gpu"]
        if device["name"] == "cuda" and PRECISIONS[method] == "int4":
            result["name"] = "cuda_4bit"
    if device["kind"] == "android":
        result["phone"] = {k: device["phone"][k] for k in _OF_A_PHONE if device["phone"][k] is not None}
    return result


def why_not_on(device: dict[str, Any], method: str) -> str | None:
    """One line that says why a device takes no model of this method, or None when it does."""
    kind, engine, precision = device["kind"], device["engine"], PRECISIONS[method]
    if device["only"] and precision not in device["only"]:
        return f"device={device['name']} measures {', '.join(device['only'])} alone, and this is {precision}"
    if kind == "android" and engine != "onnxruntime":
        return f"a phone runs ONNX Runtime only, not device.engine={engine}"
    if kind != "cuda" and engine == "torch" and precision in ("fp16", "bf16"):
        return f"{method} in PyTorch needs a GPU: use device=cuda, or device=cpu for an ONNX file of 16-bit weights"
    if kind == "cuda" and engine == "onnxruntime" and precision in ("int8", "int4"):
        return f"ONNX Runtime has no CUDA kernels for the products of {method}: use device.engine=torch"
    if kind == "cuda" and engine == "onnxruntime":
        asked = next((key for key in ("graphs", "compile", "unpadded") if device["gpu"][key]), None)
        if asked:
            return f"device.gpu.{asked} is PyTorch's: use device.engine=torch, or leave it out"
    beside = _BASELINES.get(kind, device["baselines"])
    wrong = [baseline for baseline in device["baselines"] if baseline not in beside]
    if wrong:
        return f"device.baselines holds {wrong[0]}, and beside a cell on {kind} there is {', '.join(beside)} alone"
    return None


def measured_as(measurement: dict[str, Any], device: dict[str, Any]) -> dict[str, Any]:
    """How much is measured on this device: on an emulated one just so much that each figure is there once, since its
    times mean nothing and a call takes seconds."""
    if "emulated_cpu" not in device.get("phone", {}) or "rounds" not in measurement:
        return measurement
    lengths = measurement["lengths"]
    least = {"generations": 1, "rounds": 2, "burst": 1, "seconds": 0.0, "warmup_calls": 1, "warmup_limit": 2}
    return {
        **measurement,
        **least,
        "lengths": [_REHEARSED_TOKENS] if _REHEARSED_TOKENS in lengths else sorted(lengths)[:1],
        "batches": [],
        "exact_batches": [],
        "batch_rounds": 0,
        "cold_starts": 1,
    }
