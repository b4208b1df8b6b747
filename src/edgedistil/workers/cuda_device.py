"""One GPU as a worker sees it: its context, what it holds, how long it worked, and what it is."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from ..devices.cuda import gpu_state, gpus, process_memory_mb, why_no_gpu
from ..errors import UserError


class CudaDevice:
    """The first visible GPU, with a context that is made here, before anything is allocated on it.

    ``context_mb`` is what the driver says this process holds once it has the context and nothing else. Where the driver
    does not tell processes apart (containers), it is by how much the memory in use on the whole GPU grew, and
    ``context_by`` says so: another process that allocates at that moment is in it.

    Args:
        aside: a context in which time passes that is no part of a start.

    Raises:
        UserError: there is no CUDA device, or PyTorch can't use it.
    """

    # Where tensors go.
    place = "cuda"

    def __init__(self, aside: Callable[[], AbstractContextManager[Any]]) -> None:
        import torch

        if not torch.cuda.is_available():
            reason = why_no_gpu()
            raise UserError(reason or "no CUDA device: PyTorch can't use the one that the driver lists")
        self._torch = torch
        torch.cuda.init()
        self._properties = torch.cuda.get_device_properties(0)
        self._uuid = f"GPU-{str(self._properties.uuid).removeprefix('GPU-')}"
        with aside():
            before = self._used_by_all_mb()
        # The first call that needs a context makes it.
        torch.cuda.mem_get_info(0)
        torch.cuda.synchronize(0)
        with aside():
            self._context_mb, self.context_by = self._process_mb(), "process"
            if self._context_mb is None and before is not None:
                after = self._used_by_all_mb()
                self._context_mb = None if after is None else after - before
                self.context_by = "growth of the whole GPU"
        self._began = torch.cuda.Event(enable_timing=True)
        self._ended = torch.cuda.Event(enable_timing=True)

    def pinned(self, tensor: Any) -> Any:
        """A copy in memory that the GPU can read by itself, so that a transfer needs no copy in between."""
        return tensor.pin_memory()

    def begin(self) -> None:
        """Mark the beginning of a call on the GPU's own clock."""
        self._began.record()

    def end(self) -> None:
        """Mark the end of a call and wait until the GPU has reached it."""
        self._ended.record()
        self._ended.synchronize()

    def elapsed_ms(self) -> float:
        """Between the two marks of the last call."""
        return float(self._began.elapsed_time(self._ended))

    def memory(self) -> dict[str, float | None]:
        """Peaks of PyTorch's allocator since the last look, what it holds now, this process as the driver sees it,
        and its context, in MB; None for what the driver doesn't say. The peaks begin anew."""
        cuda = self._torch.cuda
        found = {
            "allocated_peak_mb": _mb(cuda.max_memory_allocated()),
            "reserved_peak_mb": _mb(cuda.max_memory_reserved()),
            "allocated_mb": _mb(cuda.memory_allocated()),
            "process_mb": self._process_mb(),
            "context_mb": self._context_mb,
        }
        cuda.reset_peak_memory_stats()
        return found

    def allocated_mb(self) -> float:
        """What tensors hold now, in MB."""
        return _mb(self._torch.cuda.memory_allocated())

    def out_of_memory(self, what: str) -> str:
        """Gives the allocator's unused memory back and says in one line how full the GPU is.

        Args:
            what: what did not fit.
        """
        cuda = self._torch.cuda
        cuda.synchronize()
        cuda.empty_cache()
        free, total = cuda.mem_get_info()
        return (
            f"{what} on {self._properties.name}: {_mb(cuda.memory_allocated()):.0f} MB allocated before it, "
            f"{free / 1e6:.0f} of {total / 1e6:.0f} MB free"
        )

    def facts(self) -> dict[str, Any]:
        """Name, compute capability, driver and versions, as JSON values."""
        torch, properties = self._torch, self._properties
        listed = next((g for g in gpus() if g["uuid"] == self._uuid), {})
        return {
            "device": properties.name,
            "uuid": self._uuid,
            "compute_capability": f"{properties.major}.{properties.minor}",
            "memory_total_mb": round(properties.total_memory / 1e6),
            "multiprocessors": properties.multi_processor_count,
            "driver": listed.get("driver"),
            "power_limit_w": listed.get("power_limit_w"),
            "mig_mode": listed.get("mig_mode"),
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "context_mb": self._context_mb,
            "context_by": self.context_by,
        }

    def has_flash(self) -> bool:
        """Whether flash attention's kernels run on it: from compute capability 8.0 on."""
        return bool(self._properties.major >= 8)

    def _process_mb(self) -> float | None:
        return process_memory_mb(os.getpid(), self._uuid)

    def _used_by_all_mb(self) -> float | None:
        return next((s["memory_used_mb"] for s in gpu_state() if s["uuid"] == self._uuid), None)


def _mb(count: int) -> float:
    return round(count / 1e6, 3)
