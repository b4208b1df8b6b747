"""Scores of attention heads and FFN neurons: how much the task's loss would feel their absence.

An importance is anything callable as ``importance(model, batches) -> Scores``; configs name it by ``_target_``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..models.kinds import takes_token_types
from ..models.layers import encoder_layers

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Scores:
    """Per layer one score a head (``[heads]``) and one a neuron (``[neurons]``); larger is more important."""

    heads: list[Tensor]
    neurons: list[Tensor]


class FisherImportance:
    """Diagonal Fisher information of mask variables at 1 (Kwon et al. 2022, arXiv 2204.09656, section 4.1).

    A head's mask multiplies its context, a neuron's its activation; the score is the sum over sentences of the squared
    gradient of the loss by that mask. Half of it is the second-order estimate of the loss that removal costs.
    """

    def __call__(self, model: Any, batches: list[Batch]) -> Scores:
        def squared(gradient: Tensor) -> Tensor:
            return (gradient**2).sum(0)

        return _mask_gradients(model, batches, squared)


class TaylorImportance:
    """First-order estimate of the change of the loss (Michel et al. 2019, arXiv 1905.10650, equation 2)."""

    def __call__(self, model: Any, batches: list[Batch]) -> Scores:
        def absolute(gradient: Tensor) -> Tensor:
            return gradient.abs().sum(0)

        return _mask_gradients(model, batches, absolute)


class MagnitudeImportance:
    """L2 norm of the weights that read a unit's output; needs no data."""

    def __call__(self, model: Any, batches: list[Batch]) -> Scores:
        heads, neurons = [], []
        for layer in encoder_layers(model):
            out = layer.out.weight.detach()
            heads.append(out.view(out.shape[0], layer.heads, layer.head_size).norm(dim=(0, 2)))
            neurons.append(layer.ffn_out.weight.detach().norm(dim=0))
        return Scores(heads, neurons)


def _mask_gradients(model: Any, batches: list[Batch], reduce: Callable[[Tensor], Tensor]) -> Scores:
    """Gradients ``[sentences, units]`` of each sentence's own loss by each unit's mask, reduced over sentences."""
    layers = encoder_layers(model)
    heads = [torch.zeros(x.heads) for x in layers]
    neurons = [torch.zeros(x.neurons) for x in layers]
    seen: dict[tuple[str, int], Tensor] = {}

    def keep(kind: str, index: int) -> Any:
        def hook(module: Any, inputs: tuple[Tensor, ...]) -> None:
            inputs[0].retain_grad()
            seen[kind, index] = inputs[0]

        return hook

    hooks = [x.out.register_forward_pre_hook(keep("head", i)) for i, x in enumerate(layers)]
    hooks += [x.ffn_out.register_forward_pre_hook(keep("neuron", i)) for i, x in enumerate(layers)]
    wanted = {"input_ids", "attention_mask"} | ({"token_type_ids"} if takes_token_types(model) else set())
    model.eval()
    try:
        for batch in batches:
            logits = model(**{k: v for k, v in batch.items() if k in wanted}).logits
            # A sum, so that each sentence's gradient is its own whatever the batch holds.
            torch.nn.functional.cross_entropy(logits, batch["labels"], reduction="sum").backward()
            for i, layer in enumerate(layers):
                context, active = seen["head", i], seen["neuron", i]
                assert context.grad is not None
                assert active.grad is not None
                products = (context * context.grad).detach()
                by_head = products.view(*products.shape[:2], layer.heads, layer.head_size).sum((1, 3))
                heads[i] += reduce(by_head)
                neurons[i] += reduce((active * active.grad).detach().sum(1))
            model.zero_grad(set_to_none=True)
    finally:
        for hook in hooks:
            hook.remove()
    return Scores(heads, neurons)
