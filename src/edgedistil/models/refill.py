"""What a masked language model would put in the place of a word."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .kinds import takes_token_types
from .masked_lm import encode_tokens, token_logits

_BATCH = 128
# Logits nearer than this to the last place are computed again in float64: float32 differs by less between batch sizes,
# thread counts and devices, and what these change must never change a text.
_SURE = 1e-3
# Steps by which logits in float64 are told apart; then the lower id comes first.
_STEPS = 1e6


@dataclass(frozen=True)
class Masked:
    """A text with one token masked: ``ids`` and ``types`` of all tokens, where the mask is, and whose place it took."""

    ids: list[int]
    types: list[int]
    position: int
    own: int


class Refill:
    """The most likely pieces at masks.

    Args:
        network: a masked language model (BERT or DistilBERT) in float32 and eval mode, on its device.
        allowed: ids that may be found, ascending.
        count: how many are found, fewer than ``allowed``.
        batch_size: texts at once; no answer depends on it.
    """

    def __init__(self, network: Any, allowed: list[int], count: int, batch_size: int = _BATCH) -> None:
        self._network, self._count, self._batch_size = network, count, batch_size
        self._device = next(network.parameters()).device
        self._allowed = torch.tensor(allowed, device=self._device)
        self._exact: Any = None

    def find(self, rows: list[Masked]) -> list[list[int]]:
        """``count`` ids for each row, ascending: a set, without the token that was masked."""
        found: list[list[int]] = [[] for _ in rows]
        order = sorted(range(len(rows)), key=lambda i: len(rows[i].ids))
        for start in range(0, len(order), self._batch_size):
            some = order[start : start + self._batch_size]
            logits = self._logits(self._network, [rows[i] for i in some])
            best = logits.topk(self._count + 1, dim=1)
            chosen = best.indices[:, : self._count]
            unsure = (best.values[:, -2] - best.values[:, -1]).lt(_SURE).nonzero().flatten().tolist()
            if unsure:
                chosen[unsure] = self._settle([rows[some[i]] for i in unsure])
            for i, ids in zip(some, self._allowed[chosen].sort(1).values.tolist(), strict=True):
                found[i] = ids
        return found

    def _settle(self, rows: list[Masked]) -> Tensor:
        if self._exact is None:
            self._exact = copy.deepcopy(self._network).double()
        logits = self._logits(self._exact, rows).clamp_min(-1e6)
        size = len(self._allowed)
        keys = (logits * _STEPS).round().long() * size + torch.arange(size - 1, -1, -1, device=self._device)
        return keys.topk(self._count, dim=1).indices

    def _logits(self, network: Any, rows: list[Masked]) -> Tensor:
        """Logits ``[rows, allowed]`` at the masks; −inf for each row's own token."""
        longest = max(len(row.ids) for row in rows)
        ids = torch.tensor([row.ids + [network.config.pad_token_id or 0] * (longest - len(row.ids)) for row in rows])
        mask = torch.tensor([[1] * len(row.ids) + [0] * (longest - len(row.ids)) for row in rows])
        types = torch.tensor([row.types + [0] * (longest - len(row.types)) for row in rows]).to(self._device)
        places = torch.tensor([row.position for row in rows], device=self._device)
        own = torch.tensor([row.own for row in rows], device=self._device)
        with torch.inference_mode():
            hidden = encode_tokens(
                network, ids.to(self._device), mask.to(self._device), types if takes_token_types(network) else None
            )
            at_masks = hidden[torch.arange(len(rows), device=self._device), places]
            logits: Tensor = token_logits(network, at_masks)[:, self._allowed]
        return logits.masked_fill(own[:, None] == self._allowed, -torch.inf)
