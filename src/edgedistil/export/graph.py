"""The inference graph of BERT and DistilBERT with their heads, written node by node from the weights.

What makes it fast on ONNX Runtime's CPU kernels: one matrix for query, key and value; bias inside the integer product;
Add and LayerNormalization as separate nodes; and, where the head reads the first token only, a last layer that computes
nothing else (lossless).
"""

import numpy as np
import onnx

from ..errors import UserError
from .attention import all_tokens, first_token
from .heads import write_head, write_norm
from .precision import Precision
from .weights import Array, ClassificationHead, EncoderWeights, LayerWeights, Linear, ModelWeights, VocabularyHead
from .writer import GraphWriter, Output

_ACTIVATIONS = ("gelu", "gelu_new", "relu")


def write_graph(
    weights: ModelWeights,
    precision: Precision,
    token_types: bool = False,
    padding: bool = True,
    standard: bool = False,
    hidden: bool = False,
) -> onnx.ModelProto:
    """Inputs ``input_ids``, ``attention_mask`` (and ``token_type_ids``), all int64 ``[batch, sequence]``, dynamic.

    Args:
        token_types: give a BERT model its third input; without it every token counts as type 0.
        padding: False leaves ``attention_mask`` out: for one text a call, or texts of one length.
        standard: operators of the ONNX standard only, for engines other than ONNX Runtime (FP32).
        hidden: give the last hidden state ``[batch, sequence, width]`` too, behind the head's outputs.

    Raises:
        UserError: an activation without a counterpart.
    """
    encoder = weights.encoder
    if encoder.activation not in _ACTIVATIONS:
        raise UserError(f"activation {encoder.activation!r} can't be exported; supported: {', '.join(_ACTIVATIONS)}")
    graph = GraphWriter(standard)
    with_types = token_types and encoder.token_types is not None
    tied = isinstance(weights.head, VocabularyHead)
    x = _embeddings(graph, encoder, precision, with_types, tied)
    only_first = isinstance(weights.head, ClassificationHead)
    for index, layer in enumerate(encoder.layers):
        last = only_first and index == len(encoder.layers) - 1
        x = _layer(graph, encoder, layer, precision, x, f"layer{index}", padding, last)
    outputs = write_head(graph, precision, encoder, weights.head, x)
    if hidden:
        outputs = [*outputs, Output(x, ["batch", "sequence", encoder.embedding_norm.gain.size])]
    inputs = ["input_ids"] + ["attention_mask"] * padding + ["token_type_ids"] * with_types
    return graph.model(inputs, outputs)


def _embeddings(graph: GraphWriter, weights: EncoderWeights, precision: Precision, with_types: bool, tied: bool) -> str:
    words = precision.lookup(graph, weights.words, "input_ids", "words", tied)
    if weights.words_shared is not None:
        shared = Linear(weights.words_shared, np.zeros(weights.words_shared.shape[1], np.float32))
        words = precision.linear(graph, words, shared, "words.shared")
    positions = weights.positions
    if weights.token_types is not None and not with_types:
        positions = positions + weights.token_types[0]
    length = graph.node("Shape", ["input_ids"], "length.vector", start=1, end=2)
    length = graph.node("Squeeze", [length], "length")
    places = graph.node(
        "Range", [graph.constant("zero", np.int64(0)), length, graph.constant("one", np.int64(1))], "places"
    )
    total = graph.node("Add", [words, precision.lookup(graph, positions, places, "positions")], "embeddings.sum")
    if with_types:
        types = graph.node("Gather", [graph.constant("types.table", weights.token_types), "token_type_ids"], "types")
        total = graph.node("Add", [total, types], "embeddings.sum_types")
    return write_norm(graph, total, weights.embedding_norm, "embeddings")


def _layer(
    graph: GraphWriter,
    weights: EncoderWeights,
    layer: LayerWeights,
    precision: Precision,
    x: str,
    name: str,
    padding: bool,
    last: bool,
) -> str:
    if last:
        bounds = [graph.constant(f"slice_{n}", np.array([n])) for n in (0, 1)]
        residual = graph.node("Slice", [x, *bounds, graph.constant("axis_1", np.array([1]))], f"{name}.first")
        context = first_token(graph, precision, layer, weights.head_size, x, residual, padding, name)
    else:
        residual = x
        context = all_tokens(graph, precision, layer, weights.head_size, x, padding, name)
    attended = precision.linear(graph, context, layer.out, f"{name}.out")
    residual = _rescaled(graph, residual, layer.attention_residual, f"{name}.residual1")
    x = write_norm(
        graph, graph.node("Add", [attended, residual], f"{name}.sum1"), layer.attention_norm, f"{name}.norm1"
    )
    hidden = precision.linear(graph, x, layer.ffn_in, f"{name}.ffn_in")
    hidden = graph.activation(weights.activation, hidden, f"{name}.active")
    ffn = precision.linear(graph, hidden, layer.ffn_out, f"{name}.ffn_out")
    x = _rescaled(graph, x, layer.ffn_residual, f"{name}.residual2")
    return write_norm(graph, graph.node("Add", [ffn, x], f"{name}.sum2"), layer.ffn_norm, f"{name}.norm2")


def _rescaled(graph: GraphWriter, x: str, scale: Array | None, name: str) -> str:
    return x if scale is None else graph.node("Mul", [x, graph.constant(f"{name}.scale", scale)], name)
