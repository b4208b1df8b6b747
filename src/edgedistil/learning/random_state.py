"""Random states in checkpoints: Lightning saves weights, optimiser and counters, nothing that dropout draws from."""

import random
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.utilities import CombinedLoader
from torch import Tensor

# Where a checkpoint holds what this callback saves.
KEY = "random_state"


class RandomState(lightning.Callback):
    """Makes a resumed training draw what the uninterrupted one would have drawn.

    Saved as tensors alone, so that a checkpoint loads with ``weights_only=True``: the generators of PyTorch (CPU, and
    the GPU in use), Python and NumPy, and the gradients that wait for the rest of their accumulation. With several
    processes each keeps its own.

    The states come back when the first batch after the resumption begins, because setting a training up draws too.
    What the uninterrupted run draws between a checkpoint and that batch is one seed for each loader whose iterator is
    made anew at the start of an epoch, so it is drawn again.
    """

    def __init__(self) -> None:
        self._pending: dict[str, dict[str, Tensor]] | None = None

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        gradients = _gradients(pl_module) if _is_accumulating(trainer) else {}
        checkpoint[KEY] = {
            "generators": _of_every_process(trainer, generator_states(pl_module.device)),
            "gradients": _of_every_process(trainer, gradients),
        }

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._pending = checkpoint.get(KEY)

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self._pending is None:
            return
        saved, self._pending = self._pending, None
        own = {group: {name: value[trainer.global_rank] for name, value in saved[group].items()} for group in saved}
        restore_generators(own["generators"], pl_module.device)
        parameters = dict(pl_module.named_parameters())
        for name, gradient in own["gradients"].items():
            parameters[name].grad = gradient.to(parameters[name].device)
        if batch_idx == 0:
            for loader in CombinedLoader(trainer.train_dataloader).flattened:
                _draw_iterators_seed(loader)


def generator_states(device: torch.device) -> dict[str, Tensor]:
    """The states of all generators that a training on ``device`` may draw from, as tensors.

    ``torch`` and ``cuda`` are uint8 as PyTorch gives them, ``python`` and ``numpy`` are int64, and their left-over
    normal deviates are float64 (NaN where there is none).
    """
    _, words, normal = random.getstate()
    numpy: dict[str, Any] = np.random.get_state(legacy=False)
    states = {
        "torch": torch.get_rng_state(),
        "python": torch.tensor(words, dtype=torch.int64),
        "python_normal": torch.tensor(float("nan") if normal is None else normal, dtype=torch.float64),
        "numpy": torch.tensor([*numpy["state"]["key"].tolist(), numpy["state"]["pos"]], dtype=torch.int64),
        "numpy_normal": torch.tensor(numpy["gauss"] if numpy["has_gauss"] else float("nan"), dtype=torch.float64),
    }
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def restore_generators(states: dict[str, Tensor], device: torch.device) -> None:
    """Set all generators to what :func:`generator_states` gave."""
    torch.set_rng_state(states["torch"])
    normal = float(states["python_normal"])
    random.setstate((3, tuple(states["python"].tolist()), None if np.isnan(normal) else normal))
    *keys, place = states["numpy"].tolist()
    cached = float(states["numpy_normal"])
    has_normal = not np.isnan(cached)
    np.random.set_state(("MT19937", np.array(keys, np.uint32), place, int(has_normal), cached if has_normal else 0.0))
    if "cuda" in states and device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)


def _is_accumulating(trainer: lightning.Trainer) -> bool:
    """Whether gradients wait for batches still to come; the last batch of an epoch always ends in a step."""
    served = trainer.fit_loop.epoch_loop.batch_progress.current.ready
    return bool(served % trainer.accumulate_grad_batches) and served < trainer.num_training_batches


def _gradients(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.detach().clone() for name, p in module.named_parameters() if p.grad is not None}


def _of_every_process(trainer: lightning.Trainer, values: dict[str, Tensor]) -> dict[str, Tensor]:
    """Each tensor as ``[processes, ...]`` on the CPU: only the first process writes the checkpoint."""
    if trainer.world_size == 1:
        return {name: value.cpu()[None] for name, value in values.items()}
    device = trainer.strategy.root_device
    return {name: trainer.strategy.all_gather(value.to(device)).cpu() for name, value in values.items()}


def _draw_iterators_seed(loader: Any) -> None:
    kept = getattr(loader, "persistent_workers", False) and loader.num_workers > 0
    if isinstance(loader, torch.utils.data.DataLoader) and loader.generator is None and not kept:
        torch.empty((), dtype=torch.int64).random_()
