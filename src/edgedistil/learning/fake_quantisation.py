"""A classifier that computes as its quantised file will, while it learns."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ..models.layers import Layer, encoder, encoder_layers
from ..models.low_rank import FactoredEmbedding
from .rounding import Rounding

# Added to the scores of padding.
_MASKED = -1e9
ACTIVATIONS = {
    "gelu": functional.gelu,
    "gelu_new": lambda x: functional.gelu(x, approximate="tanh"),
    "relu": functional.relu,
}


@contextmanager
def fake_quantised(network: Any, rounding: Rounding, token_types: bool) -> Iterator[None]:
    """Within, a BERT or DistilBERT classifier answers as its exported graph would, at any batch size.

    Its forward pass follows :func:`edgedistil.export.graph.write_graph` node by node (the last layer computes the first
    token alone, and multiplies by its key transposed), with weights and activations rounded in float, without dropout.
    Parameters stay as they are, and learn. It answers with ``logits`` alone.

    Args:
        token_types: the graph takes them as an input; otherwise every token counts as type 0.
    """
    graph = _Graph(network, rounding, token_types)
    network.forward = graph.forward
    try:
        yield
    finally:
        del network.forward


class _Graph:
    def __init__(self, network: Any, rounding: Rounding, token_types: bool) -> None:
        self._network, self._rounding = network, rounding
        config, bert = network.config, network.config.model_type == "bert"
        self._types = token_types and bert
        self._bert = bert
        self._active = ACTIVATIONS[config.hidden_act if bert else config.activation]

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        output_hidden_states: bool = False,
    ) -> Any:
        if output_hidden_states:
            raise ValueError("the graph that ships has no hidden states of its last layer")
        # Steps of 8 bits would drown in bfloat16's.
        with torch.autocast(input_ids.device.type, enabled=False):
            real = attention_mask[:, :, None].bool()
            x = self._embedded(input_ids, token_type_ids, real)
            blocks, layers = encoder(self._network).layer, encoder_layers(self._network)
            for block, layer in zip(blocks[:-1], layers[:-1], strict=True):
                x = self._rest(block, layer, x, self._all_tokens(layer, x, real), real)
            context = self._first_token(layers[-1], x, real)
            first = self._rest(blocks[-1], layers[-1], x[:, :1], context, None)
            return SimpleNamespace(logits=self._head(first), hidden_states=None)

    def _linear(self, x: Tensor, weight: Tensor, bias: Tensor | None, real: Tensor | None) -> Tensor:
        return functional.linear(self._rounding.activations(x, real), self._rounding.matrix(weight), bias)

    def _embedded(self, ids: Tensor, types: Tensor | None, real: Tensor) -> Tensor:
        tables = getattr(self._network, self._network.base_model_prefix).embeddings
        words = tables.word_embeddings
        # The rows that are read, each rounded as in its table.
        x = self._rounding.rows(functional.embedding(ids, words.weight, words.padding_idx))
        if isinstance(words, FactoredEmbedding):
            x = self._linear(x, words.projection.weight, None, real)
        positions = tables.position_embeddings.weight[: ids.shape[1]]
        if self._bert and not self._types:
            positions = positions + tables.token_type_embeddings.weight[0]
        x = x + self._rounding.rows(positions)
        if self._types and types is not None:
            x = x + tables.token_type_embeddings(types)
        embedded: Tensor = tables.LayerNorm(x)
        return embedded

    def _all_tokens(self, layer: Layer, x: Tensor, real: Tensor) -> Tensor:
        scale = 1 / math.sqrt(layer.head_size)
        taken = self._rounding.activations(x, real)

        def by_head(weight: Tensor, bias: Tensor) -> Tensor:
            product = functional.linear(taken, self._rounding.matrix(weight), bias)
            heads: Tensor = product.unflatten(-1, (layer.heads, -1)).transpose(1, 2)
            return heads

        query = by_head(layer.query.weight * scale, layer.query.bias * scale)
        key, value = (by_head(part.weight, part.bias) for part in (layer.key, layer.value))
        scores = query @ key.transpose(-1, -2) + _padding(real)[:, None]
        return (scores.softmax(-1) @ value).transpose(1, 2).flatten(-2)

    def _first_token(self, layer: Layer, x: Tensor, real: Tensor) -> Tensor:
        scale = 1 / math.sqrt(layer.head_size)
        own = torch.eye(layer.heads, device=x.device, dtype=x.dtype).repeat_interleave(layer.head_size, dim=1)
        query = self._linear(x[:, :1], layer.query.weight * scale, layer.query.bias * scale, None) * own
        query = self._linear(query, layer.key.weight.T, None, None)
        shares = (query @ x.transpose(-1, -2) + _padding(real)).softmax(-1)
        value = self._linear(shares @ x, layer.value.weight, None, None) * own
        return value.sum(1, keepdim=True) + layer.value.bias

    def _rest(self, block: Any, layer: Layer, x: Tensor, context: Tensor, real: Tensor | None) -> Tensor:
        norms = (
            (block.attention.output.LayerNorm, block.output.LayerNorm)
            if self._bert
            else (block.sa_layer_norm, block.output_layer_norm)
        )
        x = norms[0](self._linear(context, layer.out.weight, layer.out.bias, real) + x)
        hidden = self._active(self._linear(x, layer.ffn_in.weight, layer.ffn_in.bias, real))
        ffn: Tensor = norms[1](self._linear(hidden, layer.ffn_out.weight, layer.ffn_out.bias, real) + x)
        return ffn

    def _head(self, first: Tensor) -> Tensor:
        dense = self._network.bert.pooler.dense if self._bert else self._network.pre_classifier
        pooled = self._linear(first, dense.weight, dense.bias, None)[:, 0]
        logits: Tensor = self._network.classifier(pooled.tanh() if self._bert else pooled.relu())
        return logits


def _padding(real: Tensor) -> Tensor:
    """What is added to scores: ``[texts, 1, tokens]``."""
    return (~real).transpose(1, 2) * _MASKED
