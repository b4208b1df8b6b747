"""The inference graph of a BERT or DistilBERT sequence classifier, written node by node.

What makes it fast on ONNX Runtime's CPU kernels: one matrix for query, key and value; bias inside the integer product;
Add and LayerNormalization as separate nodes; and a last layer that computes the first token only, because nothing else
reaches the classifier (lossless).
"""

import numpy as np
import onnx

from ..errors import UserError
from .precision import Float32, Precision
from .weights import ClassifierWeights, LayerWeights, Linear, Norm
from .writer import MICROSOFT, GraphWriter

_ACTIVATIONS = {"gelu": ("Gelu", MICROSOFT), "gelu_new": ("FastGelu", MICROSOFT), "relu": ("Relu", "")}
# Added to the scores of padding; small enough that float32 softmax gives it weight 0.
_MASKED = np.float32(-1e9)


def classifier_graph(weights: ClassifierWeights, precision: Precision, token_types: bool) -> onnx.ModelProto:
    """Inputs ``input_ids``, ``attention_mask`` (and ``token_type_ids``), output ``logits``; both axes dynamic.

    Args:
        token_types: give a BERT model its third input; without it every token counts as type 0.

    Raises:
        UserError: an activation without a counterpart.
    """
    if weights.activation not in _ACTIVATIONS:
        raise UserError(f"activation {weights.activation!r} can't be exported; supported: {', '.join(_ACTIVATIONS)}")
    graph = GraphWriter()
    with_types = token_types and weights.token_types is not None
    x = _embeddings(graph, weights, precision, with_types)
    bias = _attention_bias(graph)
    for index, layer in enumerate(weights.layers):
        x = _layer(graph, weights, layer, precision, x, bias, f"layer{index}", last=index == len(weights.layers) - 1)
    first = graph.node("Squeeze", [x, graph.constant("axis_1", np.array([1]))], "first_token")
    pooled = precision.linear(graph, first, weights.dense, "dense")
    pooled = graph.node({"relu": "Relu", "tanh": "Tanh"}[weights.dense_activation], [pooled], "dense.active")
    # The classifier is a few thousand weights; rounding them would cost answers and save nothing.
    logits = Float32().linear(graph, pooled, weights.classifier, "logits")
    inputs = ["input_ids", "attention_mask"] + (["token_type_ids"] if with_types else [])
    return graph.model(inputs, logits, weights.classifier.bias.size)


def _embeddings(graph: GraphWriter, weights: ClassifierWeights, precision: Precision, with_types: bool) -> str:
    words = precision.lookup(graph, weights.words, "input_ids", "words")
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
    return _norm(graph, total, weights.embedding_norm, "embeddings")


def _attention_bias(graph: GraphWriter) -> str:
    """0 for real tokens, −1e9 for padding, as ``[batch, 1, 1, sequence]``."""
    mask = graph.node("Cast", ["attention_mask"], "mask.float", to=onnx.TensorProto.FLOAT)
    padding = graph.node("Sub", [graph.constant("float_one", np.float32(1)), mask], "mask.padding")
    bias = graph.node("Mul", [padding, graph.constant("masked", _MASKED)], "mask.bias")
    return graph.node("Unsqueeze", [bias, graph.constant("axes_12", np.array([1, 2]))], "mask.broadcast")


def _layer(
    graph: GraphWriter,
    weights: ClassifierWeights,
    layer: LayerWeights,
    precision: Precision,
    x: str,
    bias: str,
    name: str,
    last: bool,
) -> str:
    scale = np.float32(1 / np.sqrt(weights.head_size))
    query = Linear(layer.query.weight * scale, layer.query.bias * scale)
    if last:
        residual = graph.node(
            "Slice",
            [
                x,
                graph.constant("slice_0", np.array([0])),
                graph.constant("slice_1", np.array([1])),
                graph.constant("axis_1", np.array([1])),
            ],
            f"{name}.first",
        )
        q = precision.linear(graph, residual, query, f"{name}.query")
        k, v = _joint(graph, precision, x, [layer.key, layer.value], f"{name}.kv")
    else:
        residual = x
        q, k, v = _joint(graph, precision, x, [query, layer.key, layer.value], f"{name}.qkv")
    context = _attention(graph, layer.heads, weights.head_size, q, k, v, bias, name)
    attended = precision.linear(graph, context, layer.out, f"{name}.out")
    x = _norm(graph, graph.node("Add", [attended, residual], f"{name}.sum1"), layer.attention_norm, f"{name}.norm1")
    op, domain = _ACTIVATIONS[weights.activation]
    hidden = graph.node(op, [precision.linear(graph, x, layer.ffn_in, f"{name}.ffn_in")], f"{name}.active", domain)
    ffn = precision.linear(graph, hidden, layer.ffn_out, f"{name}.ffn_out")
    return _norm(graph, graph.node("Add", [ffn, x], f"{name}.sum2"), layer.ffn_norm, f"{name}.norm2")


def _joint(graph: GraphWriter, precision: Precision, x: str, parts: list[Linear], name: str) -> list[str]:
    """Several projections of the same width from one product."""
    joined = Linear(np.concatenate([p.weight for p in parts], 1), np.concatenate([p.bias for p in parts]))
    product = precision.linear(graph, x, joined, name)
    graph.node("Split", [product], f"{name}.part", outputs=len(parts), axis=2, num_outputs=len(parts))
    return [f"{name}.part.{i}" for i in range(len(parts))]


def _attention(graph: GraphWriter, heads: int, size: int, q: str, k: str, v: str, bias: str, name: str) -> str:
    def split(x: str, part: str, order: list[int]) -> str:
        shape = graph.constant(f"heads_{heads}", np.array([0, 0, heads, size]))
        return graph.node(
            "Transpose", [graph.node("Reshape", [x, shape], f"{name}.{part}.heads")], f"{name}.{part}.split", perm=order
        )

    scores = graph.node("MatMul", [split(q, "q", [0, 2, 1, 3]), split(k, "k", [0, 2, 3, 1])], f"{name}.scores")
    scores = graph.node("Add", [scores, bias], f"{name}.scores_masked")
    shares = graph.node("Softmax", [scores], f"{name}.shares", axis=-1)
    mixed = graph.node("MatMul", [shares, split(v, "v", [0, 2, 1, 3])], f"{name}.mixed")
    mixed = graph.node("Transpose", [mixed], f"{name}.mixed_back", perm=[0, 2, 1, 3])
    return graph.node(
        "Reshape", [mixed, graph.constant(f"joined_{heads}", np.array([0, 0, heads * size]))], f"{name}.context"
    )


def _norm(graph: GraphWriter, x: str, norm: Norm, name: str) -> str:
    inputs = [x, graph.constant(f"{name}.gain", norm.gain), graph.constant(f"{name}.bias", norm.bias)]
    return graph.node("LayerNormalization", inputs, name, axis=-1, epsilon=norm.epsilon)
