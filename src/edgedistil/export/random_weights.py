"""Weights of a given shape with seeded random values, for graphs whose time and size alone matter."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .weights import (
    ClassificationHead,
    EncoderWeights,
    Head,
    LayerWeights,
    Linear,
    ModelWeights,
    Norm,
    SpanHead,
    VocabularyHead,
)

# Rows of the word table: which rows are read does not matter to a clock, and a whole vocabulary takes long to write.
VOCABULARY = 1000


def vocabulary_head(encoder: EncoderWeights, seed: int = 0) -> VocabularyHead:
    """A masked-language-modelling head of the encoder's width with random weights, tied to its word table."""
    chance, width = np.random.default_rng(seed), encoder.positions.shape[1]

    def drawn(*shape: int) -> Any:
        return (0.05 * chance.standard_normal(shape)).astype(np.float32)

    return VocabularyHead(
        Linear(drawn(width, width), drawn(width)),
        Norm(np.ones(width, np.float32), drawn(width), 1e-12),
        drawn(len(encoder.words)),
    )


def random_weights(shape: dict[str, Any], structure: Sequence[tuple[int, int]], positions: int) -> ModelWeights:
    """A model of this shape with the given (heads, neurons) in its layers.

    Args:
        shape: ``width``, ``head_size``, ``activation``, ``spans`` (the head answers by spans) and ``classes``.
        positions: rows of the position table.
    """
    chance = np.random.default_rng(0)
    width, size = shape["width"], shape["head_size"]

    def matrix(rows: int, columns: int) -> Any:
        return (0.05 * chance.standard_normal((rows, columns))).astype(np.float32)

    def linear(rows: int, columns: int) -> Linear:
        return Linear(matrix(rows, columns), matrix(1, columns)[0])

    def norm() -> Norm:
        return Norm(np.ones(width, np.float32), matrix(1, width)[0], 1e-12)

    layers = [
        LayerWeights(
            query=linear(width, heads * size),
            key=linear(width, heads * size),
            value=linear(width, heads * size),
            out=linear(heads * size, width),
            attention_norm=norm(),
            ffn_in=linear(width, neurons),
            ffn_out=linear(neurons, width),
            ffn_norm=norm(),
            heads=heads,
        )
        for heads, neurons in structure
    ]
    encoder = EncoderWeights(
        matrix(VOCABULARY, width), matrix(positions, width), None, norm(), layers, size, shape["activation"]
    )
    head: Head = SpanHead(linear(width, 2))
    if not shape["spans"]:
        head = ClassificationHead(linear(width, width), "relu", linear(width, shape["classes"]))
    return ModelWeights(encoder, head)
