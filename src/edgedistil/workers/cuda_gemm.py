"""The calibration worker for GPUs: one large product of square matrices by PyTorch in each type, as a measured peak.

A share of the peak is then of what this GPU gives at its present clocks and power limit, not of a data sheet. Run as
``python -m edgedistil.workers.cuda_gemm``. Rows of a batch name the product: ``[[0]]`` to ``[[3]]`` are those of
:data:`PRODUCTS`, in order. ``load`` may give ``size`` and ``placement.device``.
"""

import time

STARTED_NS = time.monotonic_ns()

from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from edgedistil.errors import UserError  # noqa: E402
from edgedistil.workers.cuda_placement import read_placement  # noqa: E402
from edgedistil.workers.loop import serve  # noqa: E402
from edgedistil.workers.phases import Phases  # noqa: E402

PRODUCTS = ("fp32", "tf32", "fp16", "bf16")
# 1.1 TFLOP, a millisecond of the fastest GPUs' 16-bit units: launches are lost in it.
SIZE = 8192


def operations(size: int = SIZE) -> int:
    """Additions and multiplications of one product."""
    return 2 * size**3


class CudaGemmEngine:
    """Products of matrices of normal random numbers (zeros would draw less power and run faster than any model)."""

    def load(self, request: dict[str, Any]) -> Phases:
        phases = Phases(Path(request["folder"]))
        placement, size = read_placement(request), request.get("size", SIZE)
        import torch

        self._torch, self._device = torch, None
        torch.set_num_threads(request["threads"])
        phases.end("imported")
        where = torch.device("cpu")
        if placement.device == "cuda":
            from edgedistil.workers.cuda_device import CudaDevice

            self._device, where = CudaDevice(phases.aside), torch.device("cuda")
            phases.device_memory = self._device.memory
            phases.end("context")
        kinds = {"fp32": torch.float32, "tf32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
        chance = torch.Generator(where).manual_seed(0)
        self._matrices = {}
        for kind in dict.fromkeys(kinds.values()):
            drawn = [torch.randn(size, size, generator=chance, device=where).to(kind) for _ in range(2)]
            self._matrices[kind] = (*drawn, torch.empty_like(drawn[0]))
        self._kinds = kinds
        self.facts = {
            **(self._device.facts() if self._device else {"device": "cpu", "torch": torch.__version__}),
            # The processor has no TF32.
            "products": {name: row for row, name in enumerate(PRODUCTS) if self._device or name != "tf32"},
            "size": size,
            "operations": operations(size),
        }
        phases.end("session")
        return phases

    def pack(self, rows: list[list[int]]) -> Any:
        name = PRODUCTS[rows[0][0]]
        if name not in self.facts["products"]:
            raise UserError(f"the product {name} needs placement.device=cuda")
        return name, self._matrices[self._kinds[name]]

    def run(self, packed: Any) -> Any:
        name, (left, right, out) = packed
        torch = self._torch
        torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
        if self._device is None:
            return torch.mm(left, right, out=out)
        self._device.begin()
        torch.mm(left, right, out=out)
        self._device.end()
        return out

    def device_memory(self) -> dict[str, float | None] | None:
        return self._device.memory() if self._device else None

    def device_ms(self) -> float | None:
        return self._device.elapsed_ms() if self._device else None


if __name__ == "__main__":
    serve(CudaGemmEngine(), STARTED_NS)
