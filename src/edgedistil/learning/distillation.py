"""Distillation from a parent of the same task: what recovery after a change of structure trains with."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from .fine_tuning import Batch
from .layer_map import layer_pairs
from .task_distillation import TaskDistillation


class LogitDistillation(TaskDistillation):
    """The student learns the parent's softened logits and, where asked, its hidden states and the labels.

    loss = T² · KL(parent ‖ student) + hidden_weight · hidden states + hard_weight · cross-entropy. A term of weight 0
    is not computed. Hidden states alone need the parent itself, so without them its logits may come with the batches.
    Logits are of classes, or of starts and ends (:mod:`.answers`).

    Args:
        network: the student, trained.
        teacher: the parent, frozen; None where batches bring its logits as ``teacher_logits`` ``[batch, classes]``.
        temperature: T of the soft targets.
        hidden_weight: weight of the hidden-state loss.
        hard_weight: weight of the cross-entropy with the labels.
        layer_map: pairs [layer of the student, layer of the parent] whose hidden states are compared, 0 for the
            embeddings; None: every layer of the student but its embeddings, evenly spread over the parent's.
        teacher_ids: ``[vocabulary of the student]`` ids of the same pieces in the parent's vocabulary; None where the
            two are one.

    Raises:
        UserError: as :class:`TaskDistillation`.
    """

    def __init__(
        self,
        network: Any,
        teacher: Any,
        optimizer: Callable[[Iterable[Any]], torch.optim.Optimizer],
        scheduler: Callable[..., Any],
        temperature: float = 2.0,
        hidden_weight: float = 1.0,
        hard_weight: float = 0.0,
        layer_map: list[list[int]] | None = None,
        teacher_ids: Tensor | None = None,
    ) -> None:
        if layer_map is None and hidden_weight and teacher is not None:
            depths = (model.config.num_hidden_layers for model in (network, teacher))
            layer_map = [list(pair) for pair in layer_pairs(None, *depths) if pair[0]]
        super().__init__(
            network,
            optimizer,
            scheduler,
            metrics=(),
            teacher=teacher,
            temperature=temperature,
            soft_weight=1.0,
            hard_weight=hard_weight,
            hidden_weight=hidden_weight,
            layer_map=layer_map,
        )
        self._teacher_ids = teacher_ids

    def inputs(self, batch: Batch, network: Any = None) -> Batch:
        found = super().inputs(batch, network)
        if self._teacher_ids is not None and network is not None:
            known = self._teacher_ids.to(self.device)
            found = {**found, "input_ids": known[found["input_ids"]]}
        return found
