"""A cell on a GPU: PyTorch's worker, or ONNX Runtime's, on the device, asked from this machine's processor."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..devices import cuda
from ..workers.client import Worker, WorkerError
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

    small = True

    def __init__(self, options: dict[str, Any], device: str = "cuda", product_size: int | None = None) -> None:
        super().__init__(options)
        self._placement = {**placement_of(options["device"]), "device": device}
        self._product: dict[str, Any] = {} if product_size is None else {"size": product_size}
        self._gpu = options["host"].get("gpu", {})
        self._before, self._meanwhile = self._state(), list[dict[str, Any]]()

    def _state(self) -> dict[str, Any]:
        found = cuda.gpu_state()
        own = [gpu for gpu in found if gpu.get("uuid") == self._gpu.get("uuid")]
        return (own or found or [{}])[0]

    def start(self, place: Place, cores: Sequence[int] | None) -> Worker:
        return Worker(place.engine, self._threads, cores, place.python, cuda.worker_variables(self._gpu))

    def after_generation(self) -> None:
        # While the workers live and have just worked: idle clocks say nothing.
        self._meanwhile.append(self._state())

    def load(self, worker: Worker, place: Place, text: tuple[str, ...]) -> dict[str, Any]:
        # The dense parent stands beside the candidate as plain as it is in every other table.
        plain = {"device": self._placement["device"]}
        placement = self._placement if place.candidate else plain
        loaded = worker.load(place.folder, self._max_length, text, place.quantization, placement=placement)
        seen, own = loaded.get("facts", {}).get("uuid"), self._gpu.get("uuid")
        if seen and own and seen != own:
            raise WorkerError(f"the {worker.engine} worker is on the GPU {seen}, and the cell is of {own}")
        return loaded

    @contextmanager
    def gauge(self, cores: Sequence[int] | None) -> Iterator[Gauge]:
        with Worker(
            "edgedistil.workers.cuda_gemm", self._threads, cores, variables=cuda.worker_variables(self._gpu)
        ) as worker:
            loaded = worker.load("", 1, ("",), placement={"device": self._placement["device"]}, **self._product)
            yield GpuGauge(worker, loaded["facts"]["products"], loaded["facts"]["operations"])

    def reasons_against(self) -> list[str]:
        """Clocks that were held back for heat or power."""
        slowed = {why for state in self._meanwhile for why in state.get("throttle_reasons") or []} & cuda.SLOWED
        return [f"the GPU was slowed during the run: {', '.join(sorted(slowed))}"] if slowed else []

    def facts(self) -> dict[str, Any]:
        return {"gpu_before": self._before, "gpu_meanwhile": self._meanwhile, "gpu_after": self._state()}


class GpuGauge(HostGauge):
    """Products of the GPU; its 8-bit sums are of 32 bits."""

    def saturates(self) -> dict[str, bool]:
        return {}
