"""A model's weights under one set of names for BERT and DistilBERT, shrunken or not, and for each kind of head."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Linear:
    """``y = x @ weight + bias`` with ``weight`` ``[in, out]``: transposed from PyTorch's order."""

    weight: Array
    bias: Array


@dataclass(frozen=True)
class Norm:
    """Layer normalisation over the last axis."""

    gain: Array
    bias: Array
    epsilon: float


@dataclass(frozen=True)
class LayerWeights:
    """One transformer layer; ``heads`` times the head size is the width of query, key and value.

    ``attention_residual`` and ``ffn_residual`` ``[width]`` multiply what is added to the attention's and to the FFN's
    output: the inverse of what :mod:`edgedistil.export.smoothing` took out of the norm before. None: nothing was.
    """

    query: Linear
    key: Linear
    value: Linear
    out: Linear
    attention_norm: Norm
    ffn_in: Linear
    ffn_out: Linear
    ffn_norm: Norm
    heads: int
    attention_residual: Array | None = None
    ffn_residual: Array | None = None


@dataclass(frozen=True)
class EncoderWeights:
    """Embedding tables ``[rows, width]`` and the layers; ``token_types`` is None where the model has none.

    Where the word table is a product of two, ``words`` is ``[rows, rank]`` and ``words_shared`` ``[rank, width]``.
    """

    words: Array
    positions: Array
    token_types: Array | None
    embedding_norm: Norm
    layers: list[LayerWeights]
    head_size: int
    activation: str
    words_shared: Array | None = None


@dataclass(frozen=True)
class ClassificationHead:
    """Reads the first token: a dense layer with its activation, then the classifier."""

    dense: Linear
    dense_activation: str
    classifier: Linear


@dataclass(frozen=True)
class SpanHead:
    """Start and end scores of every token (extractive question answering); ``outputs.weight`` is ``[width, 2]``."""

    outputs: Linear


@dataclass(frozen=True)
class VocabularyHead:
    """Scores of every vocabulary entry for every token; the decoder's matrix is the word table (tied)."""

    transform: Linear
    norm: Norm
    bias: Array


Head = ClassificationHead | SpanHead | VocabularyHead


@dataclass(frozen=True)
class ModelWeights:
    """An encoder with the head of its task."""

    encoder: EncoderWeights
    head: Head

    @property
    def parameters(self) -> int:
        """Elements of all weights (position and type tables as stored in the folder)."""
        return sum(array.size for array in _arrays(self))


def _arrays(value: Any) -> Iterator[NDArray[Any]]:
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _arrays(item)
    elif is_dataclass(value):
        for field in fields(value):
            yield from _arrays(getattr(value, field.name))
