"""Out of memory as an answer: how it is told, and the largest batch that fits. Standard library only."""

from collections.abc import Callable
from traceback import clear_frames
from typing import Any

from .client import Worker, WorkerError

# What errors say: of PyTorch's allocator, of CUDA and of libraries with memory of their own, and of the processor's.
_SAYINGS = ("out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "can't allocate memory", "not enough memory")


class OutOfMemory(Exception):
    """A model or a batch that does not fit. The worker's answer begins with this name; the worker goes on."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory was what lacked: an error of a library inside of a worker, or a worker's answer outside of it."""
    if isinstance(error, WorkerError):
        return f" {OutOfMemory.__name__}: " in str(error)
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _SAYINGS)


def release(error: BaseException) -> str | None:
    """The first line of an error for want of memory, whose tensors are let go; None of any other error.

    An error that came of it, such as that of a recording which it broke, counts as well.
    """
    chain: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in chain:
        chain.append(at)
        at = at.__cause__ or at.__context__
    first = next((e for e in chain if is_out_of_memory(e)), None)
    if first is None:
        return None
    # The frames hold tensors.
    for each in chain:
        clear_frames(each.__traceback__)
    return (str(first).strip().splitlines() or [type(first).__name__])[0]


def largest_that_fits(fits: Callable[[int], bool], low: int, high: int) -> int | None:
    """The largest number from ``low`` to ``high`` that fits, by bisection; None when ``low`` doesn't.

    ``fits`` is asked about ``high`` first and then at most ``log2(high − low) + 2`` times, never twice about the same;
    it must not hold for a larger number than one for which it fails.
    """
    if low > high:
        raise ValueError(f"low={low} is above high={high}")
    if fits(high):
        return high
    if low == high or not fits(low):
        return None
    # fits(low) and not fits(high), always.
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def largest_batch(worker: Worker, batch: Callable[[int], list[list[int]]], high: int, calls: int = 1) -> int | None:
    """The largest batch of up to ``high`` rows that a loaded worker can run; None when not even one row fits.

    Args:
        batch: token ids of a batch of so many rows.
        calls: how often each must run to count as fitting.

    Raises:
        WorkerError: a batch failed for another reason than memory.
    """

    def fits(rows: int) -> bool:
        try:
            worker.ask("prepare", name="largest", batches=[batch(rows)])
            worker.ask("time", name="largest", start=0, count=calls)
        except WorkerError as error:
            if is_out_of_memory(error):
                return False
            raise
        finally:
            # Nothing of it may stay and take the next one's room.
            _forget(worker)
        return True

    return largest_that_fits(fits, 1, high)


def _forget(worker: Worker) -> None:
    empty: dict[str, Any] = {"name": "largest", "batches": []}
    worker.ask("prepare", **empty)
