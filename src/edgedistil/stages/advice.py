"""What a step's process says of an error that has a remedy: a full GPU, a full disk."""

import errno
from collections.abc import Mapping
from typing import Any

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Where a step that trains has its batch size in its options, and what a user calls it.
_BATCHES = {
    "train": (("loader",), "loader.batch_size"),
    "pretrain": (("loader",), "loader.batch_size"),
    "recover": (("recovery",), "compression.recovery.batch_size"),
    "qat": (("qat",), "compression.qat.batch_size"),
    "prune_gradually": (("pruning", "between"), "compression.pruning.between.batch_size"),
}


def described(error: BaseException, request: Mapping[str, Any]) -> str:
    """``type: message`` in one line, with what to try where that is known."""
    words = " ".join(str(error).split()) or "no message"
    # By name: this process may never have imported torch.
    if type(error).__name__ == "OutOfMemoryError":
        return f"out of memory on the GPU{_try_instead(request)}. {_first_sentence(words)}"
    if isinstance(error, OSError) and error.errno in _NO_SPACE:
        return f"{type(error).__name__}: {words}: free space there (python -m edgedistil store gc), then start it again"
    return f"{type(error).__name__}: {words}"


def _try_instead(request: Mapping[str, Any]) -> str:
    size, name = _batch_size(request)
    others = "end what else holds memory there (nvidia-smi)"
    if size is None:
        return f": {others}"
    options: Mapping[str, Any] = request["options"]
    trainer = options.get("trainer") or {}
    tries = []
    if size > 1 and name == "loader.batch_size":
        steps = int(trainer.get("accumulate_grad_batches") or 1)
        tries.append(f"{name}={size // 2} trainer.accumulate_grad_batches={2 * steps} (about the same training)")
    elif size > 1:
        tries.append(f"{name}={size // 2}")
    if str(trainer.get("precision", "32-true")).startswith("32"):
        tries.append("trainer.precision=bf16-mixed")
    length = (options.get("task") or {}).get("max_length")
    tries += [f"a task.max_length below {length}"] if length else []
    return f" with {name}={size}: try {', '.join([*tries, others])}"


def _batch_size(request: Mapping[str, Any]) -> tuple[int | None, str]:
    place, name = _BATCHES.get(request["step"], ((), ""))
    found: Any = request["options"] if place else {}
    for key in place:
        found = found.get(key) or {}
    size = found.get("batch_size")
    return (int(size) if size else None), name


def _first_sentence(words: str) -> str:
    """PyTorch's own message goes on with the bookkeeping of its allocator."""
    return f"PyTorch: {words.split('. ')[0]}"
