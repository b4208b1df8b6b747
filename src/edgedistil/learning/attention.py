"""Attention scores of chosen layers, caught while a model runs."""

import math
from typing import Any

import torch
from torch import Tensor

from ..models.layers import Layer, encoder_layers


class AttentionScores:
    """Catches queries and keys of some layers and multiplies them to attention scores, before softmax and dropout.

    What a transformers model returns as attentions has been through dropout already, and needs its slow attention.

    Args:
        network: BERT or DistilBERT with any head.
        layers: numbers of layers, the first is 1.

    Raises:
        UserError: another architecture.
    """

    def __init__(self, network: Any, layers: list[int]) -> None:
        every = encoder_layers(network)
        self._layers: list[Layer] = [every[number - 1] for number in layers]
        self._caught: dict[int, Tensor] = {}
        for layer in self._layers:
            for linear in (layer.query, layer.key):
                linear.register_forward_hook(self._catch)

    @property
    def heads(self) -> list[int]:
        """Heads of each chosen layer."""
        return [layer.heads for layer in self._layers]

    def take(self) -> list[Tensor]:
        """Scores Q Kᵀ / √d of the last run, ``[batch, heads, tokens, tokens]`` in float32 for each chosen layer."""
        scores = [_scores(self._caught[id(x.query)], self._caught[id(x.key)], x.head_size) for x in self._layers]
        self._caught = {}
        return scores

    def _catch(self, linear: torch.nn.Module, inputs: Any, output: Tensor) -> None:
        self._caught[id(linear)] = output


def _scores(query: Tensor, key: Tensor, head_size: int) -> Tensor:
    query, key = (x.float().unflatten(-1, (-1, head_size)).transpose(1, 2) for x in (query, key))
    return query @ key.transpose(-1, -2) / math.sqrt(head_size)
