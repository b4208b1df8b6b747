"""Second-order removal of structures: Optimal Brain Surgeon on each part's outputs, units one at a time."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .curves import Curve
from .least_squares import solve_psd
from .objective import Batch, curvature
from .sublayers import Sublayer, gradients, sublayers


class SecondOrderImportance:
    """OBS for structures (Kurtic et al. 2023, ZipLM, arXiv 2302.04089, equation 3; Hassibi and Stork 1992).

    For the linear layer behind the units of a part, with weights W and H the second moment of its inputs, taking the
    columns S out and moving the others to their best costs ``tr(W_S (H⁻¹_SS)⁻¹ W_Sᵀ)`` of its squared output; the unit
    for which that is least goes, W and H⁻¹ are updated, and so on. Two units that do the same are worth one.

    So that parts can be compared, errors are measured in loss: a token's output error counts by the Fisher information
    of the answers at that output, taken apart as Kronecker factors (Martens and Grosse 2015, arXiv 1503.05671), tokens
    weighted by the energy of their gradients. A damage is then an estimate of the divergence, in nats a text.

    Args:
        damping: share of the mean diagonal of H added to it.
        weighted: false leaves the loss out: every token and output counts the same.
    """

    def __init__(self, damping: float = 1e-3, weighted: bool = True) -> None:
        self.damping, self.weighted = damping, weighted

    def __call__(self, model: Any, batches: list[Batch]) -> list[Curve]:
        parts = sublayers(model)
        moments = [torch.zeros(p.units * p.size, p.units * p.size, dtype=torch.float64) for p in parts]
        slopes = [torch.zeros(p.linear.out_features, p.linear.out_features, dtype=torch.float64) for p in parts]
        energy = [0.0 for _ in parts]
        texts = sum(len(b["input_ids"]) for b in batches)
        for index, inputs, slope in observed(model, batches):
            x, g = inputs.double(), slope.double()
            weights = (g**2).sum(-1) if self.weighted else torch.ones(len(x), dtype=torch.float64)
            energy[index] += float(weights.sum())
            moments[index] += (x * weights[:, None]).T @ x
            if self.weighted:
                slopes[index] += g.T @ g
        curves = []
        for part, moment, outer, total in zip(parts, moments, slopes, energy, strict=True):
            total = max(total, 1e-300)
            scale = outer / total if self.weighted else torch.eye(len(outer), dtype=torch.float64)
            curves.append(_curve(part, moment / texts, scale, self.damping))
        return curves


def observed(model: Any, batches: list[Batch]) -> Any:
    """(part, inputs ``[tokens, columns]``, gradients of the output ``[tokens, width]``) for every batch, padding left
    out; several rows of gradients give several entries."""
    entered: dict[int, Tensor] = {}
    handles = [
        p.linear.register_forward_pre_hook(
            lambda module, inputs, index=i: entered.__setitem__(index, inputs[0].detach())
        )
        for i, p in enumerate(sublayers(model))
    ]
    try:
        for batch, _, slopes in gradients(model, batches, curvature, "output"):
            real = batch["attention_mask"].bool()
            for index, slope in enumerate(slopes):
                yield index, entered[index][real], slope[real]
    finally:
        for handle in handles:
            handle.remove()


def _curve(part: Sublayer, moment: Tensor, scale: Tensor, damping: float) -> Curve:
    dense = part.linear.weight.detach().double()
    damped = moment.clone()
    damped.diagonal().add_(damping * float(moment.diagonal().mean()) + 1e-300)
    values, vectors = torch.linalg.eigh(scale)
    root = vectors * values.clamp(min=0).sqrt()
    order, damage = remove_one_by_one(root.T @ dense, damped, part.size)

    def refit(kept: list[int]) -> Tensor:
        stay = part.columns(kept)
        right = damped[stay] @ dense.T
        return solve_psd(damped[stay][:, stay], right, 0.0).T

    return Curve(part.layer, part.kind, order, [0.5 * d for d in damage], refit=refit)


def remove_one_by_one(weight: Tensor, moment: Tensor, size: int) -> tuple[list[int], list[float]]:
    """The order in which OBS takes units out, and the squared output error after each, from 0.

    Args:
        weight: ``[outputs, units × size]``.
        moment: H, ``[units × size, units × size]``, positive definite.
        size: columns a unit.
    """
    weight = weight.clone()
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(moment))
    alive = list(range(weight.shape[1] // size))
    order: list[int] = []
    damage = [0.0]
    remove = _remove_column if size == 1 else _remove_group
    gone = torch.zeros(len(alive), dtype=torch.bool)
    while alive:
        place, loss = remove(weight, inverse, gone, size)
        order.append(alive[place])
        damage.append(damage[-1] + max(loss, 0.0))
        gone[place] = True
        if int(gone.sum()) * 8 >= len(gone) or bool(gone.all()):
            # Matrices are made smaller from time to time only: what is gone costs time, moving it does too.
            stay = (~gone).nonzero().flatten()
            columns = (stay.view(-1, 1) * size + torch.arange(size)).flatten()
            weight, inverse = weight[:, columns].contiguous(), inverse[columns][:, columns].contiguous()
            alive = [alive[i] for i in stay.tolist()]
            gone = torch.zeros(len(alive), dtype=torch.bool)
    return order, damage


Removal = Callable[[Tensor, Tensor, Tensor, int], tuple[int, float]]


def _remove_column(weight: Tensor, inverse: Tensor, gone: Tensor, size: int) -> tuple[int, float]:
    diagonal = inverse.diagonal()
    errors = (weight**2).sum(0) / diagonal.clamp(min=1e-300)
    errors[gone] = torch.inf
    j = int(errors.argmin())
    column, own = inverse[:, j].clone(), float(inverse[j, j])
    weight.addr_(weight[:, j].clone(), column, alpha=-1 / own)
    inverse.addr_(column, column, alpha=-1 / own)
    weight[:, j] = 0
    return j, float(errors[j])


def _remove_group(weight: Tensor, inverse: Tensor, gone: Tensor, size: int) -> tuple[int, float]:
    units = len(gone)
    best, place = torch.inf, -1
    for unit in (~gone).nonzero().flatten().tolist():
        s = slice(unit * size, (unit + 1) * size)
        own = weight[:, s]
        loss = float((own.T * torch.linalg.solve(inverse[s, s], own.T)).sum())
        if loss < best:
            best, place = loss, unit
    s = slice(place * size, (place + 1) * size)
    rows = torch.linalg.solve(inverse[s, s], inverse[s])
    weight -= weight[:, s] @ rows
    inverse -= inverse[:, s].clone() @ rows
    weight[:, s] = 0
    del units
    return place, best
