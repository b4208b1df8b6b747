"""Masked language modelling as a LightningModule: what a teacher's head is trained with, and what distillation
builds on."""

import math
import time
from collections.abc import Callable, Iterable
from typing import Any

import lightning
import torch
from torch import Tensor

from ..models.masked_lm import encode_tokens, token_logits
from .fine_tuning import Batch, decay_groups
from .losses import masked_token_loss
from .masking import NO_TARGET, DynamicMasking, Vocabulary, generator

# Validation masks are the same in every run, whatever its seed, so that rows of a table can be compared.
HELD_OUT_SEED = 0


class MaskedLanguageModelling(lightning.LightningModule):
    """Cross-entropy on masked tokens; the vocabulary's logits are computed at masked places only.

    Args:
        network: a transformers model for masked language modelling.
        optimizer: ``parameters -> Optimizer``.
        scheduler: ``(optimizer, total_steps) -> LRScheduler``, stepped each optimiser step.
        masking: ``vocabulary -> DynamicMasking``.
        vocabulary: token counts of the training corpus and special ids.
        seed: of the training masks, with epoch and micro-batch.
    """

    # Names of the losses that validation reports; the first is the MLM loss.
    measured: tuple[str, ...] = ("mlm_loss",)
    # Real tokens of all training batches on this rank; a buffer, so that a resumed run counts on.
    tokens_seen: Tensor

    def __init__(
        self,
        network: Any,
        optimizer: Callable[[Iterable[Any]], torch.optim.Optimizer],
        scheduler: Callable[..., Any],
        masking: Callable[[Vocabulary], DynamicMasking],
        vocabulary: Vocabulary,
        seed: int,
    ) -> None:
        super().__init__()
        self.network = network
        self._optimizer, self._scheduler = optimizer, scheduler
        self._masking, self._seed = masking(vocabulary), seed
        self._sums = {name: [0.0, 0.0] for name in self.measured}
        self.register_buffer("tokens_seen", torch.zeros((), dtype=torch.int64))
        # When the last training batch was through, and (tokens, seconds): of the whole run here, since the last log.
        self._clock: float | None = None
        self._spent: list[float] = [0, 0.0]
        self._window: list[float] = [0, 0.0]

    def losses(self, ids: Tensor, attention_mask: Tensor, labels: Tensor) -> dict[str, tuple[Tensor, int]]:
        """(mean, number of rows it is the mean of) of each measured loss; all arguments ``[batch, tokens]``."""
        target = labels != NO_TARGET
        hidden = encode_tokens(self.network, ids, attention_mask)[target]
        logits = token_logits(self.network, hidden).float()
        return {"mlm_loss": (masked_token_loss(logits, labels[target]), int(target.sum()))}

    def combine(self, losses: dict[str, tuple[Tensor, int]]) -> Tensor:
        """What is minimised."""
        return losses["mlm_loss"][0]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        # One number for each micro-batch over all ranks, so that more processes see the masks that one would.
        micro_batch = batch_idx * self.trainer.world_size + self.trainer.global_rank
        losses = self._masked(batch, generator(self._seed, self.current_epoch, micro_batch))
        loss = self.combine(losses)
        if not torch.isfinite(loss):
            rates = [group["lr"] for group in self.trainer.optimizers[0].param_groups]
            raise FloatingPointError(
                f"the loss is {loss.item()} at step {self.global_step}, learning rate {max(rates):.3g}: try a lower "
                "optimizer.lr or trainer.gradient_clip_val; a checkpoint saved before stays in the work folder of "
                "this step as checkpoints/last.ckpt"
            )
        for name, (value, _) in losses.items():
            self.log(f"train/{name}", value)
        self.log("train/loss", loss, prog_bar=True)
        self._note_speed(int(batch["attention_mask"].sum()))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        losses = self._masked(batch, generator(HELD_OUT_SEED, "held_out", batch_idx))
        for name, (value, rows) in losses.items():
            self._sums[name][0] += float(value) * rows
            self._sums[name][1] += rows

    def on_validation_epoch_end(self) -> None:
        # Sums over all rows and ranks: a mean of batches' means would weigh short batches more.
        sums = torch.tensor(list(self._sums.values()), dtype=torch.float64, device=self.device)
        sums = self.trainer.strategy.reduce(sums, reduce_op="sum")
        self._sums = {name: [0.0, 0.0] for name in self.measured}
        values = {name: float(total / rows) for name, (total, rows) in zip(self.measured, sums, strict=True)}
        for name, value in values.items():
            self.log(f"held_out/{name}", value)
        self.log("held_out/perplexity", perplexity(values["mlm_loss"]))
        # Higher is better for callbacks that choose by score.
        self.log("held_out/score", -values["mlm_loss"], prog_bar=True)

    def configure_optimizers(self) -> Any:
        optimizer = self._optimizer(decay_groups(self))
        schedule = self._scheduler(optimizer, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _masked(self, batch: Batch, chance: torch.Generator) -> dict[str, tuple[Tensor, int]]:
        ids, labels = self._masking(batch["input_ids"].cpu(), batch["attention_mask"].cpu(), chance)
        return self.losses(ids.to(self.device), batch["attention_mask"], labels.to(self.device))

    def tokens_per_s(self) -> float | None:
        """Real tokens per second of training in this process; the first batch, which warms up, and validation apart."""
        return self._spent[0] / self._spent[1] if self._spent[1] else None

    def on_validation_end(self) -> None:
        # The time since the last training batch is not training's.
        self._clock = None

    def _note_speed(self, tokens: int) -> None:
        self.tokens_seen += tokens
        now = time.monotonic()
        if self._clock is not None:
            for sums in (self._spent, self._window):
                sums[0] += tokens
                sums[1] += now - self._clock
        self._clock = now
        if self._window[1] > 5:
            self.log("train/tokens_per_s", self._window[0] / self._window[1], prog_bar=True)
            self._window = [0, 0.0]


def perplexity(loss: float) -> float:
    """exp of a mean cross-entropy in nats; infinite beyond what a float holds."""
    return math.exp(loss) if loss < 700 else math.inf
