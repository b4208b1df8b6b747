"""Self-attention of one layer: of all tokens, or of the first token alone where nothing else is read."""

import numpy as np

from .precision import Precision
from .weights import LayerWeights, Linear
from .writer import MICROSOFT, GraphWriter

# Added to the scores of padding; small enough that float32 softmax gives it weight 0.
_MASKED = np.float32(-1e9)
# [batch, sequence, heads, head size] to [batch, heads, sequence, head size] and back.
_SWAP = [0, 2, 1, 3]


def all_tokens(
    graph: GraphWriter, precision: Precision, layer: LayerWeights, head_size: int, x: str, padding: bool, name: str
) -> str:
    """Context ``[batch, sequence, heads · head size]`` of every token of ``x`` ``[batch, sequence, width]``.

    Query, key and value come from one product, and ONNX Runtime's own attention node does the rest: it needs no
    transposes, and is 1 to 2 % of a whole model faster on AVX2 than the same written out (docs/log.md).

    Args:
        padding: whether ``attention_mask`` marks tokens that count for nothing.
    """
    parts = [_scaled(layer.query, head_size), layer.key, layer.value]
    joined = Linear(np.concatenate([p.weight for p in parts], 1), np.concatenate([p.bias for p in parts]))
    product = precision.linear(graph, x, joined, f"{name}.qkv")
    graph.node("Split", [product], f"{name}.part", outputs=3, axis=2, num_outputs=3)
    inputs = [f"{name}.part.{i}" for i in range(3)]
    if graph.standard:
        return _written_out(graph, layer.heads, head_size, inputs, padding, name)
    if padding:
        inputs += ["", graph.once("Cast", ["attention_mask"], "mask.int32", to=6)]
    return graph.node("MultiHeadAttention", inputs, f"{name}.context", MICROSOFT, num_heads=layer.heads, scale=1.0)


def first_token(
    graph: GraphWriter,
    precision: Precision,
    layer: LayerWeights,
    head_size: int,
    x: str,
    first: str,
    padding: bool,
    name: str,
) -> str:
    """Context ``[batch, 1, heads · head size]`` of the first token, without making a key or a value of any other.

    With one query a head, ``q·(x Wk)ᵀ = (q Wkᵀ) xᵀ`` and ``p (x Wv) = (p x) Wv``: both products with the weights have
    as many rows as the layer has heads, not tokens. Exact in real numbers; the key's bias moves all scores of a head
    alike, which softmax does not see, and the value's bias is added once because the shares sum to 1.
    """
    heads = layer.heads
    own = graph.constant(f"own_{heads}", np.kron(np.eye(heads), np.ones((1, head_size))).astype(np.float32))
    heads_axis = graph.constant("axis_1", np.array([1]))
    query = precision.linear(graph, first, _scaled(layer.query, head_size), f"{name}.query")
    # [batch, heads, width of the attention]: row h holds the query of head h and zeros.
    query = graph.node("Mul", [query, own], f"{name}.query_by_head")
    query = precision.linear(graph, query, _unbiased(layer.key.weight.T), f"{name}.key")
    scores = graph.times_transposed(query, x, f"{name}.scores", rank=3)
    if padding:
        scores = graph.node("Add", [scores, _score_bias(graph)], f"{name}.scores_masked")
    shares = graph.node("Softmax", [scores], f"{name}.shares", axis=-1)
    mixed = graph.node("MatMul", [shares, x], f"{name}.mixed")
    value = precision.linear(graph, mixed, _unbiased(layer.value.weight), f"{name}.value")
    value = graph.node("Mul", [value, own], f"{name}.value_by_head")
    context = graph.node("ReduceSum", [value, heads_axis], f"{name}.joined", keepdims=1)
    return graph.node("Add", [context, graph.constant(f"{name}.value.bias", layer.value.bias)], f"{name}.context")


def _written_out(graph: GraphWriter, heads: int, size: int, parts: list[str], padding: bool, name: str) -> str:
    """The attention node in operators of the standard."""
    by_head = graph.constant(f"heads_{heads}", np.array([0, 0, heads, size]))

    def split(x: str) -> str:
        return graph.node("Transpose", [graph.node("Reshape", [x, by_head], f"{x}.heads")], f"{x}.split", perm=_SWAP)

    query, key, value = (split(part) for part in parts)
    scores = graph.times_transposed(query, key, f"{name}.scores", rank=4)
    if padding:
        bias = graph.once("Unsqueeze", [_score_bias(graph), graph.constant("axis_1", np.array([1]))], "mask.by_head")
        scores = graph.node("Add", [scores, bias], f"{name}.scores_masked")
    shares = graph.node("Softmax", [scores], f"{name}.shares", axis=-1)
    mixed = graph.node(
        "Transpose", [graph.node("MatMul", [shares, value], f"{name}.mixed")], f"{name}.back", perm=_SWAP
    )
    joined = graph.constant(f"joined_{heads}", np.array([0, 0, heads * size]))
    return graph.node("Reshape", [mixed, joined], f"{name}.context")


def _scaled(query: Linear, head_size: int) -> Linear:
    """The 1/√head size of the scores, taken into the query's weights (Vaswani et al. 2017, equation 1)."""
    scale = np.float32(1 / np.sqrt(head_size))
    return Linear(query.weight * scale, query.bias * scale)


def _unbiased(weight: np.ndarray) -> Linear:
    return Linear(np.ascontiguousarray(weight), np.zeros(weight.shape[1], np.float32))


def _score_bias(graph: GraphWriter) -> str:
    """0 for real tokens, −1e9 for padding, as ``[batch, 1, sequence]``."""
    mask = graph.once("Cast", ["attention_mask"], "mask.float", to=1)
    padding = graph.once("Sub", [graph.constant("float_one", np.float32(1)), mask], "mask.padding")
    bias = graph.once("Mul", [padding, graph.constant("masked", _MASKED)], "mask.bias")
    return graph.once("Unsqueeze", [bias, graph.constant("axis_1", np.array([1]))], "mask.broadcast")
