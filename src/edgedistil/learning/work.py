"""Arithmetic work of a training step, counted from the weights that are really there.

Matrix products of real tokens only (multiply and add count as two; padding, softmax, LayerNorm and the optimiser do not
count), as Chowdhery et al. 2022 (PaLM, arXiv 2204.02311, appendix B) count a model's use of a machine: a backward pass
is twice its forward pass.
"""

from typing import Any

from torch import Tensor, nn

# A forward and a backward pass, in forward passes.
TRAINED = 3


def encoder_flops(model: Any, lengths: Tensor) -> int:
    """Forward pass of the encoder of a transformers model over texts of ``lengths`` real tokens ``[texts]``."""
    base = getattr(model, model.base_model_prefix)
    matrices = attended = 0
    for name, module in base.named_modules():
        if isinstance(module, nn.Linear) and not name.startswith("pooler"):
            matrices += module.weight.numel()
            if name.endswith(("q_lin", "query")):
                attended += module.out_features
    tokens, pairs = int(lengths.sum()), int((lengths**2).sum())
    # Scores and weighted values: one product each over all pairs of tokens.
    return 2 * (tokens * matrices + 2 * pairs * attended)


def head_flops(model: Any, rows: int) -> int:
    """Forward pass of everything beside the encoder (head, pooler) on ``rows`` hidden states."""
    inside = {id(m) for n, m in getattr(model, model.base_model_prefix).named_modules() if not n.startswith("pooler")}
    outside = (m for m in model.modules() if isinstance(m, nn.Linear) and id(m) not in inside)
    return 2 * rows * sum(m.weight.numel() for m in outside)
