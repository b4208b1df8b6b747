"""Least-squares reconstruction: what is left of each part takes over what went, as well as it linearly can."""

from typing import Any

import torch
from torch import Tensor, nn

from .least_squares import Normal
from .objective import Batch
from .sublayers import Blocks, Sublayer, hooked, sublayers


def reconstruct(network: Any, dense: Any, batches: list[Batch], ridge: float) -> None:
    """Solve anew for the linear layer (with bias) behind the heads and the neurons of every layer, first to last.

    Inputs are what the cut model's own units give, targets what the dense model has behind that layer *with* what is
    added to it (the residual path), less what the cut model adds: so errors of the layers before are corrected rather
    than passed on (layer-wise reconstruction of Kwon et al. 2022, arXiv 2204.09656, section 4.3, and He et al. 2017,
    arXiv 1707.06168, section 3.2, with weights in place of masks). Needs no labels.

    Args:
        network: the cut model, changed in place.
        dense: the model it is to answer like, of as many layers.
        batches: texts; padding counts for nothing.
        ridge: see :meth:`.least_squares.Normal.solve`; deviations from the present weights are penalised.
    """
    mine, theirs = sublayers(network), sublayers(dense)
    own, parent = Blocks(network, batches), Blocks(dense, batches)
    real = [b["attention_mask"].bool() for b in batches]
    for layer in range(len(mine) // 2):
        pair = range(2 * layer, 2 * layer + 2)
        theirs_seen = [_Observed(theirs[i]) for i in pair]
        wanted: list[list[Tensor]] = [[], []]
        with hooked([h for seen in theirs_seen for h in seen.hooks]):
            for _ in parent.advancing(layer):
                for sums, seen in zip(wanted, theirs_seen, strict=True):
                    sums.append(seen.added + seen.output)
        for i, sums in zip(pair, wanted, strict=True):
            linear, seen = mine[i].linear, _Observed(mine[i])
            equations = Normal(linear.in_features, linear.out_features)
            # Batch by batch: what enters the FFN's second product on all texts is many gigabytes of long ones.
            with hooked(seen.hooks):
                for mask, whole, _ in zip(real, sums, own.run(layer), strict=True):
                    # The dense sum less the cut model's own addend.
                    target = (whole - seen.added)[mask]
                    equations.add(seen.inputs[mask], target, torch.ones(len(target)))
            put(linear, *equations.solve(linear.weight.detach(), ridge))
        for _ in own.advancing(layer):
            pass


def put(linear: nn.Linear, weight: Tensor, bias: Tensor | None = None) -> None:
    """Write weights and bias into a layer, in its own type."""
    with torch.no_grad():
        linear.weight.copy_(weight)
        if bias is not None:
            linear.bias.copy_(bias)


class _Observed:
    """What last entered and left a part's linear layer and was added to its output, ``[texts, tokens, ...]``."""

    inputs: Tensor
    output: Tensor
    added: Tensor

    def __init__(self, part: Sublayer) -> None:
        self.hooks = [(part.linear, self._behind), (part.residual, self._before)]

    def _behind(self, entered: Tensor, left: Tensor) -> None:
        self.inputs, self.output = entered, left

    def _before(self, entered: Tensor, left: Tensor) -> None:
        self.added = entered
