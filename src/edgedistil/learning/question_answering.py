"""Extractive question answering as LightningModules: fine-tuning, and with a teacher beside the labels."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch

from .fine_tuning import Batch, FineTuning
from .task_distillation import TaskDistillation

# From the logits [2, tokens] of held-out windows, by their index, to scores by name.
Score = Callable[[Mapping[int, Any]], dict[str, float]]


class SpanFineTuning(FineTuning):
    """Cross-entropy on the first and the last token of the answer (see :func:`.losses.span_loss`).

    Batches are :func:`edgedistil.tasks.span_data.collate_windows`'s.

    Args:
        network: a transformers model for question answering.
        optimizer, scheduler: as in :class:`.FineTuning`.
        metrics: names among the scores; the first is logged as ``held_out/score``, which chooses the model.
        score: puts the answers of held-out windows together and scores them by question.
    """

    def __init__(
        self,
        network: Any,
        optimizer: Callable[[Iterable[Any]], torch.optim.Optimizer],
        scheduler: Callable[..., Any],
        metrics: Sequence[str],
        score: Score,
    ) -> None:
        super().__init__(network, optimizer, scheduler, [])
        self._listen(metrics, score)

    def _listen(self, metrics: Sequence[str], score: Score) -> None:
        self._names, self._score = list(metrics), score
        self._found: dict[int, Any] = {}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        loss, logits = self.loss(batch)
        self.log("held_out/loss", loss, batch_size=len(logits))
        rows, lengths = logits.detach().float().cpu().numpy(), batch["attention_mask"].sum(1).tolist()
        for index, row, length in zip(batch["window"].tolist(), rows, lengths, strict=True):
            self._found[index] = row[:, :length]

    def on_validation_epoch_end(self) -> None:
        values = self._score(self._found)
        self._found = {}
        for name in self._names:
            self.log(f"held_out/{name}", values[name])
        self.log("held_out/score", values[self._names[0]], prog_bar=True)


class SpanDistillation(SpanFineTuning, TaskDistillation):
    """:class:`.TaskDistillation` of a model that answers by spans: DistilBERT's second step, "DistilBERT (D)".

    loss = soft_weight · (mean of the start's and the end's T² · KL(teacher ‖ student)) + hard_weight · cross-entropy
    + hidden_weight · hidden states + attention_weight · attention scores.

    Args:
        network, optimizer, scheduler, metrics, score: as in :class:`SpanFineTuning`.
        teacher: a model for question answering with the same vocabulary, frozen; None when batches bring its logits
            as ``teacher_logits`` ``[batch, 2, tokens]``.
        temperature, soft_weight, hard_weight, hidden_weight, attention_weight, layer_map: as in
            :class:`.TaskDistillation`.

    Raises:
        UserError: as :class:`.TaskDistillation`.
    """

    def __init__(
        self,
        network: Any,
        optimizer: Callable[[Iterable[Any]], torch.optim.Optimizer],
        scheduler: Callable[..., Any],
        metrics: Sequence[str],
        score: Score,
        teacher: Any = None,
        temperature: float = 2.0,
        soft_weight: float = 0.5,
        hard_weight: float = 0.5,
        hidden_weight: float = 0.0,
        attention_weight: float = 0.0,
        layer_map: list[list[int]] | None = None,
    ) -> None:
        weights = (soft_weight, hard_weight, hidden_weight, attention_weight)
        TaskDistillation.__init__(
            self, network, optimizer, scheduler, [], teacher, temperature, *weights, layer_map=layer_map
        )
        self._listen(metrics, score)
