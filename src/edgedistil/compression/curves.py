"""Damage curves: for every part of a model, in which order its units go and what loss is expected of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..measurement.units import HEADS
from .sublayers import sublayers


@dataclass(frozen=True)
class Scores:
    """Per layer one score a head (``[heads]``) and one a neuron (``[neurons]``); larger is more important."""

    heads: list[Tensor]
    neurons: list[Tensor]


@dataclass(frozen=True)
class Curve:
    """What taking units out of one part costs.

    ``order`` names its units, the first to go first; ``damage[k]`` is the loss expected when k of them are gone
    (``damage[0]`` is 0), in a measure that all parts share. ``choose(k)`` says which k units go where that is not the
    first k of ``order``; ``refit(kept)`` gives the weights ``[width, columns]`` of the part's linear layer once only
    the units ``kept`` feed it, where the method moves them.
    """

    layer: int
    kind: str
    order: Sequence[int]
    damage: Sequence[float]
    choose: Callable[[int], list[int]] | None = None
    refit: Callable[[list[int]], Tensor] | None = None

    def kept(self, count: int) -> list[int]:
        """The ``count`` units that stay, ascending."""
        removed = len(self.order) - count
        gone = set(self.choose(removed) if self.choose else self.order[:removed])
        return [unit for unit in range(len(self.order)) if unit not in gone]


def curves_of(model: Any, found: Scores | list[Curve]) -> list[Curve]:
    """Scores as curves: the least important unit goes first, and losses add up."""
    if not isinstance(found, Scores):
        return found
    result = []
    for part in sublayers(model):
        scores = (found.heads if part.kind == HEADS else found.neurons)[part.layer].detach().cpu().double()
        order = scores.argsort(stable=True)
        damage = torch.cat([torch.zeros(1, dtype=torch.float64), scores[order].cumsum(0)])
        result.append(Curve(part.layer, part.kind, order.tolist(), damage.tolist()))
    return result
