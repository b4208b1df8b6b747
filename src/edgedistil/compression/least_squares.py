"""Sums for linear least squares over many batches, and their solution in float64."""

import torch
from torch import Tensor


class Normal:
    """Weighted normal equations of ``targets ≈ inputs Wᵀ + b``, added up batch by batch."""

    def __init__(self, columns: int, outputs: int) -> None:
        self.weight = 0.0
        self.inputs = torch.zeros(columns, dtype=torch.float64)
        self.targets = torch.zeros(outputs, dtype=torch.float64)
        self.square = torch.zeros(columns, columns, dtype=torch.float64)
        self.cross = torch.zeros(columns, outputs, dtype=torch.float64)

    def add(self, inputs: Tensor, targets: Tensor, weights: Tensor) -> None:
        """Rows ``[tokens, columns]``, ``[tokens, outputs]`` and their weights ``[tokens]``."""
        x, y, w = inputs.double(), targets.double(), weights.double()
        weighted = x * w[:, None]
        self.weight += float(w.sum())
        self.inputs += weighted.sum(0)
        self.targets += (y * w[:, None]).sum(0)
        self.square += weighted.T @ x
        self.cross += weighted.T @ y

    def solve(self, start: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
        """Weights ``[outputs, columns]`` and bias ``[outputs]`` of least squared error.

        Directions that the inputs do not show stay as in ``start``: the penalty is ``ridge`` × the mean variance of an
        input × |W − start|², and inputs that depend on each other leave no other trace.
        """
        if not self.weight:
            raise ValueError("nothing was added")
        mean_in, mean_out = self.inputs / self.weight, self.targets / self.weight
        square = self.square / self.weight - torch.outer(mean_in, mean_in)
        cross = self.cross / self.weight - torch.outer(mean_in, mean_out)
        before = start.double()
        step = solve_psd(square, cross - square @ before.T, ridge)
        weight = before + step.T
        return weight, mean_out - weight @ mean_in


def solve_psd(square: Tensor, right: Tensor, ridge: float) -> Tensor:
    """``(square + ridge × mean diagonal × I)⁻¹ right`` for a positive semidefinite matrix, float64.

    Where that is singular to working precision, the solution of least norm is given (eigenvalues below 1e-10 of the
    largest count as zero).
    """
    damped = square.clone()
    damped.diagonal().add_(ridge * float(square.diagonal().mean()))
    factor, failed = torch.linalg.cholesky_ex(damped)
    diagonal = factor.diagonal()
    if not int(failed) and float(diagonal.min()) ** 2 > 1e-10 * float(diagonal.max()) ** 2:
        return torch.cholesky_solve(right, factor)
    values, vectors = torch.linalg.eigh(damped)
    good = values > 1e-10 * max(float(values[-1]), 1e-300)
    vectors = vectors[:, good]
    return vectors @ ((vectors.T @ right) / values[good][:, None])
