"""Unstructured magnitude pruning: the smallest weights become zero, the shapes stay (label: masked)."""

from typing import Any

import torch

from ..models.layers import encoder_layers


def prune_magnitude(model: Any, ratio: float) -> dict[str, float]:
    """Zero the ``ratio`` smallest weights, in absolute value, over all matrices of all encoder layers at once.

    Embeddings and head are left alone (Han et al. 2015, arXiv 1506.02626, applied globally).

    Returns:
        ``sparsity`` of the encoder matrices and ``threshold``, the largest magnitude that was zeroed.
    """
    matrices = [
        linear.weight
        for layer in encoder_layers(model)
        for linear in (layer.query, layer.key, layer.value, layer.out, layer.ffn_in, layer.ffn_out)
    ]
    magnitudes = torch.cat([m.detach().abs().flatten() for m in matrices])
    count = int(ratio * magnitudes.numel())
    if count == 0:
        return {"sparsity": 0.0, "threshold": 0.0}
    threshold = magnitudes.kthvalue(count).values
    with torch.no_grad():
        for matrix in matrices:
            matrix[matrix.abs() <= threshold] = 0
    zeros = sum(int((m == 0).sum()) for m in matrices)
    return {"sparsity": zeros / magnitudes.numel(), "threshold": float(threshold)}
