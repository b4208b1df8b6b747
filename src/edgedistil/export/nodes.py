"""The products and tables of a graph that a precision is chosen for, by the names that a user says."""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ..errors import UserError
from .graph import write_graph
from .precision import TABLES, Float32
from .weights import Array, Linear, ModelWeights
from .writer import GraphWriter

# Names in the graph that say too little on their own; all others are layer0.qkv, layer0.out and so on.
_SAID = {"dense": "head.dense", "transform": "head.transform"} | {name: f"table.{name}" for name in TABLES}


@dataclass(frozen=True)
class Node:
    """One product or table.

    Attributes:
        name: in the graph; its weights are ``name.weight`` or ``name.table``.
        said: in options and reports: ``layer0.ffn_in``, ``head.dense``, ``table.words``.
        tensor: what a product multiplies, by the tensor's name in the FP32 graph; None of tables.
    """

    name: str
    said: str
    tensor: str | None


class _Recorder(Float32):
    """FP32 that remembers every product and table that it is asked for."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []

    def linear(self, graph: GraphWriter, x: str, layer: Linear, name: str) -> str:
        self.nodes.append(Node(name, _SAID.get(name, name), x))
        return super().linear(graph, x, layer, name)

    def lookup(self, graph: GraphWriter, table: Array, ids: str, name: str, tied: bool = False) -> str:
        self.nodes.append(Node(name, _SAID.get(name, name), None))
        return super().lookup(graph, table, ids, name, tied)


def nodes_of(weights: ModelWeights) -> list[Node]:
    """Every product and table that a quantised graph of ``weights`` stores in fewer bits, in the graph's order.

    The classifier and the outputs of spans are none of them: they stay in FP32 always.
    """
    recorder = _Recorder()
    write_graph(weights, recorder)
    return recorder.nodes


def matching(patterns: Iterable[str], nodes: list[Node]) -> list[Node]:
    """The nodes whose said names match at least one of the globs, in the graph's order.

    Raises:
        UserError: a pattern that matches none.
    """
    patterns = list(patterns)
    for pattern in patterns:
        if not any(fnmatchcase(node.said, pattern) for node in nodes):
            raise UserError(
                f"compression.quantization.exclude holds {pattern!r}, which names no product or table of this model; "
                f"allowed are globs of: {', '.join(node.said for node in nodes)}"
            )
    return [node for node in nodes if any(fnmatchcase(node.said, pattern) for pattern in patterns)]
