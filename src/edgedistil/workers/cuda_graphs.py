"""CUDA graphs: which shapes share one, and recording a function once to replay it."""

from collections.abc import Callable
from typing import Any


def bucket_of(length: int, limit: int) -> int:
    """The length to which a text of ``length`` tokens is padded, so that few graphs serve all lengths.

    Multiples of 16 up to 128, of 32 up to 256, of 64 beyond; never more than ``limit`` (the model's own), which is a
    bucket too. On a GPU a single short text costs the same at any of a bucket's lengths: it waits for launches and for
    weights, not for arithmetic.

    Raises:
        ValueError: no such length.
    """
    if not 1 <= length <= limit:
        raise ValueError(f"a text of {length} tokens; allowed are 1 to {limit}")
    step = 16 if length <= 128 else 32 if length <= 256 else 64
    return min(limit, -(-length // step) * step)


def buckets(limit: int) -> list[int]:
    """All values of :func:`bucket_of`."""
    return sorted({bucket_of(length, limit) for length in range(1, limit + 1)})


def tokens_bucket_of(tokens: int) -> int:
    """The number of tokens up to which an unpadded batch is filled: at most a sixteenth more, in steps of at least 16.

    Raises:
        ValueError: none.
    """
    if tokens < 1:
        raise ValueError("a batch of no tokens")
    step = max(16, 1 << max(0, tokens.bit_length() - 5))
    return -(-tokens // step) * step


# Records a function of no arguments: (what runs it again, what it answers with, in place).
Recorder = Callable[[Callable[[], Any]], tuple[Callable[[], None], Any]]


class Recorded:
    """One shape's function: its input stays in place, so a call is one copy and one replay.

    Args:
        buffer: the input on the device, which later calls overwrite.
        function: of that buffer.
        record: how to record; :func:`cuda_recorder` on a GPU.
    """

    def __init__(self, buffer: Any, function: Callable[[Any], Any], record: Recorder) -> None:
        self._buffer = buffer
        self._replay, self._output = record(lambda: function(buffer))

    def __call__(self, host: Any) -> Any:
        """The answer for an input on the host, as it stands until the next call of any graph."""
        self._buffer.copy_(host, non_blocking=True)
        self._replay()
        return self._output


# As PyTorch's notes on CUDA graphs advise: libraries make their handles and workspaces in the first calls.
_WARM_UP_CALLS = 3


def cuda_recorder() -> Recorder:
    """Records CUDA graphs that share one pool of memory, since no two of them ever run at once."""
    import torch

    pool = torch.cuda.graph_pool_handle()

    def record(function: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UP_CALLS):
                function()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool):
            output = function()
        return graph.replay, output

    return record
