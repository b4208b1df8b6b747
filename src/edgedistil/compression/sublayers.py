"""The places where units end: the linear layer behind the heads and the one behind the FFN neurons of every layer.

A *part* is one of them. Its linear layer reads ``units × size`` columns, so that taking a unit out of a model is taking
columns out of this matrix (and rows out of those before it).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..measurement.units import HEADS, NEURONS
from ..models.layers import encoder, encoder_layers
from .objective import Batch, answers


@dataclass(frozen=True)
class Sublayer:
    """One part: ``linear`` reads ``units`` of ``size`` columns each; ``residual`` is the first module that reads what
    is added to its output."""

    layer: int
    kind: str
    linear: nn.Linear
    units: int
    size: int
    residual: nn.Linear

    def columns(self, units: list[int]) -> Tensor:
        """Column numbers of some units, in their order."""
        return (torch.tensor(units).view(-1, 1) * self.size + torch.arange(self.size)).flatten()


def sublayers(model: Any) -> list[Sublayer]:
    """Every part: layer by layer, heads before neurons."""
    found = []
    for i, layer in enumerate(encoder_layers(model)):
        found.append(Sublayer(i, HEADS, layer.out, layer.heads, layer.head_size, layer.query))
        found.append(Sublayer(i, NEURONS, layer.ffn_out, layer.neurons, 1, layer.ffn_in))
    return found


@contextmanager
def hooked(pairs: Sequence[tuple[nn.Module, Callable[[Tensor, Tensor], None]]]) -> Iterator[None]:
    """Call a function with a module's input and output whenever it runs."""

    def hook(function: Callable[[Tensor, Tensor], None]) -> Callable[..., None]:
        return lambda module, inputs, output: function(inputs[0], output)

    handles = [module.register_forward_hook(hook(function)) for module, function in pairs]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def gradients(
    model: Any, batches: list[Batch], rows: Callable[[Any, Batch], list[Tensor]], side: str
) -> Iterator[tuple[Batch, list[Tensor], list[Tensor]]]:
    """For every batch and row of what is differentiated: the batch, the values and their gradients, one a part.

    Args:
        rows: gives ``[texts]`` tensors; a sum over texts is differentiated, so each text's gradient is its own.
        side: ``input`` or ``output`` of the parts' linear layers; values are ``[texts, tokens, columns]``.
    """
    parts = sublayers(model)
    seen: dict[int, Tensor] = {}

    def keep(index: int) -> Callable[[Tensor, Tensor], None]:
        def hook(entered: Tensor, left: Tensor) -> None:
            seen[index] = entered if side == "input" else left

        return hook

    model.eval()
    with hooked([(part.linear, keep(i)) for i, part in enumerate(parts)]):
        for batch in batches:
            with torch.enable_grad():
                found = rows(model, batch)
                values = [seen[i] for i in range(len(parts))]
                for number, row in enumerate(found):
                    more = number + 1 < len(found)
                    slopes = torch.autograd.grad(row.sum(), values, retain_graph=more)
                    yield batch, [v.detach() for v in values], list(slopes)


class _Stop(Exception):
    pass


class Blocks:
    """A model's transformer layers, run one at a time on the hidden states of many batches."""

    def __init__(self, model: Any, batches: list[Batch]) -> None:
        self._blocks = encoder(model).layer
        self._calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        self.hidden: list[Tensor] = []

        def stop(module: Any, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
            named = dict(named)
            hidden = inputs[0] if inputs else named.pop("hidden_states")
            self.hidden.append(hidden.detach())
            self._calls.append((inputs[1:], named))
            raise _Stop

        model.eval()
        handle = self._blocks[0].register_forward_pre_hook(stop, with_kwargs=True)
        try:
            with torch.no_grad():
                for batch in batches:
                    with suppress(_Stop):
                        answers(model, batch)
        finally:
            handle.remove()

    def run(self, index: int) -> Iterator[Tensor]:
        """The output of one layer for each batch, from :attr:`hidden`, which stays."""
        with torch.no_grad():
            for hidden, (inputs, named) in zip(self.hidden, self._calls, strict=True):
                found = self._blocks[index](hidden, *inputs, **named)
                yield found[0] if isinstance(found, tuple) else found

    def advancing(self, index: int) -> Iterator[Tensor]:
        """:meth:`run`, each output taking the place of its input in :attr:`hidden`."""
        for number, found in enumerate(self.run(index)):
            self.hidden[number] = found
            yield found
