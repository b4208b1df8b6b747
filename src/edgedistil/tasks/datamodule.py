"""The LightningDataModule of a text classification task."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch.utils.data import DataLoader

from .batching import LengthGroupedBatches, collate, lengths, rows
from .examples import Examples
from .resumption import Resumable


class _Taught(Sequence[Any]):
    """Rows with a teacher's logits as one entry more, put together when they are asked for."""

    def __init__(self, rows: Sequence[Any], logits: torch.Tensor) -> None:
        assert len(rows) == len(logits), "the logits are of other texts"
        self._rows, self._logits = rows, logits

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        return (*self._rows[index], self._logits[index])


class TextDataModule(Resumable):
    """Token ids of the training part and of the part held out for model choice, in length-grouped batches.

    Args:
        tokenizer: a ``tokenizers.Tokenizer`` that truncates and does not pad.
        pad_id: the id that fills short rows.
        teacher_logits: ``[texts, classes]`` of the training part, for objectives that learn from them.
    """

    def __init__(
        self,
        tokenizer: Any,
        train: Examples,
        held_out: Examples,
        pad_id: int,
        batch_size: int,
        group_by_length: bool,
        seed: int,
        teacher_logits: torch.Tensor | None = None,
    ) -> None:
        super().__init__()
        self._collate = partial(collate, pad_id=pad_id)
        self._batch_size, self._group, self._seed = batch_size, group_by_length, seed
        self._train: Sequence[Any] = rows(tokenizer, train)
        self._lengths = lengths(self._train)
        if teacher_logits is not None:
            self._train = _Taught(self._train, teacher_logits)
        self._held_out = rows(tokenizer, held_out)

    def train_dataloader(self) -> Any:
        sampler = LengthGroupedBatches(self._lengths, self._batch_size, self._seed, self._group, **self.share())
        self.place(sampler)
        return DataLoader(self._train, batch_sampler=sampler, collate_fn=self._collate)  # type: ignore[arg-type]

    def val_dataloader(self) -> Any:
        batches = list(LengthGroupedBatches(lengths(self._held_out), 2 * self._batch_size, 0))
        own = self.own(batches)
        return DataLoader(self._held_out, batch_sampler=own, collate_fn=self._collate)  # type: ignore[arg-type]
