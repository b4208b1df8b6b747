"""Least-squares reconstruction: what is left of each part takes over what went, as well as it linearly can."""

from typing import Any

import torch
from torch import Tensor, nn

from .least_squares import Normal
from .objective import Batch
from .sublayers import Blocks, hooked, sublayers


def reconstruct(
    network: Any, dense: Any, batches: list[Batch], ridge: float, weights: list[list[Tensor]] | None = None
) -> None:
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
        weights: how much each token counts, a list over parts of lists over batches of ``[texts, tokens]``.
    """
    mine, theirs = sublayers(network), sublayers(dense)
    own, parent = Blocks(network, batches), Blocks(dense, batches)
    real = [b["attention_mask"].bool() for b in batches]
    for layer in range(len(mine) // 2):
        pair = range(2 * layer, 2 * layer + 2)
        wanted = {i: _Observed(theirs[i].residual, theirs[i].linear, real) for i in pair}
        with hooked([h for i in pair for h in wanted[i].hooks]):
            parent.advance(layer)
        for i in pair:
            linear = mine[i].linear
            found = _Observed(mine[i].residual, linear, real)
            with hooked(found.hooks):
                for _ in own.run(layer):
                    pass
            equations = Normal(linear.in_features, linear.out_features)
            for number, mask in enumerate(real):
                inputs = found.inputs[number]
                # The dense sum less the cut model's own addend.
                target = wanted[i].added[number] + wanted[i].outputs[number] - found.added[number]
                counts = weights[i][number][mask] if weights else torch.ones(len(inputs))
                equations.add(inputs, target, counts)
            put(linear, *equations.solve(linear.weight.detach(), ridge))
        own.advance(layer)


def put(linear: nn.Linear, weight: Tensor, bias: Tensor | None = None) -> None:
    """Write weights and bias into a layer, in its own type."""
    with torch.no_grad():
        linear.weight.copy_(weight)
        if bias is not None:
            linear.bias.copy_(bias)


class _Observed:
    """What enters and leaves a part's linear layer and what is added to it, ``[tokens, ...]`` a batch, no padding."""

    def __init__(self, residual: nn.Linear, linear: nn.Linear, real: list[Tensor]) -> None:
        self.inputs: list[Tensor] = []
        self.outputs: list[Tensor] = []
        self.added: list[Tensor] = []

        def behind(entered: Tensor, left: Tensor) -> None:
            mask = real[len(self.inputs)]
            self.inputs.append(entered[mask])
            self.outputs.append(left[mask])

        def before(entered: Tensor, left: Tensor) -> None:
            self.added.append(entered[real[len(self.added)]])

        self.hooks = [(linear, behind), (residual, before)]
