"""Milliseconds of one text by structure: measured at some structures of a model's shape, filled in between.

A table belongs to a device, an engine, a precision and a number of tokens (design: "device profile"). It says what one
sentence takes as a sum: what every model of the shape takes, plus for each layer what its heads and its neurons take
beyond one head and the fewest neurons. The last layer of a classifier reads the first token alone and has values of
its own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SCHEMA_VERSION = 1
# Steps of the grid of FFN widths, in shares of the full one; narrow layers are where most of a hard cut ends.
_WIDTHS = (0.0, 1 / 24, 1 / 12, 1 / 8, 1 / 6, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 5 / 6, 1.0)
_WIDTHS_LAST = (0.0, 1 / 4, 1 / 2, 1.0)


@dataclass(frozen=True)
class Point:
    """A model to be timed: ``inner`` layers of one (heads, neurons), then a last layer of another."""

    inner: tuple[int, int] | None
    last: tuple[int, int]

    @property
    def name(self) -> str:
        """A name for files and records."""
        inner = "none" if self.inner is None else f"{self.inner[0]}_{self.inner[1]}"
        return f"inner_{inner}_last_{self.last[0]}_{self.last[1]}"


@dataclass(frozen=True)
class Design:
    """Which models are timed for a shape; ``reference`` is in every group, so that groups can be compared.

    Args of :func:`design` explain the shape.
    """

    reference: Point
    heads: list[Point]
    neurons: list[Point]
    empty: Point
    last_heads: list[Point]
    last_neurons: list[Point]

    @property
    def points(self) -> list[Point]:
        """All of them, each once, the reference first."""
        some = [self.reference, *self.heads, *self.neurons, self.empty, *self.last_heads, *self.last_neurons]
        return list(dict.fromkeys(some))


@dataclass(frozen=True)
class LatencyTable:
    """See the module.

    Attributes:
        tokens: of the sentence.
        layers: how many layers the table was measured with.
        base_ms: embeddings, head and a last layer of one head and the fewest neurons.
        layer_ms: each further layer of one head and the fewest neurons.
        parts: ``heads``, ``neurons``, ``last_heads``, ``last_neurons``: units → ms beyond the fewest, rising.
        distinct_last: whether the last layer has values of its own.
    """

    tokens: int
    base_ms: float
    layer_ms: float
    parts: Mapping[str, Mapping[int, float]]
    distinct_last: bool

    def fixed(self, layers: int) -> float:
        """Milliseconds of the smallest model of so many layers."""
        return self.base_ms + (layers - 1) * self.layer_ms

    def part(self, weights: Any) -> Callable[[str, int, int], float]:
        """``(kind, layer, kept) -> ms`` for a model (:class:`~edgedistil.export.weights.ModelWeights`)."""
        last = len(weights.encoder.layers) - 1

        def cost(kind: str, layer: int, kept: int) -> float:
            return between(self.parts[f"last_{kind}" if self.distinct_last and layer == last else kind], kept)

        return cost

    def predict(self, structure: Sequence[tuple[int, int]]) -> float:
        """Milliseconds of a model of these (heads, neurons)."""
        total, last = self.fixed(len(structure)), len(structure) - 1
        for index, (heads, neurons) in enumerate(structure):
            own = "last_" if self.distinct_last and index == last else ""
            total += between(self.parts[f"{own}heads"], heads) + between(self.parts[f"{own}neurons"], neurons)
        return total

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        parts = {name: {str(n): round(ms, 6) for n, ms in values.items()} for name, values in self.parts.items()}
        return {
            "schema_version": SCHEMA_VERSION,
            "tokens": self.tokens,
            "base_ms": round(self.base_ms, 6),
            "layer_ms": round(self.layer_ms, 6),
            "distinct_last": self.distinct_last,
            "parts": parts,
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "LatencyTable":
        """The table that :meth:`to_json` gave.

        Raises:
            ValueError: of another version of this format.
        """
        if plain.get("schema_version") != SCHEMA_VERSION:
            raise ValueError(f"a latency table of version {plain.get('schema_version')}, not {SCHEMA_VERSION}")
        parts = {name: {int(n): float(ms) for n, ms in values.items()} for name, values in plain["parts"].items()}
        return cls(plain["tokens"], plain["base_ms"], plain["layer_ms"], parts, plain["distinct_last"])


def design(heads: int, neurons: int, multiple: int, distinct_last: bool) -> Design:
    """The models to be timed for layers of up to ``heads`` heads and ``neurons`` neurons.

    One dimension is walked while the other stays in the middle, so that caches are about as full as in a pruned model.

    Args:
        multiple: widths are multiples of it, but for the full one.
    """
    counts = list(range(1, heads + 1))
    widths, few_widths = _grid(_WIDTHS, neurons, multiple), _grid(_WIDTHS_LAST, neurons, multiple)
    few_counts = sorted({1, max(1, heads // 4), max(1, heads // 2), heads})
    middle = counts[(len(counts) - 1) // 2], widths[len(widths) // 2]
    smallest = 1, widths[0]
    return Design(
        reference=Point(middle, smallest),
        heads=[Point((h, middle[1]), smallest) for h in counts],
        neurons=[Point((middle[0], n), smallest) for n in widths],
        empty=Point(None, smallest),
        last_heads=[Point(None, (h, widths[0])) for h in few_counts] if distinct_last else [],
        last_neurons=[Point(None, (1, n)) for n in few_widths] if distinct_last else [],
    )


def fit(plan: Design, times: Mapping[Point, float], repeated: int, tokens: int) -> LatencyTable:
    """A table out of the measured milliseconds of a design.

    More units never take less: what noise says otherwise is pooled (isotonic regression).

    Args:
        repeated: inner layers of the timed models.
    """

    def walked(points: Sequence[Point], axis: int, last: bool, share: int) -> dict[int, float]:
        units = [(p.last if last else p.inner or p.last)[axis] for p in points]
        rising = isotonic([times[p] / share for p in points])
        return {n: ms - rising[0] for n, ms in zip(units, rising, strict=True)}

    parts = {"heads": walked(plan.heads, 0, False, repeated), "neurons": walked(plan.neurons, 1, False, repeated)}
    if plan.last_heads:
        parts["last_heads"] = walked(plan.last_heads, 0, True, 1)
        parts["last_neurons"] = walked(plan.last_neurons, 1, True, 1)
    # The reference and the smallest inner layers are one walk of each kind apart.
    assert plan.reference.inner is not None
    heads, neurons = plan.reference.inner
    inner = (times[plan.reference] - times[plan.empty]) / repeated
    layer = max(0.0, inner - parts["heads"][heads] - parts["neurons"][neurons])
    return LatencyTable(tokens, times[plan.empty], layer, parts, bool(plan.last_heads))


def isotonic(values: Sequence[float]) -> list[float]:
    """The rising sequence that is nearest to ``values`` in squares: neighbours that fall are pooled (PAVA, Ayer et al.
    1955, "An empirical distribution function for sampling with incomplete information")."""
    blocks: list[tuple[float, int]] = []
    for value in values:
        mean, count = float(value), 1
        while blocks and blocks[-1][0] > mean:
            before, size = blocks.pop()
            mean, count = (before * size + mean * count) / (size + count), size + count
        blocks.append((mean, count))
    return [mean for mean, count in blocks for _ in range(count)]


def between(known: Mapping[int, float], units: int) -> float:
    """The value at ``units``, linear between the known ones; a sublayer without units takes what the smallest takes.

    Raises:
        ValueError: more units than were measured.
    """
    ordered = sorted(known)
    if units > ordered[-1]:
        raise ValueError(f"the latency table ends at {ordered[-1]} units, {units} were asked for")
    if units <= ordered[0]:
        return known[ordered[0]]
    high = next(n for n in ordered if n >= units)
    if high == units:
        return known[high]
    low = ordered[ordered.index(high) - 1]
    return known[low] + (known[high] - known[low]) * (units - low) / (high - low)


def _grid(shares: Sequence[float], full: int, multiple: int) -> list[int]:
    """Multiples near these shares of ``full``, from the first multiple to ``full``, each once."""
    fewest = min(multiple, full)
    some = {min(full, max(fewest, round(share * full / multiple) * multiple)) for share in shares}
    return sorted(some | {full})
