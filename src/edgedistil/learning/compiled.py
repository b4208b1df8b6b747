"""``torch.compile`` of encoders for the time of a training."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def compiled(module: Any, wanted: bool) -> Iterator[None]:
    """Compile the encoders of a LightningModule's network and teacher, for tensors of any length; undone at the end.

    The encoder alone: heads take as many rows as a batch has targets, and saved names stay as they are.
    """
    if not wanted:
        yield
        return
    networks = [module.network, *getattr(module, "_teacher", [])]
    encoders = [getattr(network, network.base_model_prefix) for network in networks]
    for encoder in encoders:
        # One graph for all lengths: with length bins each batch would bring another.
        encoder.compile(dynamic=True)
    try:
        yield
    finally:
        for encoder in encoders:
            encoder._compiled_call_impl = None
