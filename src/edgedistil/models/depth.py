"""A shallower model out of some layers of a deeper one: how a student begins."""

from typing import Any

from ..errors import UserError


def check_layers(layers: list[int], depth: int, option: str = "model.layers", whose: str = "the encoder") -> None:
    """See that ``layers`` (0 is the first) are layers of an encoder with ``depth`` of them, ascending, each once.

    Args:
        option, whose: what the message calls the list and the encoder.

    Raises:
        UserError: they are not.
    """
    every = f"[{','.join(map(str, range(0, depth, 2)))}]"
    if not layers:
        raise UserError(f"{option} is empty; it names the layers that stay, e.g. {option}={every}")
    outside = [n for n in layers if not 0 <= n < depth]
    if outside:
        raise UserError(
            f"{option}={layers} names layer {outside[0]}, but {whose} has layers 0 to {depth - 1}; "
            f"example: {option}={every}"
        )
    if layers != sorted(set(layers)):
        raise UserError(f"{option}={layers} must be ascending and name each layer once; example: {option}={every}")


def keep_layers(model: Any, layers: list[int]) -> Any:
    """Drop every other layer of a BERT or DistilBERT, in place; those that stay keep their weights bit for bit.

    Raises:
        UserError: another architecture, or a layer that is not there.
    """
    from torch import nn

    from .layers import encoder

    holder = encoder(model)
    check_layers(layers, len(holder.layer))
    holder.layer = nn.ModuleList([holder.layer[n] for n in layers])
    # Of DistilBERT this is another name of n_layers.
    model.config.num_hidden_layers = len(layers)
    return model
