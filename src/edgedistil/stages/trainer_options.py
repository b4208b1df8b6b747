"""What of the Trainer's arguments makes another result, and what ``auto`` means on this machine."""

import os
from typing import Any

from ..devices import host
from ..errors import UserError
from . import ranks

# Arguments that change what is shown or logged, never the weights.
_SHOWN_ONLY = ("enable_progress_bar", "enable_model_summary", "log_every_n_steps", "profiler")


def resolve_trainer(trainer: dict[str, Any]) -> dict[str, Any]:
    """Decide what ``auto`` means on this machine, so that the fingerprint says what really ran.

    Raises:
        UserError: numbers of epochs, steps or processes that are none.
    """
    resolved = {k: v for k, v in trainer.items() if v is not None}
    if resolved.get("accelerator") == "auto":
        resolved["accelerator"] = "gpu" if host.gpu_names() else "cpu"
    if resolved.get("precision") == "auto":
        resolved["precision"] = "bf16-mixed" if host.has_fast_bf16() else "32-true"
    resolved |= _devices(resolved)
    for key in ("max_epochs", "max_steps"):
        value = resolved.get(key, 1)
        if not isinstance(value, int) or isinstance(value, bool) or value < -1:
            what = "no number of at least 0 (-1: no end)"
            raise UserError(f"trainer.{key}={value!r} is {what}; example: trainer.{key}=3")
    return resolved


def _devices(trainer: dict[str, Any]) -> dict[str, Any]:
    """``devices`` as a number (or GPUs by number), left out where it is 1.

    One unless asked for, unlike Lightning, since more make larger batches; ``auto`` and -1 are all GPUs; under
    ``torchrun`` its processes.
    """
    wanted = trainer.pop("devices", None)
    if isinstance(wanted, list):
        return {"devices": wanted}
    if wanted in (None, "auto") and ranks.launched():
        local, nodes = ranks.shape()
        return {"devices": local} | ({"num_nodes": nodes} if nodes > 1 else {})
    if wanted in ("auto", -1, "-1"):
        wanted = _visible_gpus() if trainer.get("accelerator") == "gpu" else 1
    wanted = 1 if wanted is None else wanted
    if not str(wanted).isdigit() or int(wanted) < 1:
        raise UserError(f"trainer.devices={wanted!r} is no number of processes; examples: 1, 2, auto")
    return {"devices": int(wanted)} if int(wanted) > 1 else {}


def _visible_gpus() -> int:
    """GPUs that CUDA will see; nvidia-smi lists them all."""
    listed = len(host.gpu_names())
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    return listed if chosen is None else min(listed, len([part for part in chosen.split(",") if part.strip()])) or 1


def split_trainer(trainer: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(resolved arguments that enter a fingerprint, those that only change what is shown)."""
    resolved = resolve_trainer(trainer)
    shown = {k: v for k, v in resolved.items() if k in _SHOWN_ONLY and k != "enable_progress_bar"}
    return {k: v for k, v in resolved.items() if k not in _SHOWN_ONLY}, shown


def compilation(cfg: dict[str, Any]) -> dict[str, Any]:
    """``torch_compile`` as it enters a step's options: only where it is on."""
    return {"torch_compile": True} if cfg["torch_compile"] else {}
