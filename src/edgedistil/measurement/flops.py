"""Floating-point operations of one sentence, counted from the shapes that are really there."""

from typing import Any


def classifier_flops(weights: Any, tokens: int) -> int:
    """Operations (multiply and add count as two) of the exported graph for one sentence of ``tokens`` tokens.

    Matrix products only; the last layer computes queries, output and FFN for the first token alone, as the graph does.

    Args:
        weights: :class:`edgedistil.export.weights.ClassifierWeights`.
    """
    total = 0
    for index, layer in enumerate(weights.layers):
        rows = 1 if index == len(weights.layers) - 1 else tokens
        inner = layer.query.bias.size
        total += rows * layer.query.weight.size + tokens * (layer.key.weight.size + layer.value.weight.size)
        total += 2 * rows * tokens * inner
        total += rows * (layer.out.weight.size + layer.ffn_in.weight.size + layer.ffn_out.weight.size)
    return 2 * int(total + weights.dense.weight.size + weights.classifier.weight.size)
