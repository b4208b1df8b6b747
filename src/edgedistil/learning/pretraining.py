"""Masked language modelling as a LightningModule: what a teacher's head is trained with, and what distillation
builds on."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from ..models.masked_lm import encode_tokens, token_logits
from .base import TrainingModule
from .fine_tuning import Batch
from .losses import masked_token_loss
from .masking import NO_TARGET, DynamicMasking, Vocabulary, generator
from .work import TRAINED, encoder_flops, head_flops

# Validation masks are the same in every run, whatever its seed, so that rows of a table can be compared.
HELD_OUT_SEED = 0


class MaskedLanguageModelling(TrainingModule):
    """Cross-entropy on masked tokens; the vocabulary's logits are computed at masked places only.

    Args:
        network: a transformers model for masked language modelling.
        optimizer, scheduler: as in :class:`.base.TrainingModule`.
        masking: ``vocabulary -> DynamicMasking``.
        vocabulary: token counts of the training corpus and special ids.
        seed: of the training masks, with epoch and micro-batch.
    """

    # Names of the losses that validation reports; the first is the MLM loss.
    measured: tuple[str, ...] = ("mlm_loss",)

    def __init__(
        self,
        network: Any,
        optimizer: Callable[[Iterable[Any]], torch.optim.Optimizer],
        scheduler: Callable[..., Any],
        masking: Callable[[Vocabulary], DynamicMasking],
        vocabulary: Vocabulary,
        seed: int,
    ) -> None:
        super().__init__(network, optimizer, scheduler)
        self._masking, self._seed = masking(vocabulary), seed
        self._sums = {name: [0.0, 0.0] for name in self.measured}

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
        self.stop_unless_finite(loss)
        for name, (value, _) in losses.items():
            self.log(f"train/{name}", value)
        self.log("train/loss", loss, prog_bar=True)
        lengths = batch["attention_mask"].sum(1)
        self.note_work(int(lengths.sum()), self.flop(lengths))
        return self.weighted(loss, int(lengths.sum()))

    def flop(self, lengths: Tensor) -> int:
        """Work of a training step (:mod:`.work`) on texts of ``lengths`` tokens."""
        targets = self._masking.targets(int(lengths.sum()))
        return TRAINED * (encoder_flops(self.network, lengths) + head_flops(self.network, targets))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        # Of all processes, which share the batches.
        number = batch_idx * self.trainer.world_size + self.trainer.global_rank
        losses = self._masked(batch, generator(HELD_OUT_SEED, "held_out", number))
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

    def _masked(self, batch: Batch, chance: torch.Generator) -> dict[str, tuple[Tensor, int]]:
        ids, labels = self._masking(batch["input_ids"].cpu(), batch["attention_mask"].cpu(), chance)
        return self.losses(ids.to(self.device), batch["attention_mask"], labels.to(self.device))


def perplexity(loss: float) -> float:
    """exp of a mean cross-entropy in nats; infinite beyond what a float holds."""
    return math.exp(loss) if loss < 700 else math.inf
