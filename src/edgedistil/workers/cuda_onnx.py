"""ONNX Runtime's CUDA provider: whether it is there, on which GPU, and what the process holds."""

import os
from typing import Any

from ..devices.cuda import gpus, process_memory_mb, why_no_gpu
from ..errors import UserError
from .cuda_placement import Placement

PROVIDER = "CUDAExecutionProvider"


def cuda_provider(placement: Placement, onnxruntime: Any) -> Any:
    """The provider that a placement asks for, as ``InferenceSession`` takes it.

    The libraries of CUDA's are looked for beside those of PyTorch and of NVIDIA's wheels. TF32, which the provider
    would use for FP32 by itself, is off unless it is asked for.

    Raises:
        UserError: this ONNX Runtime has no CUDA provider, or the placement asks for what only PyTorch has.
    """
    for name in ("compile", "graphs", "unpadded"):
        if getattr(placement, name):
            raise UserError(f"placement.{name}=true is PyTorch's; ONNX Runtime has none of it")
    if placement.device != "cuda":
        return "CPUExecutionProvider"
    available = onnxruntime.get_available_providers()
    if PROVIDER not in available:
        reason = why_no_gpu("onnxruntime") or "no CUDA device: this ONNX Runtime has no CUDA provider"
        raise UserError(f"{reason}; its providers: {', '.join(available)}")
    # Of onnxruntime 1.21 and later.
    if hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()
    return PROVIDER, {"use_tf32": "1" if placement.tf32 else "0"}


def cuda_facts(onnxruntime: Any) -> dict[str, Any]:
    """The provider, its version and the GPUs that the driver lists (which of them is used the provider doesn't say)."""
    return {"provider": PROVIDER, "onnxruntime": onnxruntime.__version__, "gpus": gpus()}


def cuda_memory() -> dict[str, float | None]:
    """As other workers' figures of a GPU; the provider's allocator does not tell its own."""
    unknown = dict.fromkeys(("allocated_peak_mb", "reserved_peak_mb", "allocated_mb"))
    return {**unknown, "process_mb": process_memory_mb(os.getpid()), "context_mb": None}
