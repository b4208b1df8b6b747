"""Weights that are no numbers any more end a training before they are kept, as a checkpoint or as the outcome."""

from collections.abc import Iterator
from typing import Any

import lightning
import torch
from torch import Tensor


class FiniteWeights(lightning.Callback):
    """Stops at the checkpoint that would replace the last good one, and at the end.

    A loss shows a bad step only when the next batch is through; a checkpoint in between would be one that no later run
    can go on from.

    Raises:
        FloatingPointError: with the step and the learning rate.
    """

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        _check(trainer, pl_module, "the checkpoint saved before it is kept")

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        _check(trainer, pl_module, "nothing is published")


def _check(trainer: lightning.Trainer, module: torch.nn.Module, kept: str) -> None:
    if all(bool(torch.isfinite(value).all()) for value in _state(trainer, module)):
        return
    rate = max(group["lr"] for group in trainer.optimizers[0].param_groups)
    raise FloatingPointError(
        f"weights or the optimiser's state are no numbers any more after step {trainer.global_step}, learning rate "
        f"{rate:.3g}; {kept}: try a lower {getattr(module, 'rate_option', 'optimizer.lr')} or trainer.gradient_clip_val"
    )


def _state(trainer: lightning.Trainer, module: torch.nn.Module) -> Iterator[Tensor]:
    yield from (p.detach() for p in module.parameters())
    for optimizer in trainer.optimizers:
        for state in optimizer.state.values():
            yield from (value for value in state.values() if isinstance(value, Tensor))
