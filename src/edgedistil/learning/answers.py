"""What a model's answers are and how far they are from others': classes or a number of a text, or starts and ends of a
window.

Recovery needs three things of a network, whatever its head: its scores, their loss against
what is right, and their distance from a teacher's.
"""

from typing import Any

import torch
from torch import Tensor

from ..models.kinds import is_regression
from ..models.spans import is_span_model
from .losses import soft_target_loss, span_loss, span_soft_target_loss

Batch = dict[str, Tensor]


class Classes:
    """One class a text; batches bring ``labels`` ``[batch]``."""

    def logits(self, output: Any) -> Tensor:
        """``[batch, classes]`` out of a network's output."""
        found: Tensor = output.logits
        return found

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy in nats against what the batch says is right, mean over texts."""
        return torch.nn.functional.cross_entropy(logits, batch["labels"])

    def distance(self, logits: Tensor, expected: Tensor, batch: Batch, temperature: float) -> Tensor:
        """T² · KL(expected ‖ logits) of softened answers, mean over texts: :func:`.losses.soft_target_loss`."""
        return soft_target_loss(logits, expected, temperature)


class Number:
    """One number a text (a regression); batches bring it as ``labels`` ``[batch]``."""

    def logits(self, output: Any) -> Tensor:
        """``[batch, 1]`` out of a network's output."""
        found: Tensor = output.logits
        return found

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Squared error, mean over texts (transformers' ``problem_type="regression"``)."""
        return torch.nn.functional.mse_loss(logits[:, 0], batch["labels"].float())

    def distance(self, logits: Tensor, expected: Tensor, batch: Batch, temperature: float) -> Tensor:
        """Squared distance from the teacher's number, mean over texts; a number has no temperature."""
        return torch.nn.functional.mse_loss(logits, expected)


class Spans:
    """The first and the last token of an answer; batches bring ``spans`` ``[batch, 2]``."""

    def logits(self, output: Any) -> Tensor:
        """``[batch, 2, tokens]``, start and end."""
        return torch.stack([output.start_logits, output.end_logits], 1)

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """:func:`.losses.span_loss`, mean over windows."""
        return span_loss(logits, batch["spans"], batch["attention_mask"])

    def distance(self, logits: Tensor, expected: Tensor, batch: Batch, temperature: float) -> Tensor:
        """:func:`.losses.span_soft_target_loss`, mean over windows."""
        return span_soft_target_loss(logits, expected, batch["attention_mask"], temperature)


def answers_of(network: Any) -> Classes | Number | Spans:
    """What this transformers model answers with, told by its class and the width of its head."""
    if is_span_model(network):
        return Spans()
    return Number() if is_regression(network) else Classes()
