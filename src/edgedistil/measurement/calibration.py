"""What the cores give now: one known product in FP32 and INT8, timed before and after a run."""

from .interleave import Asked

PRODUCTS = ("fp32", "int8")
SECONDS = 0.3


def calibrate(worker: Asked, operations: int) -> dict[str, float]:
    """Billions of operations a second of each product, from the fastest call of about :data:`SECONDS` of calls.

    Args:
        worker: a loaded calibration worker; row ``[[i]]`` is product ``i`` of :data:`PRODUCTS`.
        operations: of one product, multiply and add counted as two.
    """
    rates = {}
    for index, name in enumerate(PRODUCTS):
        worker.ask("prepare", name=name, batches=[[[index]]])
        once = min(worker.ask("time", name=name, start=0, count=3)["wall_ms"])
        count = max(5, min(500, round(1000 * SECONDS / once)))
        fastest = min(worker.ask("time", name=name, start=0, count=count)["wall_ms"])
        rates[f"{name}_gops_per_s"] = round(operations / (fastest / 1000) / 1e9, 2)
    return rates


def peak_of(before: dict[str, float], after: dict[str, float], quantization: str) -> float:
    """The ceiling for a cell's precision: the INT8 product's rate for ``int8*``, FP32's for everything else.

    The better of two calibrations, because what others on the machine take away only ever lowers it.
    """
    key = "int8_gops_per_s" if quantization.startswith("int8") else "fp32_gops_per_s"
    return max(before[key], after[key])
