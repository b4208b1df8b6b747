"""What a budget counts: the cost of every head and neuron in weights, operations, bytes or measured milliseconds.

A cost is a fixed part and one part for the heads and one for the neurons of each layer, so that a search can weigh
them against each other. For weights and operations that is exact; for bytes up to what parts share (a zero point for
all products of one width); for milliseconds as far as the table's own checks say.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from ..errors import UserError
from ..export.attention import all_tokens, first_token
from ..export.graph import write_graph
from ..export.named_precision import precision_of
from ..export.precision import Precision
from ..export.weights import Array, ClassificationHead, LayerWeights, Linear, ModelWeights
from ..export.writer import GraphWriter
from ..measurement.flops import graph_flops
from ..measurement.latency_table import LatencyTable
from ..measurement.units import HEADS, NEURONS

# (heads, neurons) of each layer.
Structure = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Cost:
    """What a structure costs: ``fixed`` plus ``part(kind, layer, kept)`` over all parts.

    Attributes:
        budget: as ``compression.pruning.budget`` names it.
        unit: for people.
        part: cost of ``kept`` units (0 or more) of a ``kind`` (``heads``, ``neurons``) in a layer.
    """

    budget: str
    unit: str
    fixed: float
    part: Callable[[str, int, int], float]

    def __call__(self, kind: str, layer: int, kept: int) -> float:
        return self.part(kind, layer, kept)

    def total(self, structure: Structure) -> float:
        """The cost of a whole model."""
        return self.fixed + sum(
            self.part(HEADS, i, heads) + self.part(NEURONS, i, neurons) for i, (heads, neurons) in enumerate(structure)
        )


def cost_of(
    pruning: dict[str, Any],
    weights: ModelWeights,
    quantization: dict[str, Any] | None = None,
    table: LatencyTable | None = None,
) -> Cost:
    """The cost that a canonical ``compression.pruning`` names, of a model and everything that can be left of it.

    Args:
        weights: the model that is cut, its tables as they will ship.
        quantization: the cell's precision; ``size_mb`` needs it.
        table: ``latency_ms`` needs it.
    """
    budget = pruning.get("budget", "ratio")
    if budget == "ratio":
        return _share(weights)
    if budget == "parameters":
        return _counted(budget, "parameters", weights, lambda w: w.parameters)
    if budget == "gflops":
        tokens = pruning["tokens"]
        return _counted(budget, f"GFLOP at {tokens} tokens", weights, lambda w: graph_flops(w, tokens) / 1e9)
    if budget == "size_mb":
        assert quantization is not None
        return _stored(weights, precision_of(quantization))
    assert table is not None
    fixed = table.fixed(len(weights.encoder.layers))
    return Cost(budget, f"ms at {table.tokens} tokens", fixed, table.part(weights))


def wanted(pruning: dict[str, Any]) -> float:
    """What :meth:`Cost.total` may be at most: the target, or the share that a ratio leaves."""
    return float(pruning["target"]) if "target" in pruning else 1.0 - float(pruning["ratio"])


def check_cuts(cost: Cost, target: float, now: Structure) -> None:
    """See that a budget is below what the model costs.

    Raises:
        UserError: it is not, and there is nothing to cut.
    """
    high = cost.total(now)
    if target >= high:
        raise UserError(
            f"compression.pruning.target={target:g} ({cost.unit}) leaves nothing to cut: the model comes to {high:.4g}"
            "; give less, or compression/pruning=none"
        )


def structure_of(weights: ModelWeights) -> list[tuple[int, int]]:
    """(heads, neurons) of each layer."""
    return [(layer.heads, layer.ffn_in.bias.size) for layer in weights.encoder.layers]


def falling(now: float, target: float, fixed: float, steps: int) -> list[float]:
    """Budgets of ``steps`` steps from ``now`` (exclusive) to ``target``: what can be cut falls by equal factors.

    A geometric path cuts much while little is lost and ever less towards the end (as Kurtic et al. 2022, "The Optimal
    BERT Surgeon", arXiv 2203.07259, and ZipLM do by equal factors of speed).
    """
    factor = (target - fixed) / (now - fixed)
    path = [fixed + (now - fixed) * factor ** (step / steps) for step in range(1, steps)]
    return [*path, target]


def _share(weights: ModelWeights) -> Cost:
    """The share of the prunable weights, heads and neurons with their biases, that stays."""
    counted = _counted("ratio", "share of the prunable weights", weights, lambda w: w.parameters)
    everything = counted.total(structure_of(weights)) - counted.fixed
    return Cost("ratio", counted.unit, 0.0, lambda kind, layer, kept: counted(kind, layer, kept) / everything)


def _counted(budget: str, unit: str, weights: ModelWeights, count: Callable[[ModelWeights], float]) -> Cost:
    """A cost by what ``count`` says of models that have the parts' shapes: it must be a sum over parts."""
    empty = [(0, 0)] * len(weights.encoder.layers)
    fixed = count(reshaped(weights, empty))

    @cache
    def part(kind: str, layer: int, kept: int) -> float:
        alone = (kept, 0) if kind == HEADS else (0, kept)
        return count(reshaped(weights, [*empty[:layer], alone, *empty[layer + 1 :]])) - fixed

    return Cost(budget, unit, fixed, part)


def reshaped(weights: ModelWeights, structure: Structure) -> ModelWeights:
    """The model with layers of other shapes; their arrays hold nothing and take no memory."""
    size = weights.encoder.head_size
    layers = [
        replace(
            layer,
            query=_nothing(layer.out.bias.size, heads * size),
            key=_nothing(layer.out.bias.size, heads * size),
            value=_nothing(layer.out.bias.size, heads * size),
            out=_nothing(heads * size, layer.out.bias.size),
            ffn_in=_nothing(layer.out.bias.size, neurons),
            ffn_out=_nothing(neurons, layer.out.bias.size),
            heads=heads,
        )
        for layer, (heads, neurons) in zip(weights.encoder.layers, structure, strict=True)
    ]
    return replace(weights, encoder=replace(weights.encoder, layers=layers))


def with_vocabulary(weights: ModelWeights, pieces: int, positions: int | None) -> ModelWeights:
    """The model with tables of so many rows, as trimming the vocabulary will leave it."""
    encoder = weights.encoder
    return replace(
        weights,
        encoder=replace(encoder, words=encoder.words[:pieces], positions=encoder.positions[:positions]),
    )


def _stored(weights: ModelWeights, precision: Precision) -> Cost:
    """MB (10⁶ bytes) of the ONNX graph with its weights, by writing each part as the export does."""
    last = len(weights.encoder.layers) - 1 if isinstance(weights.head, ClassificationHead) else -1
    now = structure_of(weights)

    @cache
    def written(kind: str, is_last: bool, kept: int) -> float:
        if not kept:
            return 0.0
        graph = GraphWriter()
        alone = (kept, 0) if kind == HEADS else (0, kept)
        layer = _some(reshaped(weights, [alone] * len(now)).encoder.layers[0])
        if kind == NEURONS:
            precision.linear(graph, "x", layer.ffn_in, "layer.ffn_in")
            precision.linear(graph, "x", layer.ffn_out, "layer.ffn_out")
        else:
            size = weights.encoder.head_size
            if is_last:
                first_token(graph, precision, layer, size, "x", "first", False, "layer")
            else:
                all_tokens(graph, precision, layer, size, "x", False, "layer")
            precision.linear(graph, "x", layer.out, "layer.out")
        return sum(n for name, n in graph.stored_bytes().items() if name.startswith(("layer", "own_"))) / 1e6

    def part(kind: str, layer: int, kept: int) -> float:
        return written(kind, layer == last, kept)

    whole = write_graph(weights, precision).ByteSize() / 1e6
    parts = Cost("", "", 0.0, part).total(now)
    return Cost("size_mb", "MB", whole - parts, part)


def _nothing(rows: int, columns: int) -> Linear:
    zero = np.float32(0)
    return Linear(np.broadcast_to(zero, (rows, columns)), np.broadcast_to(zero, (columns,)))


def _some(layer: LayerWeights) -> LayerWeights:
    """With biases that are no zeros, which an export would leave out."""

    def one(linear: Linear) -> Linear:
        bias: Array = np.ones(linear.bias.shape, np.float32)
        return Linear(np.ascontiguousarray(linear.weight), bias)

    return replace(
        layer,
        query=one(layer.query),
        key=one(layer.key),
        value=one(layer.value),
        out=one(layer.out),
        ffn_in=one(layer.ffn_in),
        ffn_out=one(layer.ffn_out),
    )


def rounded_up(value: float) -> str:
    """Four digits, never below ``value``, so that what a message names can be given."""
    step = 10.0 ** (np.floor(np.log10(abs(value))) - 3) if value else 1.0
    return f"{float(np.ceil(value / step - 1e-9) * step):.10g}"
