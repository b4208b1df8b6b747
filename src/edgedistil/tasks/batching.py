"""Batches of texts of about the same length: little padding, order still random."""

import random
from collections.abc import Iterator
from typing import Any

from torch import Tensor, stack, tensor
from torch.utils.data import Sampler

from .encode import encode_with_types
from .examples import Examples


class LengthGroupedBatches(Sampler[list[int]]):
    """Index batches whose texts have similar lengths, shuffled anew each epoch from (seed, epoch).

    The shuffled indices are cut into pools of ``pool`` batches, each pool is sorted by length and cut into batches,
    and the batches are shuffled (the same idea as transformers' ``LengthGroupedSampler``, by batch).

    Args:
        lengths: tokens of each text.
        skip: batches of the first epoch served already, by the run that this one resumes.
    """

    def __init__(self, lengths: list[int], batch_size: int, seed: int, group: bool = True, pool: int = 64) -> None:
        self._lengths, self._batch_size, self._seed, self._group, self._pool = lengths, batch_size, seed, group, pool
        self.epoch, self.skip = 0, 0

    def __len__(self) -> int:
        return -(-len(self._lengths) // self._batch_size)

    @property
    def sampler(self) -> "LengthGroupedBatches":
        """Where Lightning looks for ``set_epoch`` in a batch sampler: without it every epoch would be the first."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def batches(self, epoch: int) -> list[list[int]]:
        """All batches of ``epoch``."""
        chance = random.Random(f"{self._seed}-{epoch}")
        order = list(range(len(self._lengths)))
        chance.shuffle(order)
        if self._group:
            size = self._pool * self._batch_size
            pools = [sorted(order[i : i + size], key=self._lengths.__getitem__) for i in range(0, len(order), size)]
            order = [index for pool in pools for index in pool]
        batches = [order[i : i + self._batch_size] for i in range(0, len(order), self._batch_size)]
        chance.shuffle(batches)
        return batches

    def __iter__(self) -> Iterator[list[int]]:
        skip, self.skip = self.skip, 0
        yield from self.batches(self.epoch)[skip:]


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


def rows(tokenizer: Any, examples: Examples) -> list[tuple[list[int], list[int], int]]:
    """(token ids, token types, label) of each example."""
    if not len(examples):
        return []
    ids, types = encode_with_types(tokenizer, examples.texts)
    return list(zip(ids, types, examples.labels, strict=True))
