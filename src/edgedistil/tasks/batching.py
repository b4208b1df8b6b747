"""Batches of texts of about the same length: little padding, order still random."""

import random
from collections.abc import Sequence
from typing import Any

from torch import Tensor, stack, tensor

from .encode import encode_with_types
from .epochs import EpochBatches
from .examples import Examples
from .token_cache import Tokens, kept


class LengthGroupedBatches(EpochBatches):
    """Index batches whose texts have similar lengths, shuffled anew each epoch from (seed, epoch).

    The shuffled indices are cut into pools of ``pool`` batches, each pool is sorted by length and cut into batches,
    and the batches are shuffled (the same idea as transformers' ``LengthGroupedSampler``, by batch).

    Args:
        lengths: tokens of each text.
        rank, world: see :class:`.epochs.EpochBatches`.
    """

    def __init__(
        self,
        lengths: list[int],
        batch_size: int,
        seed: int,
        group: bool = True,
        pool: int = 64,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        super().__init__(len(lengths), batch_size, rank, world)
        self._lengths, self._seed, self._group, self._pool = lengths, seed, group, pool * batch_size

    def batches(self, epoch: int) -> list[list[int]]:
        chance = random.Random(f"{self._seed}-{epoch}")
        order = list(range(len(self._lengths)))
        chance.shuffle(order)
        if self._group:
            pools = [
                sorted(order[i : i + self._pool], key=self._lengths.__getitem__)
                for i in range(0, len(order), self._pool)
            ]
            order = [index for pool in pools for index in pool]
        batches = self.cut(order)
        chance.shuffle(batches)
        return batches


def pad(rows: list[list[int]], value: int) -> Tensor:
    """Rows of ids to one ``[batch, longest]`` int64 tensor, filled with ``value`` on the right."""
    longest = max(map(len, rows))
    return tensor([row + [value] * (longest - len(row)) for row in rows])


def collate(rows: list[tuple[Any, ...]], pad_id: int) -> dict[str, Tensor]:
    """(ids, token types, label) rows to ``input_ids``, ``attention_mask``, ``token_type_ids``, ``labels``; a fourth
    entry, a teacher's logits ``[classes]``, becomes ``teacher_logits`` ``[batch, classes]``."""
    ids, types, labels, *more = zip(*rows, strict=True)
    batch = {
        "input_ids": pad(list(ids), pad_id),
        "attention_mask": pad([[1] * len(i) for i in ids], 0),
        "token_type_ids": pad(list(types), 0),
        "labels": tensor(labels),
    }
    return {**batch, "teacher_logits": stack(more[0])} if more else batch


class KeptRows(Sequence[tuple[list[int], list[int], float]]):
    """(token ids, token types, label) of examples whose tokens lie in the store; read when they are asked for.

    Args:
        places: where each example stands in ``tokens``.
    """

    def __init__(self, tokens: Tokens, places: Sequence[int], labels: Sequence[Any]) -> None:
        self._tokens, self._places, self._labels = tokens, places, labels

    def __len__(self) -> int:
        return len(self._places)

    def lengths(self) -> list[int]:
        """Tokens of each text; no id is read for it."""
        found: list[int] = self._tokens.lengths()[list(self._places)].tolist()
        return found

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return (*self._tokens[self._places[index]], self._labels[index])


def lengths(data: Sequence[tuple[Any, ...]]) -> list[int]:
    """Tokens of each row of :func:`rows`."""
    return data.lengths() if isinstance(data, KeptRows) else [len(row[0]) for row in data]


def rows(tokenizer: Any, examples: Examples) -> Sequence[tuple[list[int], list[int], float]]:
    """(token ids, token types, label) of each example; of a regression the label is its number.

    Of large splits they come from the store's cache of the whole split.
    """
    if not len(examples):
        return []
    whole = examples.whole or examples
    places = range(len(examples)) if examples.places is None else examples.places
    # A few texts of a large split are not worth making them all.
    found = kept(tokenizer, whole.texts, make=2 * len(examples) >= len(whole))
    if found is not None:
        return KeptRows(found, places, examples.labels)
    ids, types = encode_with_types(tokenizer, examples.texts)
    labels: Sequence[float] = examples.labels
    return list(zip(ids, types, labels, strict=True))
