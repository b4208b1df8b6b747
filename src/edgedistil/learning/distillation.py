"""Distillation from a parent of the same task: what recovery after pruning trains with."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from .answers import answers_of
from .base import TrainingModule
from .fine_tuning import Batch, model_inputs
from .losses import hidden_state_loss


class LogitDistillation(TrainingModule):
    """The student learns the parent's softened logits and, at equal width and depth, its hidden states; no labels.

    Of classes, or of starts and ends (:mod:`.answers`).

    Args:
        network: the student, trained.
        teacher: the parent, frozen.
        temperature: of the soft targets.
        hidden_weight: weight of the hidden-state loss (0 leaves it out).
    """

    rate_option = "compression.recovery.optimizer.lr"

    def __init__(
        self,
        network: Any,
        teacher: Any,
        optimizer: Callable[[Iterable[Any]], torch.optim.Optimizer],
        scheduler: Callable[..., Any],
        temperature: float = 2.0,
        hidden_weight: float = 1.0,
    ) -> None:
        super().__init__(network, optimizer, scheduler)
        # In a list, so that Lightning neither moves it to train mode nor writes it into checkpoints.
        self._teacher = [teacher.eval().requires_grad_(False)]
        self._answers = answers_of(network)
        self._temperature, self._hidden_weight = temperature, hidden_weight

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        inputs = model_inputs(self.network, batch)
        deep = self._hidden_weight > 0
        with torch.no_grad():
            self._teacher[0].to(self.device)
            target = self._teacher[0](**inputs, output_hidden_states=deep)
        answer = self.network(**inputs, output_hidden_states=deep)
        logits, expected = (self._answers.logits(found).float() for found in (answer, target))
        loss = self._answers.distance(logits, expected, batch, self._temperature)
        self.log("train/soft_target_loss", loss)
        if deep:
            hidden = hidden_state_loss(
                torch.stack(answer.hidden_states[1:]).float(),
                torch.stack(target.hidden_states[1:]).float(),
                batch["attention_mask"],
            )
            self.log("train/hidden_state_loss", hidden)
            loss = loss + self._hidden_weight * hidden
        self.stop_unless_finite(loss)
        self.log("train/loss", loss, prog_bar=True)
        return loss
