"""The words nearest to a word in a table of word-piece embeddings."""

from typing import Any

import torch
from torch import Tensor

from .loading import hub_arguments, hub_errors

# Words that are compared with the vocabulary at once: 256 × 30,000 similarities are 61 MB.
_BLOCK = 256
# Similarities are compared to 9 digits, then by id: sums in another order must not change who is nearer.
_STEPS = 1e9


def embedding_table(location: str, identity: dict[str, Any]) -> Tensor:
    """The word-piece embeddings ``[vocabulary, width]`` of a model, in float32.

    Raises:
        UserError: the model is not to be had.
    """
    from transformers import AutoModel

    with hub_errors(location, identity):
        network = AutoModel.from_pretrained(location, dtype="float32", **hub_arguments(identity))
    table: Tensor = network.get_input_embeddings().weight.detach()
    return table


class Neighbours:
    """Finds the nearest of some pieces by cosine similarity; a word of several pieces is the mean of their rows.

    Args:
        table: ``[vocabulary, width]``.
        allowed: ids that may be found, ascending.
        count: how many are found, fewer than ``allowed``.
        block: words that are looked up at once; no answer depends on it.
    """

    def __init__(self, table: Tensor, allowed: list[int], count: int, block: int = _BLOCK) -> None:
        self._table, self._count, self._block = table, count, block
        self._allowed = torch.tensor(allowed, device=table.device)
        self._rows = _unit(table[self._allowed].double())
        self._place = {piece: i for i, piece in enumerate(allowed)}
        self._known: dict[tuple[int, ...], list[int]] = {}

    def find(self, words: list[tuple[int, ...]]) -> list[list[int]]:
        """``count`` ids for each word (its pieces' ids), nearest first, never the word itself."""
        new = sorted(set(words) - self._known.keys())
        for start in range(0, len(new), self._block):
            some = new[start : start + self._block]
            self._known.update(zip(some, self._nearest(some), strict=True))
        return [self._known[word] for word in words]

    def _nearest(self, words: list[tuple[int, ...]]) -> list[list[int]]:
        queries = torch.stack([self._table[list(word)].double().mean(0) for word in words])
        similar = (_unit(queries) @ self._rows.T * _STEPS).round().long()
        size = len(self._allowed)
        keys = similar * size + torch.arange(size - 1, -1, -1, device=similar.device)
        for row, word in enumerate(words):
            if len(word) == 1 and word[0] in self._place:
                keys[row, self._place[word[0]]] = torch.iinfo(torch.int64).min
        found: list[list[int]] = self._allowed[keys.topk(self._count).indices].tolist()
        return found


def _unit(rows: Tensor) -> Tensor:
    units: Tensor = rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-12)
    return units
