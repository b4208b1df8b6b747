"""What the cores give now: one known product in FP32 and INT8, timed before and after a run."""

from collections.abc import Mapping
from typing import Any

from .interleave import Asked

# Product → its row of the processor's calibration worker.
ROWS = {"fp32": 0, "int8": 1}
SECONDS = 0.3


def calibrate(worker: Asked, operations: int, products: Mapping[str, int] = ROWS) -> dict[str, float]:
    """Billions of operations a second of each product, from the fastest call of about :data:`SECONDS` of calls.

    Args:
        worker: a loaded calibration worker; row ``[[i]]`` is the product to which ``products`` gives the number i.
        operations: of one product, multiply and add counted as two.
    """
    rates = {}
    for name, index in products.items():
        worker.ask("prepare", name=name, batches=[[[index]]])
        once = min(worker.ask("time", name=name, start=0, count=3)["wall_ms"])
        count = max(5, min(500, round(1000 * SECONDS / once)))
        fastest = min(worker.ask("time", name=name, start=0, count=count)["wall_ms"])
        rates[f"{name}_gops_per_s"] = round(operations / (fastest / 1000) / 1e9, 2)
    return rates


def product_of(quantization: str, device: dict[str, Any]) -> str | None:
    """The calibration product that is the ceiling of a precision on a device (the step's ``device`` options); of
    products of 8 bits on a GPU there is none."""
    if device["kind"] != "cuda":
        return "int8" if quantization.startswith("int8") else "fp32"
    if quantization == "none" or device["engine"] == "onnxruntime":
        return "tf32" if device["gpu"]["tf32"] else "fp32"
    # Layers of 4 bits are unpacked to half precision and multiplied in it.
    return {"fp16": "fp16", "bf16": "bf16", "nf4": "fp16"}.get(quantization)


def peak_of(before: dict[str, float], after: dict[str, float], product: str | None) -> float | None:
    """The rate of a calibration product: the ceiling for cells that :func:`product_of` names it for.

    The better of two calibrations, because what others on the machine take away only ever lowers it. None where
    no product could be run.
    """
    key = f"{product}_gops_per_s"
    return max(before[key], after[key]) if key in before else None


def saturation(worker: Asked) -> dict[str, bool]:
    """Form of INT8 weights (``s8``, ``s8_7bit``, ``u8``) → whether products with them saturate here."""
    return {form: bool(found) for form, found in worker.ask("probe")["probe"].items()}


def saturation_warning(quantization: dict[str, Any], saturates: dict[str, bool]) -> str | None:
    """What to do about a cell whose weights saturate on this processor, or None when they do not.

    Args:
        quantization: as the exported file was made, ``weights`` decided.
    """
    form = quantization.get("weights", "")
    if not quantization["method"].startswith("int8") or not saturates.get(form):
        return None
    return (
        f"weights={form} saturate on this processor: sums of two 8-bit products overflow 16 bits, so answers differ "
        "from those of processors with VNNI; use compression.quantization.weights=s8_7bit (as fast) or u8 (exact)"
    )
