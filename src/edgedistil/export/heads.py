"""What stands on the encoder: a classifier of the first token, answer spans, or the vocabulary."""

import numpy as np

from .precision import Float32, Precision
from .weights import ClassificationHead, EncoderWeights, Head, Norm, SpanHead, VocabularyHead
from .writer import GraphWriter, Output


def write_head(graph: GraphWriter, precision: Precision, encoder: EncoderWeights, head: Head, x: str) -> list[Output]:
    """Add the head to the last layer's ``x``; returns the graph's outputs.

    A classifier gives ``logits`` ``[batch, classes]``; spans give ``start_logits`` and ``end_logits``
    ``[batch, sequence]``; the vocabulary gives ``logits`` ``[batch, sequence, vocabulary]``.
    """
    if isinstance(head, ClassificationHead):
        return _classifier(graph, precision, head, x)
    if isinstance(head, SpanHead):
        return _spans(graph, head, x)
    return _vocabulary(graph, precision, encoder, head, x)


def _classifier(graph: GraphWriter, precision: Precision, head: ClassificationHead, x: str) -> list[Output]:
    first = graph.node("Squeeze", [x, graph.constant("axis_1", np.array([1]))], "first_token")
    pooled = precision.linear(graph, first, head.dense, "dense")
    pooled = graph.node({"relu": "Relu", "tanh": "Tanh"}[head.dense_activation], [pooled], "dense.active")
    # The classifier is a few thousand weights; rounding them would cost answers and save nothing.
    logits = Float32().linear(graph, pooled, head.classifier, "logits")
    return [Output(logits, ["batch", head.classifier.bias.size])]


def _spans(graph: GraphWriter, head: SpanHead, x: str) -> list[Output]:
    scores = Float32().linear(graph, x, head.outputs, "spans")
    graph.node("Split", [scores], "spans.part", outputs=2, axis=2, num_outputs=2)
    axis = graph.constant("axis_2", np.array([2]))
    return [
        Output(graph.node("Squeeze", [f"spans.part.{i}", axis], f"{side}_logits"), ["batch", "sequence"])
        for i, side in enumerate(("start", "end"))
    ]


def _vocabulary(
    graph: GraphWriter, precision: Precision, encoder: EncoderWeights, head: VocabularyHead, x: str
) -> list[Output]:
    x = precision.linear(graph, x, head.transform, "transform")
    x = graph.activation(encoder.activation, x, "transform.active")
    x = write_norm(graph, x, head.norm, "transform.norm")
    logits = precision.decode(graph, x, encoder.words, head.bias, "words", "logits")
    return [Output(logits, ["batch", "sequence", head.bias.size])]


def write_norm(graph: GraphWriter, x: str, norm: Norm, name: str) -> str:
    """LayerNormalization over the last axis as a node of its own: faster on the CPU than fused with an Add."""
    inputs = [x, graph.constant(f"{name}.gain", norm.gain), graph.constant(f"{name}.bias", norm.bias)]
    return graph.node("LayerNormalization", inputs, name, axis=-1, epsilon=norm.epsilon)
