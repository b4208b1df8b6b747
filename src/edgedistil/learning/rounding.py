"""The rounding of the files that ship, on float tensors, with gradients that pass straight through it.

What :mod:`edgedistil.export.precision` stores and ONNX Runtime's kernels do, said for PyTorch: rounded values in the
forward pass, and a backward pass as if nothing had been rounded (the straight-through estimator of Bengio et al. 2013,
arXiv 1308.3432, section 4; for training with quantised weights and activations Jacob et al. 2018, arXiv 1712.05877,
section 3). Weights are divided among their channels or blocks by their extremes, so none is clipped but 4-bit values
opposite to their block's extreme, and these pass their gradient too.
"""

from typing import Any, Protocol

import torch
from torch import Tensor


class Rounding(Protocol):
    """How a precision rounds what a product takes."""

    def matrix(self, weight: Tensor) -> Tensor:
        """A weight ``[out, in]``."""

    def rows(self, rows: Tensor) -> Tensor:
        """Rows ``[..., width]`` of an embedding table."""

    def activations(self, x: Tensor, real: Tensor | None) -> Tensor:
        """The input ``[texts, rows, width]`` of a product, each text as if it came alone.

        Args:
            real: ``[texts, rows, 1]``, False where a row is padding and has no say in a text's range; None: all are.
        """


class Int8:
    """Weights symmetric for each output channel, tables for each row, activations with a zero point for each text.

    Args:
        embeddings: round the tables too.
        weights: ``s8``, ``s8_7bit`` (within ±63) or ``u8``: see :class:`edgedistil.export.precision.DynamicInt8`.
    """

    def __init__(self, embeddings: bool, weights: str) -> None:
        self._embeddings, self._limit = embeddings, 63 if weights == "s8_7bit" else 127

    def matrix(self, weight: Tensor) -> Tensor:
        return _symmetric(weight, self._limit)

    def rows(self, rows: Tensor) -> Tensor:
        return _symmetric(rows, 127) if self._embeddings else rows

    def activations(self, x: Tensor, real: Tensor | None) -> Tensor:
        seen = x.detach() if real is None else x.detach() * real
        # 0 is always within the range, so that padding can be 0.
        low, high = seen.amin((1, 2), keepdim=True).clamp_max(0), seen.amax((1, 2), keepdim=True).clamp_min(0)
        step = (high - low) / 255
        step = torch.where(step == 0, torch.ones_like(step), step)
        zero = (-low / step).round()
        return _straight_through(x, ((x.detach() / step).round() + zero).clamp(0, 255).sub(zero) * step)


class FourBits:
    """Weights and tables in blocks along the input axis, their entry of largest magnitude at −8.

    Args:
        embeddings: round the tables too; those whose width no block divides take 8 bits for each row.
        accuracy_level: 4 rounds activations to 8 bits for each block of a row, lower ones leave them.
    """

    def __init__(self, embeddings: bool, block_size: int, accuracy_level: int) -> None:
        self._embeddings, self._block, self._level = embeddings, block_size, accuracy_level

    def matrix(self, weight: Tensor) -> Tensor:
        return self._in_blocks(weight, _four_bits)

    def rows(self, rows: Tensor) -> Tensor:
        if not self._embeddings:
            return rows
        return _symmetric(rows, 127) if rows.shape[-1] % self._block else self._in_blocks(rows, _four_bits)

    def activations(self, x: Tensor, real: Tensor | None) -> Tensor:
        return self._in_blocks(x, lambda blocks: _symmetric(blocks, 127)) if self._level == 4 else x

    def _in_blocks(self, x: Tensor, rounded: Any) -> Tensor:
        width = x.shape[-1]
        padded = torch.nn.functional.pad(x, (0, -width % self._block))
        result: Tensor = rounded(padded.unflatten(-1, (-1, self._block))).flatten(-2)[..., :width]
        return result


class OtherTables:
    """Products by one precision, embedding tables by another."""

    def __init__(self, products: Rounding, tables: Rounding) -> None:
        self.matrix, self.activations, self.rows = products.matrix, products.activations, tables.rows


def rounding_of(quantization: dict[str, Any]) -> Rounding:
    """The rounding of a canonical ``compression.quantization``, its form of weights decided."""
    table, method = quantization.get("embeddings"), quantization["method"]
    own = table not in (False, "none")
    if method == "int8_dynamic":
        products: Rounding = Int8(own, quantization["weights"])
    elif method == "int4_ort":
        products = FourBits(own, quantization["block_size"], quantization["accuracy_level"])
    else:
        raise ValueError(f"{method} has no rounding to be trained for")
    if table == "int4":
        return OtherTables(products, FourBits(True, quantization["block_size"], 0))
    return OtherTables(products, Int8(True, "s8")) if table == "int8" else products


def _straight_through(x: Tensor, rounded: Tensor) -> Tensor:
    return x + (rounded - x).detach()


def _symmetric(x: Tensor, limit: int) -> Tensor:
    """Signed steps along the last axis, the largest magnitude at ``limit``."""
    values = x.detach()
    step = values.abs().amax(-1, keepdim=True).clamp_min(1e-12) / limit
    return _straight_through(x, (values / step).round().clamp(-limit, limit) * step)


def _four_bits(blocks: Tensor) -> Tensor:
    values = blocks.detach()
    extreme = values.gather(-1, values.abs().argmax(-1, keepdim=True))
    step = torch.where(extreme == 0, torch.ones_like(extreme), extreme / -8)
    return _straight_through(blocks, (values / step).round().clamp(-8, 7) * step)
