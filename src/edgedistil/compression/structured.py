"""Structured pruning: the cut itself."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..measurement.units import HEADS, NEURONS, unit_weights
from ..models.layers import Layer, encoder_layers


@dataclass(frozen=True)
class Kept:
    """Indices of the heads and neurons of one layer that stay, ascending."""

    heads: list[int]
    neurons: list[int]


def cut(model: Any, kept: list[Kept]) -> float:
    """Take everything that is not kept out of the tensors, in place.

    Returns:
        The share of the prunable weights (heads and neurons with their biases) that went.
    """
    layers = encoder_layers(model)
    before = _prunable(layers)
    for layer, keep in zip(layers, kept, strict=True):
        rows = torch.tensor([h * layer.head_size + i for h in keep.heads for i in range(layer.head_size)])
        neurons = torch.tensor(keep.neurons)
        layer.replace(
            query=_rows(layer.query, rows),
            key=_rows(layer.key, rows),
            value=_rows(layer.value, rows),
            out=_columns(layer.out, rows),
            ffn_in=_rows(layer.ffn_in, neurons),
            ffn_out=_columns(layer.ffn_out, neurons),
        )
    return 1 - _prunable(encoder_layers(model)) / before


def _prunable(layers: list[Layer]) -> int:
    each = [unit_weights(x.query.in_features, x.head_size) for x in layers]
    return sum(x.heads * own[HEADS] + x.neurons * own[NEURONS] for x, own in zip(layers, each, strict=True))


def _rows(linear: nn.Linear, keep: Tensor) -> nn.Linear:
    new = nn.Linear(linear.in_features, len(keep))
    new.weight = nn.Parameter(linear.weight.detach()[keep].clone())
    new.bias = nn.Parameter(linear.bias.detach()[keep].clone())
    return new


def _columns(linear: nn.Linear, keep: Tensor) -> nn.Linear:
    new = nn.Linear(len(keep), linear.out_features)
    new.weight = nn.Parameter(linear.weight.detach()[:, keep].clone())
    new.bias = nn.Parameter(linear.bias.detach().clone())
    return new
