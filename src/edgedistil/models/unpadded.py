"""BERT and DistilBERT on the tokens of a batch laid end to end, so that nothing is computed for padding.

A padded batch of 32 sentences of real lengths is mostly padding. Every part of an encoder but attention works on one
token at a time, so it can run on the concatenated tokens (``[tokens, width]``); attention needs to know where each text
starts. The idea is that of Effective Transformer and of ByteTransformer (Zhai et al. 2023, arXiv 2210.03052).
"""

from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UserError
from .kinds import CLASSIFIER, KNOWN, SPANS, takes_token_types
from .layers import Layer, encoder, encoder_layers

# Flash attention works in 16 bits, on heads of a multiple of 8, from compute capability 8.0 on.
_FLASH = (torch.float16, torch.bfloat16)


def attention_of(model: Any, dtype: torch.dtype, flash_capable: bool) -> str:
    """``varlen`` (flash attention of variable-length texts, :mod:`torch.nn.attention.varlen`) where it can run, else
    ``repadded``: attention alone on a padded copy, everything else unpadded. It runs anywhere and in any type."""
    fits = encoder_layers(model)[0].head_size % 8 == 0 and dtype in _FLASH
    return "varlen" if fits and flash_capable else "repadded"


def packed_inputs(
    rows: list[list[int]], types: list[list[int]] | None = None, tokens: int = 0, longest: int = 0
) -> dict[str, Any]:
    """A batch as :class:`Unpadded` takes it, on the processor.

    Args:
        rows, types: token ids and token types (0 where they are None) of each text.
        tokens: filled up to so many tokens, which belong to no text and whose results nobody reads; the texts' own
            number when it is smaller.
        longest: the room for one text in the copy that ``repadded`` makes; the longest text when it is smaller.

    Returns:
        int64 tensors ``ids``, ``types``, ``positions``, ``slots`` (each token's place in a padded ``[rows × longest]``;
        one past its end for a filler), all ``[tokens]``, and ``starts`` ``[rows + 1]``; ``longest`` as an int.
    """
    lengths = [len(row) for row in rows]
    longest, total = max(longest, *lengths), max(tokens, sum(lengths))
    fill = total - sum(lengths)
    starts = [0]
    for length in lengths:
        starts.append(starts[-1] + length)
    flat = {
        "ids": [i for row in rows for i in row] + [0] * fill,
        "types": [t for row in types for t in row] + [0] * fill if types else [0] * total,
        "positions": [p for n in lengths for p in range(n)] + [0] * fill,
        "slots": [r * longest + p for r, n in enumerate(lengths) for p in range(n)] + [len(rows) * longest] * fill,
        "starts": starts,
    }
    return {**{name: torch.tensor(values) for name, values in flat.items()}, "longest": longest}


class Unpadded(nn.Module):
    """A classifier or span model of transformers, cut or not, that reads :func:`packed_inputs`; in eval mode only.

    It holds the model's own modules, so quantised layers, factored word tables and hooks work as they are.

    Args:
        model: BERT or DistilBERT with a classification or a span head.
        attention: as :func:`attention_of` says.

    Raises:
        UserError: another architecture or another head.
    """

    def __init__(self, model: Any, attention: str) -> None:
        super().__init__()
        head = type(model).__name__
        if model.config.model_type not in KNOWN or not head.endswith((CLASSIFIER, SPANS)):
            raise UserError(
                f"{head} can't run unpadded; BERT and DistilBERT with a classification or a span head can: "
                "turn unpadded off"
            )
        self.model, self.attention = model, attention
        self._base = getattr(model, model.base_model_prefix)
        self._spans = head.endswith(SPANS)
        self._bert = model.config.model_type == "bert"

    def forward(
        self, ids: Tensor, types: Tensor, positions: Tensor, starts: Tensor, longest: int, slots: Tensor | None = None
    ) -> Tensor:
        """Logits ``[rows, classes]``, or start and end logits of every token ``[2, tokens]`` of a span model.

        Args:
            slots: ``varlen`` does without.
        """
        more = {"token_type_ids": types[None]} if takes_token_types(self.model) else {}
        hidden = self._base.embeddings(input_ids=ids[None], position_ids=positions[None], **more)[0]
        attend = _Flash(starts, longest) if self.attention == "varlen" else _Repadded(starts, slots, longest)
        for block, layer in zip(encoder(self.model).layer, encoder_layers(self.model), strict=True):
            hidden = self._layer(block, layer, hidden, attend)
        if self._spans:
            return self.model.qa_outputs(hidden).T  # type: ignore[no-any-return]
        first = hidden[starts[:-1]]
        if self._bert:
            return self.model.classifier(self._base.pooler(first[:, None]))  # type: ignore[no-any-return]
        return self.model.classifier(torch.relu(self.model.pre_classifier(first)))  # type: ignore[no-any-return]

    def _layer(self, block: Any, layer: Layer, hidden: Tensor, attend: Any) -> Tensor:
        shape = (len(hidden), layer.heads, layer.head_size)
        parts = [part(hidden).view(shape) for part in (layer.query, layer.key, layer.value)]
        context = attend(*parts).reshape(len(hidden), -1)
        out: Tensor
        if self._bert:
            hidden = block.attention.output(context, hidden)
            out = block.output(block.intermediate(hidden), hidden)
        else:
            hidden = block.sa_layer_norm(layer.out(context) + hidden)
            out = block.output_layer_norm(block.ffn.ff_chunk(hidden) + hidden)
        return out


class _Flash:
    """Attention of ``[tokens, heads, head size]`` within texts, by the kernel for variable lengths."""

    def __init__(self, starts: Tensor, longest: int) -> None:
        self._starts, self._longest = starts.to(torch.int32), longest

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        from torch.nn.attention.varlen import varlen_attn

        longest = self._longest
        found = varlen_attn(query, key, value, self._starts, self._starts, longest, longest)
        assert isinstance(found, Tensor)
        return found


class _Repadded:
    """The same on a padded copy, with any kernel."""

    def __init__(self, starts: Tensor, slots: Tensor | None, longest: int) -> None:
        assert slots is not None
        self._slots, self._longest, self._rows = slots, longest, len(starts) - 1
        within = torch.arange(longest, device=starts.device) < (starts[1:] - starts[:-1])[:, None]
        self._mask = within[:, None, None, :]

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        heads, size = query.shape[1:]
        places = self._rows * self._longest

        def padded(part: Tensor) -> Tensor:
            # One place more, where fillers go.
            room = part.new_zeros(places + 1, heads, size).index_copy_(0, self._slots, part)
            return room[:-1].view(self._rows, self._longest, heads, size).transpose(1, 2)

        attend = nn.functional.scaled_dot_product_attention
        found = attend(padded(query), padded(key), padded(value), attn_mask=self._mask)
        flat = found.transpose(1, 2).reshape(places, heads, size)
        return flat[self._slots.clamp(max=places - 1)]
