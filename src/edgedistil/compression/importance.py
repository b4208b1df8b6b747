"""Scores of attention heads and FFN neurons: how much the loss would feel their absence.

An importance is anything callable as ``importance(model, batches)`` that gives :class:`Scores` (losses add up) or a
:class:`Curve` for every part; configs name it by ``_target_``. Batches without ``labels`` ask for scores without
labels: then the curvature of the model's own answers takes their place.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..measurement.units import HEADS
from .curves import Curve, Scores
from .objective import Batch, curvature, losses
from .search import parameter_cost
from .sublayers import gradients, sublayers

__all__ = [
    "FisherImportance",
    "MagnitudeImportance",
    "RandomImportance",
    "Scores",
    "TaylorImportance",
    "mask_gradients",
]


class FisherImportance:
    """Fisher information of mask variables at 1 (Kwon et al. 2022, arXiv 2204.09656, section 4).

    A head's mask multiplies its context, a neuron's its activation. The score is half the mean over sentences of
    the squared gradient of the loss by that mask (the diagonal's entry): the second-order estimate of the loss that
    removal costs, in nats a text.

    Args:
        rearrange: also look at the block of each part (their section 4.2): after the diagonal's choice, units inside a
            part are swapped for as long as that lowers ½ zᵀFz, z being 1 for what goes.
    """

    def __init__(self, rearrange: bool = False) -> None:
        self.rearrange = rearrange

    def __call__(self, model: Any, batches: list[Batch]) -> Scores | list[Curve]:
        parts = sublayers(model)
        if not self.rearrange:
            share = _half_a_text(batches)
            return _scores(model, batches, curvature, lambda gradient: share * (gradient**2).sum(0))
        blocks = [torch.zeros(p.units, p.units, dtype=torch.float64) for p in parts]
        for found in mask_gradients(model, batches, curvature):
            for block, gradient in zip(blocks, found, strict=True):
                wide = gradient.double()
                block += _half_a_text(batches) * wide.T @ wide
        return [_rearranged(part.layer, part.kind, block) for part, block in zip(parts, blocks, strict=True)]


class TaylorImportance:
    """First-order estimate of the change of the loss (Michel et al. 2019, arXiv 1905.10650, equation 2)."""

    def __call__(self, model: Any, batches: list[Batch]) -> Scores:
        return _scores(model, batches, lambda m, b: [losses(m, b)], lambda gradient: gradient.abs().sum(0))


class MagnitudeImportance:
    """Squared L2 norm of the weights that read a unit's output; needs no data.

    Squared, because losses are to add up: plain norms make a head of 32 columns look five times as good to cut as 32
    neurons.
    """

    def __call__(self, model: Any, batches: list[Batch]) -> Scores:
        return _by_kind(
            model,
            [p.linear.weight.detach().view(-1, p.units, p.size).pow(2).sum((0, 2)) for p in sublayers(model)],
        )


class RandomImportance:
    """Equal scores but for chance: what any other score has to beat.

    Args:
        seed: another one gives another order.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def __call__(self, model: Any, batches: list[Batch]) -> Scores:
        chance = torch.Generator().manual_seed(self.seed)
        # In units of parameters, so that a head is not as cheap to lose as a neuron.
        cost, parts = parameter_cost(model), sublayers(model)
        return _by_kind(model, [torch.rand(p.units, generator=chance) * cost(p.kind, p.layer, 1) for p in parts])


def mask_gradients(model: Any, batches: list[Batch], rows: Callable[[Any, Batch], list[Tensor]]) -> Any:
    """Gradients by each unit's mask, ``[sentences, units]`` a part, for every batch and row that is differentiated."""
    parts = sublayers(model)
    for _, values, slopes in gradients(model, batches, rows, "input"):
        yield [
            (value * slope).sum(1).view(len(value), part.units, part.size).sum(2)
            for part, value, slope in zip(parts, values, slopes, strict=True)
        ]


def _half_a_text(batches: list[Batch]) -> float:
    return 0.5 / max(1, sum(len(b["input_ids"]) for b in batches))


def _scores(
    model: Any,
    batches: list[Batch],
    rows: Callable[[Any, Batch], list[Tensor]],
    reduce: Callable[[Tensor], Tensor],
) -> Scores:
    sums = [torch.zeros(part.units) for part in sublayers(model)]
    for found in mask_gradients(model, batches, rows):
        for total, gradient in zip(sums, found, strict=True):
            total += reduce(gradient)
    return _by_kind(model, sums)


def _by_kind(model: Any, values: list[Tensor]) -> Scores:
    parts = sublayers(model)
    heads = [v for v, p in zip(values, parts, strict=True) if p.kind == HEADS]
    return Scores(heads, [v for v, p in zip(values, parts, strict=True) if p.kind != HEADS])


def _rearranged(layer: int, kind: str, block: Tensor) -> Curve:
    diagonal = block.diagonal()
    order = diagonal.argsort(stable=True)
    damage = torch.cat([torch.zeros(1, dtype=block.dtype), diagonal[order].cumsum(0)])

    def choose(count: int) -> list[int]:
        return swapped(block, order[:count].tolist())

    return Curve(layer, kind, order.tolist(), damage.tolist(), choose=choose)


def swapped(block: Tensor, gone: list[int], limit: int = 1000) -> list[int]:
    """Swap single units between ``gone`` and the rest, the best swap first, until none lowers ½ zᵀFz.

    Args:
        block: F, ``[units, units]``, symmetric.
        limit: of swaps, for time; each lowers the sum, so stopping early is no worse than not starting.
    """
    z = torch.zeros(len(block), dtype=torch.bool)
    z[gone] = True
    for _ in range(limit):
        out, stay = z.nonzero().flatten(), (~z).nonzero().flatten()
        if not len(out) or not len(stay):
            break
        slope = block @ z.to(block.dtype)
        diagonal = block.diagonal()
        # Taking r back and giving k away changes zᵀFz by (F_rr − 2 F_r·z) + (F_kk + 2 F_k·z) − 2 F_rk.
        change = (diagonal[out] - 2 * slope[out])[:, None] + (diagonal[stay] + 2 * slope[stay])[None]
        change = change - 2 * block[out][:, stay]
        best = int(change.argmin())
        row, column = divmod(best, len(stay))
        if change[row, column] >= -1e-12 * float(diagonal.sum()):
            break
        z[out[row]], z[stay[column]] = False, True
    return z.nonzero().flatten().tolist()
