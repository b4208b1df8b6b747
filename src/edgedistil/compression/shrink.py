"""Score, search, cut, reconstruct: one structured cut of a model, in place."""

import time
from collections.abc import Callable
from typing import Any

from ..measurement.units import HEADS
from .curves import Curve, Scores, curves_of
from .objective import Batch, answered
from .reconstruction import put, reconstruct
from .search import Budget, parameter_budget, parts_of, search
from .structured import Kept, cut
from .sublayers import sublayers

# What is said of a model's units by looking at texts: see importance.py.
Importance = Callable[[Any, list[Batch]], Scores | list[Curve]]


def shrink(
    network: Any,
    dense: Any,
    batches: list[Batch],
    pruning: dict[str, Any],
    importance: Importance,
    budget: Budget | None = None,
) -> dict[str, Any]:
    """Cut heads and neurons out of ``network``, in place, so that it answers like ``dense`` as well as it can.

    Nothing is trained. It can be called again and again on the same network with falling budgets.

    Args:
        network: a model of a known architecture, cut before or not.
        dense: what it is to answer like, of as many layers; not changed. A copy of ``network``, if it is the first cut.
        batches: calibration texts; labels are taken out unless ``pruning["labels"]``.
        pruning: the ``compression.pruning`` options.
        importance: scores or curves of ``network``, asked for anew in each of ``pruning["rounds"]``.
        budget: None takes ``pruning["ratio"]`` of the prunable weights that ``network`` has now.

    Returns:
        ``removed_share`` of the prunable weights that it had, ``layers`` (heads and FFN width kept), ``curves`` (for
        every part ``units`` kept at each level and the ``damage`` expected there, as first scored),
        ``expected_damage`` of the last choice, ``seconds``.

    Raises:
        UserError: the budget can't be met.
    """
    began = time.perf_counter()
    batches = answered(dense, batches, pruning["labels"])
    budget = budget or parameter_budget(network, pruning["ratio"])
    before = _spent(network, budget)
    rounds: int = pruning["rounds"]
    facts: dict[str, Any] = {}
    removed = 1.0
    for number in range(1, rounds + 1):
        # Equal shares of what is to go, so that each round scores what the rounds before left.
        step = Budget(budget.cost, before + (budget.limit - before) * number / rounds, budget.option, budget.express)
        curves = curves_of(network, importance(network, batches))
        parts = parts_of(curves, budget.cost, pruning["ffn_multiple"])
        counts = search(parts, step if number < rounds else budget)
        if not facts:
            facts["curves"] = [
                {"layer": p.layer, "kind": p.kind, "units": list(p.levels), "damage": list(p.damage)} for p in parts
            ]
        facts["expected_damage"] = sum(p.damage[p.levels.index(count)] for p, count in zip(parts, counts, strict=True))
        removed *= 1 - take_out(network, curves, counts)
        if pruning["reconstruction"] == "least_squares":
            reconstruct(network, dense, batches, pruning["ridge"])
    layers = [
        {"heads": a.units, "ffn": b.units}
        for a, b in zip(sublayers(network)[::2], sublayers(network)[1::2], strict=True)
    ]
    seconds = time.perf_counter() - began
    return {"removed_share": 1 - removed, "layers": layers, **facts, "seconds": round(seconds, 2)}


def take_out(network: Any, curves: list[Curve], counts: list[int]) -> float:
    """Keep so many units of every part, with the weights that the score gives them; the share of weights that went."""
    kept = [curve.kept(count) for curve, count in zip(curves, counts, strict=True)]
    refitted = [
        curve.refit(units) if curve.refit and len(units) < len(curve.order) else None
        for curve, units in zip(curves, kept, strict=True)
    ]
    heads = [k for k, c in zip(kept, curves, strict=True) if c.kind == HEADS]
    neurons = [k for k, c in zip(kept, curves, strict=True) if c.kind != HEADS]
    removed = cut(network, [Kept(h, n) for h, n in zip(heads, neurons, strict=True)])
    for part, weight in zip(sublayers(network), refitted, strict=True):
        if weight is not None:
            put(part.linear, weight)
    return removed


def _spent(network: Any, budget: Budget) -> float:
    return sum(budget.cost(p.kind, p.layer, p.units) for p in sublayers(network))
