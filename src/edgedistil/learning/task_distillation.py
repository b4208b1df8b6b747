"""Task distillation: a teacher fine-tuned on the same task beside the labels."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError
from .attention import AttentionScores
from .fine_tuning import Batch, FineTuning
from .layer_map import layer_pairs
from .losses import attention_loss, hidden_state_loss


class TaskDistillation(FineTuning):
    """The student learns labels and the teacher's softened logits and, where asked, its hidden states and attention.

    loss = soft_weight · T² · KL(teacher ‖ student) + hard_weight · cross-entropy + hidden_weight · hidden states
    + attention_weight · attention scores; each term is logged as ``train/NAME_loss``. A term of weight 0 is not
    computed.

    Hidden states of the mapped layers are compared relative to the teacher's size; where the widths differ, the
    student's go through a learnt projection for each pair of layers (TinyBERT, Jiao et al. 2020, arXiv 1909.10351,
    equation 8; a matrix for each pair as in TextBrewer), which belongs to this module and not to the student.

    Args:
        network, optimizer, scheduler, metrics: as in :class:`FineTuning`.
        teacher: a classifier with the same vocabulary and classes, frozen; None when batches bring its logits as
            ``teacher_logits`` ``[batch, classes]``.
        temperature: T of the soft targets.
        layer_map: pairs [layer of the student, layer of the teacher], 0 for the embeddings; None: evenly spread.

    Raises:
        UserError: unknown layers in the map, unequal heads where attention is to be matched, no term left, layers to
            match and no teacher.
    """

    def __init__(
        self,
        network: Any,
        optimizer: Callable[[Iterable[Any]], torch.optim.Optimizer],
        scheduler: Callable[..., Any],
        metrics: Sequence[str],
        teacher: Any = None,
        temperature: float = 2.0,
        soft_weight: float = 0.5,
        hard_weight: float = 0.5,
        hidden_weight: float = 0.0,
        attention_weight: float = 0.0,
        layer_map: list[list[int]] | None = None,
    ) -> None:
        super().__init__(network, optimizer, scheduler, metrics)
        self._weights = {
            "soft_target": soft_weight,
            "hard_label": hard_weight,
            "hidden_state": hidden_weight,
            "attention": attention_weight,
        }
        _check_numbers(temperature, self._weights)
        self._temperature = temperature
        # In a list, so that Lightning neither moves it to train mode nor writes it into checkpoints.
        self._teacher = [] if teacher is None else [teacher.eval().requires_grad_(False)]
        self._projections = torch.nn.ModuleList()
        if hidden_weight or attention_weight:
            self._match_layers(layer_map)

    def _match_layers(self, layer_map: list[list[int]] | None) -> None:
        if not self._teacher:
            raise UserError("objective.hidden_weight and objective.attention_weight need a teacher that runs along")
        ours, theirs = self.network.config, self._teacher[0].config
        self._pairs = layer_pairs(layer_map, ours.num_hidden_layers, theirs.num_hidden_layers)
        if self._weights["hidden_state"] and ours.hidden_size != theirs.hidden_size:
            for _ in self._pairs:
                self._projections.append(torch.nn.Linear(ours.hidden_size, theirs.hidden_size, bias=False))
        if self._weights["attention"]:
            self._catch_attention()

    def _catch_attention(self) -> None:
        # Embeddings have hidden states but no attention.
        pairs = [pair for pair in self._pairs if 0 not in pair]
        if not pairs:
            raise UserError("objective.attention_weight needs a layer from 1 on both sides of objective.layer_map")
        self._scores = AttentionScores(self.network, [ours for ours, _ in pairs])
        self._teachers_scores = AttentionScores(self._teacher[0], [theirs for _, theirs in pairs])
        for pair, ours, theirs in zip(pairs, self._scores.heads, self._teachers_scores.heads, strict=True):
            if ours != theirs:
                raise UserError(
                    f"objective.attention_weight={self._weights['attention']:g} compares attention head by head, but "
                    f"layer {pair[0]} of the student has {ours} heads and layer {pair[1]} of the teacher {theirs}; "
                    "use objective.attention_weight=0"
                )

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        terms = self.terms(batch)
        for name, value in terms.items():
            self.log(f"train/{name}_loss", value)
        loss = torch.stack([self._weights[name] * value for name, value in terms.items()]).sum()
        self.stop_unless_finite(loss)
        self.log("train/loss", loss, prog_bar=True)
        return self.counted(loss, batch, *self._teacher)

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Each loss of non-zero weight, not yet weighted."""
        deep = self._weights["hidden_state"] > 0
        target = self._ask_teacher(batch, deep)
        answer = self.network(**self.inputs(batch), output_hidden_states=deep)
        logits, mask, terms = self.logits(answer).float(), batch["attention_mask"], {}
        if self._weights["soft_target"]:
            # Cached ones also where the teacher runs along, for its layers, on pieces that are not its own.
            expected = batch["teacher_logits"] if "teacher_logits" in batch else self.logits(target)
            terms["soft_target"] = self.soft_target(logits, expected.float(), batch)
        if self._weights["hard_label"]:
            terms["hard_label"] = self.hard_label(logits, batch)
        if deep:
            ours = torch.stack([self._project(i, answer.hidden_states[m]) for i, (m, _) in enumerate(self._pairs)])
            theirs = torch.stack([target.hidden_states[n] for _, n in self._pairs])
            terms["hidden_state"] = hidden_state_loss(ours.float(), theirs.float(), mask)
        if self._weights["attention"]:
            scores = torch.stack(self._scores.take()), torch.stack(self._teachers_scores.take())
            terms["attention"] = attention_loss(*scores, mask)
        return terms

    def soft_target(self, logits: Tensor, expected: Tensor, batch: Batch) -> Tensor:
        """The loss of float32 ``logits`` against the teacher's."""
        return self._answers.distance(logits, expected, batch, self._temperature)

    def _ask_teacher(self, batch: Batch, deep: bool) -> Any:
        if not self._teacher:
            return None
        teacher = self._teacher[0]
        with torch.no_grad():
            return teacher.to(self.device)(**self.inputs(batch, teacher), output_hidden_states=deep)

    def _project(self, pair: int, hidden: Tensor) -> Tensor:
        projected: Tensor = self._projections[pair](hidden) if self._projections else hidden
        return projected


def _check_numbers(temperature: float, weights: dict[str, float]) -> None:
    if not temperature > 0:
        raise UserError(f"objective.temperature={temperature:g} is out of range: it must be above 0")
    options = {"soft_target": "soft", "hard_label": "hard", "hidden_state": "hidden", "attention": "attention"}
    for name, value in weights.items():
        if not value >= 0:
            raise UserError(f"objective.{options[name]}_weight={value:g} is out of range: it must be at least 0")
    if not any(weights.values()):
        raise UserError("every weight of the objective is 0; example: objective.soft_weight=0.5")
