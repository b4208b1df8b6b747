"""What quantising each product and table alone costs, and which of them are left out until the answers hold."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import UserError
from .answers import Drift, Logits, drift, run_texts
from .graph import write_graph
from .nodes import Node
from .precision import Float32, Mixed, Precision
from .weights import ModelWeights

log = logging.getLogger("edgedistil")


@dataclass(frozen=True)
class Cost:
    """What one node does when it alone is quantised: to the answers, and to the bytes of the file."""

    node: Node
    drift: Drift
    bytes_saved: int


@dataclass(frozen=True)
class HeldOut:
    """Texts (token ids) that nothing was learnt from, their labels, and the dense FP32 graph's accuracy on them."""

    texts: list[list[int]]
    labels: list[int]
    dense_accuracy: float

    def drop(self, logits: Logits) -> float:
        """Points of accuracy that these answers lose against the dense FP32 graph."""
        return 100 * (self.dense_accuracy - accuracy(logits, self.labels))


@dataclass(frozen=True)
class Protected:
    """What :func:`protect` chose.

    Attributes:
        own: precision of each node that is not quantised as asked.
        moved: nodes moved to 8 bits; ``excluded``: nodes left in FP32.
        drop, unprotected: points lost with and without that; ``verdict`` says it in a sentence.
    """

    own: dict[str, Precision]
    moved: list[Node]
    excluded: list[Node]
    drop: float
    unprotected: float
    verdict: str


def accuracy(logits: Logits, labels: list[int]) -> float:
    """Share of texts whose best class is the label."""
    return float((logits.argmax(-1) == np.array(labels)).mean())


def node_costs(
    weights: ModelWeights,
    nodes: list[Node],
    precision: Precision,
    texts: list[list[int]],
    expected: Logits | None = None,
) -> list[Cost]:
    """Quantise each node alone, all others in FP32, and answer ``texts``; the worst first (by the logits' error).

    Args:
        expected: the FP32 graph's logits on ``texts``, if they are there already.
    """
    plain = write_graph(weights, Float32())
    full = _bytes(plain)
    expected = run_texts(plain, texts) if expected is None else expected
    costs = []
    for node in nodes:
        model = write_graph(weights, Mixed(Float32(), {node.name: precision}))
        saved = full - _bytes(model)
        costs.append(Cost(node, drift(run_texts(model, texts), expected), saved))
    return sorted(costs, key=lambda cost: -cost.drift.rms_ratio)


def protect(
    weights: ModelWeights,
    worst_first: list[Node],
    quantised: Callable[[dict[str, Precision]], Precision],
    eight_bits: dict[str, Precision],
    held_out: HeldOut,
    max_drop: float,
) -> Protected:
    """Leave out as few nodes as it takes to lose at most ``max_drop`` points of accuracy, the worst ones first.

    Nodes named in ``eight_bits`` go there first; only when all of those in 8 bits still lose too much are nodes, from
    the worst on again, left in FP32. How many is found by bisection, which takes the loss to fall with every node that
    is left out; it need not, so the number may not be the smallest, but the loss at that number was measured.

    Args:
        quantised: the precision as asked for, but for the nodes handed to it.
        eight_bits: what those nodes become in 8 bits that are asked for in 4, by their names.

    Raises:
        UserError: the budget can't be met even with every node in FP32, because of what was done to the model before.
    """
    in_fours = [node for node in worst_first if node.name in eight_bits]
    most = len(in_fours) + len(worst_first)

    def split(step: int) -> tuple[list[Node], list[Node]]:
        excluded = worst_first[: max(0, step - len(in_fours))]
        return [node for node in in_fours[:step] if node not in excluded], excluded

    def own(step: int) -> dict[str, Precision]:
        moved, excluded = split(step)
        return {n.name: eight_bits[n.name] for n in moved} | dict.fromkeys((n.name for n in excluded), Float32())

    drops: dict[int, float] = {}

    def drop(step: int) -> float:
        if step not in drops:
            drops[step] = held_out.drop(run_texts(write_graph(weights, quantised(own(step))), held_out.texts))
            log.info("%d of %d steps of protection: a drop of %.2f points", step, most, drops[step])
        return drops[step]

    if drop(0) > max_drop and drop(most) > max_drop:
        raise UserError(
            f"compression.quantization.max_drop={max_drop:g} can't be met: with every product and table in FP32 this "
            f"model still loses {drop(most):.2f} points against the dense one on {len(held_out.texts)} held-out texts, "
            f"which is not quantisation's doing; allow at least max_drop={np.ceil(drop(most) * 100) / 100:g}, or "
            "compress less before"
        )
    chosen = smallest(most, lambda step: drop(step) <= max_drop)
    moved, excluded = split(chosen)
    verdict = _verdict(moved, excluded, drop(0), drop(chosen), max_drop, len(held_out.texts), len(worst_first))
    log.info("%s", verdict)
    return Protected(own(chosen), moved, excluded, drop(chosen), drop(0), verdict)


def smallest(most: int, holds: Callable[[int], bool]) -> int:
    """The smallest n in 0..most that holds, by bisection: ``most`` holds, and so does everything above the smallest."""
    if holds(0):
        return 0
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle
    return high


def table_of(costs: list[Cost], precisions: dict[str, str]) -> list[dict[str, Any]]:
    """Rows of JSON values, the worst node first; ``precisions`` says what each node (by its said name) became."""
    return [
        {
            "node": cost.node.said,
            "rms_ratio": cost.drift.rms_ratio,
            "kl": cost.drift.kl,
            "flips": cost.drift.flips,
            "bytes_saved": cost.bytes_saved,
            "precision": precisions[cost.node.said],
        }
        for cost in costs
    ]


def _verdict(
    moved: list[Node], excluded: list[Node], before: float, after: float, max_drop: float, texts: int, count: int
) -> str:
    of = f"on {texts} held-out texts, {max_drop:g} allowed"
    if not moved and not excluded:
        return f"nothing had to be excluded: {before:.2f} points lost {of}"
    parts = [
        f"{len(nodes)} of {count} {where}" for nodes, where in ((moved, "in 8 bits"), (excluded, "in FP32")) if nodes
    ]
    return f"{' and '.join(parts)}: {after:.2f} points lost instead of {before:.2f} {of}"


def _bytes(model: Any) -> int:
    return sum(len(tensor.raw_data) for tensor in model.graph.initializer)
