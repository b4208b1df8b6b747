"""What all trainings share: optimiser and schedule, a stop at NaN, and how fast they go."""

import time
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from .token_mean import TokenMean

_KEY = "work_done"
# Seconds between two lines of speed.
_EVERY_S = 5.0


class TrainingModule(TokenMean):
    """Base of our LightningModules.

    Args:
        network: what is trained and saved.
        optimizer: ``parameter groups -> Optimizer``.
        scheduler: ``(optimizer, total_steps) -> LRScheduler``, stepped each optimiser step.

    Attributes:
        totals: after training ``tokens_seen`` (real tokens of all training batches of all processes, resumed ones
            included) and, of this process's life, ``tokens_per_s`` and ``gflop_per_s`` over all processes; the first
            batch, which warms up, and validation apart.
    """

    # The option that a run whose loss is no number any more should lower.
    rate_option = "optimizer.lr"

    def __init__(
        self,
        network: Any,
        optimizer: Callable[[Iterable[Any]], torch.optim.Optimizer],
        scheduler: Callable[..., Any],
    ) -> None:
        super().__init__()
        self.network = network
        self._optimizer, self._scheduler = optimizer, scheduler
        self.totals: dict[str, Any] = {}
        self._tokens_seen = 0.0
        # When the last training batch was through; (tokens, FLOP, seconds) of the whole run here, and since last told.
        self._clock: float | None = None
        self._spent = [0.0, 0.0, 0.0]
        self._window = [0.0, 0.0, 0.0]

    def configure_optimizers(self) -> Any:
        # Of the whole module: a subclass may learn more than its network.
        optimizer = self._optimizer(decay_groups(self))
        schedule = self._scheduler(optimizer, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def stop_unless_finite(self, loss: Tensor) -> None:
        """End a training whose loss is no number any more; the last checkpoint is from before.

        Raises:
            FloatingPointError: with the step and the learning rate.
        """
        if torch.isfinite(loss):
            return
        rates = [group["lr"] for group in self._trainer.optimizers[0].param_groups] if self._trainer else []
        rate = f", learning rate {max(rates):.3g}" if rates else ""
        raise FloatingPointError(
            f"the loss is {loss.item()} at step {self.global_step}{rate}: try a lower {self.rate_option} or "
            "trainer.gradient_clip_val; a checkpoint saved before stays in the work folder of this step as "
            "checkpoints/last.ckpt"
        )

    def note_work(self, tokens: int, flop: int) -> None:
        """A training batch is through: its real tokens, and its work (:mod:`.work`) in this process."""
        self._tokens_seen += tokens
        now = time.monotonic()
        if self._clock is not None:
            for sums in (self._spent, self._window):
                for i, amount in enumerate((tokens, flop, now - self._clock)):
                    sums[i] += amount
        self._clock = now
        if self._window[2] > _EVERY_S:
            self._tell(self._window)
            self._window = [0.0, 0.0, 0.0]

    def _tell(self, sums: list[float]) -> None:
        # Other processes do about as much; to ask them each time would make all wait.
        tokens, flop = (amount * self.trainer.world_size / sums[2] for amount in sums[:2])
        self.log("train/tokens_per_s", tokens, prog_bar=True)
        self.log("train/gflop_per_s", flop / 1e9, prog_bar=True)

    def on_validation_end(self) -> None:
        # The time since the last training batch is not training's.
        self._clock = None

    def on_train_end(self) -> None:
        seen, tokens, flop = (self.over_ranks(amount) for amount in (self._tokens_seen, *self._spent[:2]))
        seconds = self._spent[2]
        self.totals = {
            "tokens_seen": int(seen),
            "tokens_per_s": round(tokens / seconds, 1) if seconds else None,
            "gflop_per_s": round(flop / seconds / 1e9, 3) if seconds else None,
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint[_KEY] = {"tokens_seen": self.over_ranks(self._tokens_seen)}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self._tokens_seen = checkpoint[_KEY]["tokens_seen"] if self.global_rank == 0 else 0.0


def decay_groups(network: Any) -> list[dict[str, Any]]:
    """Two parameter groups: matrices decay as the optimiser says, biases and LayerNorm (all one-dimensional) do not."""
    trainable = [p for p in network.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trainable if p.ndim > 1]},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
