"""A cell on a GPU: PyTorch's worker, or ONNX Runtime's, on the device, asked from this machine's processor."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..devices import cuda
from ..workers.client import Worker
from .site import Gauge, Here, HostGauge, Place


def placement_of(device: dict[str, Any]) -> dict[str, Any]:
    """What a worker is told of where it runs."""
    return {"device": "cuda", **device["gpu"]}


class OnGpu(Here):
    """This machine's GPU.

    Args:
        options: of the step; ``device.gpu`` says how PyTorch runs there.
        device: ``cpu`` walks the same way on the processor, for tests.
        product_size: of the calibration products; None is the worker's own.
    """

    def __init__(self, options: dict[str, Any], device: str = "cuda", product_size: int | None = None) -> None:
        super().__init__(options)
        self._placement = {**placement_of(options["device"]), "device": device}
        self._product: dict[str, Any] = {} if product_size is None else {"size": product_size}
        self._before = cuda.gpu_state()

    def load(self, worker: Worker, place: Place, text: tuple[str, ...]) -> dict[str, Any]:
        # The dense parent stands beside the candidate as plain as it is in every other table.
        plain = {"device": self._placement["device"]}
        placement = self._placement if place.candidate else plain
        return worker.load(place.folder, self._max_length, text, place.quantization, placement=placement)

    @contextmanager
    def gauge(self, cores: Sequence[int] | None) -> Iterator[Gauge]:
        with Worker("edgedistil.workers.cuda_gemm", self._threads, cores) as worker:
            loaded = worker.load("", 1, ("",), placement={"device": self._placement["device"]}, **self._product)
            yield GpuGauge(worker, loaded["facts"]["products"], loaded["facts"]["operations"])

    def reasons_against(self) -> list[str]:
        """Clocks that were held back for heat or power."""
        slowed = {why for gpu in cuda.gpu_state() for why in gpu["throttle_reasons"] or []} & cuda.SLOWED
        return [f"the GPU was slowed after the run: {', '.join(sorted(slowed))}"] if slowed else []

    def facts(self) -> dict[str, Any]:
        return {"gpu_before": self._before, "gpu_after": cuda.gpu_state()}


class GpuGauge(HostGauge):
    """Products of the GPU; its 8-bit sums are of 32 bits."""

    def saturates(self) -> dict[str, bool]:
        return {}
