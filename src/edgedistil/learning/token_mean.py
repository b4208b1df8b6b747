"""Gradients as the mean over all tokens of an optimiser step, however these are spread over micro-batches and ranks."""

from typing import Any

import lightning
import torch
from lightning.pytorch.plugins.precision import MixedPrecision, Precision
from lightning.pytorch.utilities import GradClipAlgorithmType
from torch import Tensor

# Where a checkpoint holds the weight of gradients that wait for the rest of their accumulation.
_KEY = "token_mean"


class TokenMean(lightning.LightningModule):
    """A module whose steps weigh every token alike.

    Lightning averages micro-batches, and DDP averages ranks, so that a token of a short batch counts more than one of
    a long batch. Here each micro-batch's loss is multiplied by its weight (its real tokens, or texts) with
    :meth:`weighted`, and the gradient is divided by the weights' sum over ranks and micro-batches before it is clipped.
    Incomplete accumulations at an epoch's end are right too. One micro-batch a step on one process is left as it is.
    """

    def __init__(self) -> None:
        super().__init__()
        self._weight = 0.0

    def weighted(self, loss: Tensor, weight: float) -> Tensor:
        """What ``training_step`` returns for a micro-batch whose mean loss is ``loss``."""
        if not self._spread():
            return loss
        self._weight += weight
        return loss * weight

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        # After the gradients are complete, before they are clipped.
        if not self._spread():
            return
        total, self._weight = self.over_ranks(self._weight), 0.0
        # Lightning has divided by the one, DDP by the other.
        scale = self.trainer.accumulate_grad_batches * self.trainer.world_size / total
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        torch._foreach_mul_(gradients, scale)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        plugin = self.trainer.precision_plugin
        if gradient_clip_val and isinstance(plugin, MixedPrecision) and plugin.scaler is None:
            # MixedPrecision refuses a fused optimiser since it might unscale; in bf16 no gradient is ever scaled.
            algorithm = GradClipAlgorithmType(gradient_clip_algorithm or GradClipAlgorithmType.NORM)
            Precision.clip_gradients(plugin, optimizer, gradient_clip_val, algorithm)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[_KEY] = {"weight": self.over_ranks(self._weight)}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # Only the sum counts: the first rank has all of it.
        self._weight = checkpoint[_KEY]["weight"] if self.global_rank == 0 else 0.0

    def over_ranks(self, value: float) -> float:
        """The sum of ``value`` over all processes; every one must call it."""
        if self.trainer.world_size == 1:
            return value
        total = self.trainer.strategy.reduce(
            torch.tensor(value, dtype=torch.float64, device=self.device), reduce_op="sum"
        )
        assert isinstance(total, Tensor)
        return float(total)

    def _spread(self) -> bool:
        return self._trainer is not None and self.trainer.accumulate_grad_batches * self.trainer.world_size > 1
