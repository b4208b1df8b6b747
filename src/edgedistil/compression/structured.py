"""Structured pruning: which heads and neurons stay, and the cut itself."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..models.layers import Layer, encoder_layers
from .importance import Scores


@dataclass(frozen=True)
class Kept:
    """Indices of the heads and neurons of one layer that stay, ascending."""

    heads: list[int]
    neurons: list[int]


def choose(model: Any, scores: Scores, ratio: float, ffn_multiple: int) -> list[Kept]:
    """The heads and neurons to keep so that at least ``ratio`` of their weights goes at the least loss of importance.

    For every number of heads removed (least important first), the neurons that must go with them follow; the split
    with the smallest sum of removed importance wins (Kwon et al. 2022, algorithm 1, with weights for its budget).
    Every layer keeps one head and one multiple of neurons. Widths are rounded to ``ffn_multiple`` last, because
    matrix kernels work in such strips; the share really removed can differ from ``ratio`` by that rounding.
    """
    layers = encoder_layers(model)
    head_cost, neuron_cost = unit_costs(layers[0])
    budget = ratio * sum(x.heads * head_cost + x.neurons * neuron_cost for x in layers)
    heads = _removable([s.cpu() for s in scores.heads], keep=1)
    neurons = _removable([s.cpu() for s in scores.neurons], keep=min(ffn_multiple, *(x.neurons for x in layers)))
    best: tuple[float, int, int] | None = None
    for count in range(len(heads) + 1):
        left = budget - count * head_cost
        needed = max(0, -int(-left // neuron_cost))
        if needed > len(neurons):
            continue
        loss = sum(h[0] for h in heads[:count]) + sum(n[0] for n in neurons[:needed])
        if best is None or loss < best[0]:
            best = (loss, count, needed)
    if best is None:
        # Every layer at its smallest is as near as this model comes.
        best = (0.0, len(heads), len(neurons))
    gone_heads = {(layer, unit) for _, layer, unit in heads[: best[1]]}
    gone_neurons = {(layer, unit) for _, layer, unit in neurons[: best[2]]}
    return [
        Kept(
            [h for h in range(x.heads) if (i, h) not in gone_heads],
            _rounded(scores.neurons[i], x.neurons - sum(layer == i for layer, _ in gone_neurons), ffn_multiple),
        )
        for i, x in enumerate(layers)
    ]


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


def unit_costs(layer: Layer) -> tuple[int, int]:
    """Weights of one head (query, key, value with biases, output) and of one neuron (in with bias, out)."""
    width = layer.query.in_features
    return layer.head_size * (4 * width + 3), 2 * width + 1


def _prunable(layers: list[Layer]) -> int:
    return sum(x.heads * unit_costs(x)[0] + x.neurons * unit_costs(x)[1] for x in layers)


def _removable(scores: list[Tensor], keep: int) -> list[tuple[float, int, int]]:
    """(score, layer, unit), least important first, without the ``keep`` best of each layer."""
    units = []
    for layer, values in enumerate(scores):
        order = values.argsort(descending=True).tolist()
        units += [(float(values[unit]), layer, unit) for unit in order[keep:]]
    return sorted(units)


def _rounded(scores: Tensor, count: int, multiple: int) -> list[int]:
    if len(scores) >= multiple:
        count = max(multiple, round(count / multiple) * multiple)
    return sorted(scores.argsort(descending=True)[: min(count, len(scores))].tolist())


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
