"""How many units each part keeps: the least damage within a budget.

Separable damages under one additive budget are a multiple-choice knapsack, solved by dynamic programming over a
discretised budget, as SPDY (Frantar and Alistarh 2022, arXiv 2201.13096, section 3.2) and ZipLM (Kurtic et al. 2023,
arXiv 2302.04089, section 3.2) do for run times.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from ..measurement.units import HEADS, unit_weights
from ..models.layers import encoder_layers
from .curves import Curve
from .sublayers import sublayers

# What a part costs with so many units kept: cost(kind, layer, kept).
Cost = Callable[[str, int, int], float]
STEPS = 20_000


@dataclass(frozen=True)
class Part:
    """One part and what it can be cut to: ``levels`` are units kept, descending, the first all of them."""

    layer: int
    kind: str
    levels: Sequence[int]
    damage: Sequence[float]
    cost: Sequence[float]


@dataclass(frozen=True)
class Budget:
    """The sum of ``cost`` over all parts may be ``limit`` at most.

    ``option`` is how the user asked for it; ``express`` says a sum in the option's own measure, for the message when it
    can't be met.
    """

    cost: Cost
    limit: float
    option: str
    express: Callable[[float], str]


def parameter_cost(model: Any) -> Cost:
    """Weights of the units kept."""
    layers = encoder_layers(model)
    each = [unit_weights(layer.query.in_features, layer.head_size) for layer in layers]
    return lambda kind, layer, kept: kept * each[layer][kind]


def parameter_budget(model: Any, ratio: float) -> Budget:
    """A budget that takes at least the share ``ratio`` of the prunable weights that the model has now."""
    cost = parameter_cost(model)
    total = sum(cost(p.kind, p.layer, p.units) for p in sublayers(model))
    return Budget(
        cost,
        (1 - ratio) * total,
        f"compression.pruning.ratio={ratio:g}",
        # Downwards, so that what the message names can be met.
        lambda reached: f"{int((1 - reached / total) * 1000) / 1000:g}",
    )


def parts_of(curves: Sequence[Curve], cost: Cost, ffn_multiple: int) -> list[Part]:
    """The parts of a model: any number of heads from one up; widths at multiples of ``ffn_multiple``, or untouched."""
    parts = []
    for curve in curves:
        units = len(curve.order)
        step = 1 if curve.kind == HEADS else ffn_multiple
        levels = sorted({units, *range(step, units, step)}, reverse=True)
        damage = [float(curve.damage[units - kept]) for kept in levels]
        costs = [float(cost(curve.kind, curve.layer, kept)) for kept in levels]
        parts.append(Part(curve.layer, curve.kind, levels, damage, costs))
    return parts


def search(parts: Sequence[Part], budget: Budget, steps: int = STEPS) -> list[int]:
    """Units kept in each part, so that the sum of costs is within the budget and the sum of damages least.

    Costs are rounded down to multiples of what can be spent / ``steps``. If the optimum so found is within the budget
    it is the true one; else the best that is within it among those for up to one step less a part is taken, and what
    it leaves unspent goes to the parts that gain most by it. Ties keep more units.

    Raises:
        UserError: no combination is within the budget; the nearest that can be had is named.
    """
    cheapest = [min(part.cost) for part in parts]
    least, limit = sum(cheapest), budget.limit
    slack = 1e-9 * max(1.0, abs(limit))
    if least > limit + slack:
        raise UserError(
            f"{budget.option} can't be met: with the fewest units that every layer keeps (one head, one "
            f"compression.pruning.ffn_multiple of neurons) {budget.express(least)} is reached, which is the nearest"
        )
    spend = max(limit - least, 0.0) + slack
    costs = [
        np.floor((np.asarray(part.cost) - low) / spend * steps + 1e-6).astype(np.int64)
        for part, low in zip(parts, cheapest, strict=True)
    ]
    best = np.zeros(steps + 1)
    choices = []
    for part, own in zip(parts, costs, strict=True):
        best, choice = _one_more(best, own, np.asarray(part.damage, float))
        choices.append(choice)
    found = []
    for state in range(steps, max(-1, steps - len(parts) - 1), -1):
        levels = _levels(choices, costs, state)
        if sum(part.cost[level] for part, level in zip(parts, levels, strict=True)) <= limit + slack:
            _spend_rest(parts, levels, limit + slack)
            found.append((sum(part.damage[level] for part, level in zip(parts, levels, strict=True)), -state, levels))
            if state == steps:
                break
    return [part.levels[level] for part, level in zip(parts, min(found)[2], strict=True)]


def _levels(choices: Sequence[NDArray[np.int64]], costs: Sequence[NDArray[np.int64]], state: int) -> list[int]:
    levels = []
    for choice, own in zip(reversed(choices), reversed(costs), strict=True):
        levels.append(int(choice[state]))
        state -= int(own[levels[-1]])
    return levels[::-1]


def _one_more(
    best: NDArray[np.float64], costs: NDArray[np.int64], damage: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Least damage with one part more by what may be spent, and the level that gives it."""
    found = np.full(len(best), np.inf)
    choice = np.zeros(len(best), np.int64)
    for level, (cost, loss) in enumerate(zip(costs.tolist(), damage.tolist(), strict=True)):
        if cost >= len(best):
            continue
        candidate = best[: len(best) - cost] + loss
        better = candidate < found[cost:]
        found[cost:][better] = candidate[better]
        choice[cost:][better] = level
    return found, choice


def _spend_rest(parts: Sequence[Part], levels: list[int], limit: float) -> None:
    while True:
        rest = limit - sum(part.cost[level] for part, level in zip(parts, levels, strict=True))
        moves = [
            (part.damage[to] - part.damage[levels[i]], i, to)
            for i, part in enumerate(parts)
            for to in range(len(part.levels))
            if part.cost[to] - part.cost[levels[i]] <= rest and part.damage[to] < part.damage[levels[i]]
        ]
        if not moves:
            return
        _, index, to = min(moves)
        levels[index] = to
