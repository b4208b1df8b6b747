"""The LightningDataModule of a text classification task."""

from functools import partial
from typing import Any

import torch
from torch.utils.data import DataLoader

from .batching import LengthGroupedBatches, collate, rows
from .examples import Examples
from .resumption import Resumable


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
        self._train: list[Any] = rows(tokenizer, train)
        if teacher_logits is not None:
            self._train = [(*row, logits) for row, logits in zip(self._train, teacher_logits, strict=True)]
        self._held_out = rows(tokenizer, held_out)

    def train_dataloader(self) -> Any:
        lengths = [len(row[0]) for row in self._train]
        sampler = LengthGroupedBatches(lengths, self._batch_size, self._seed, self._group, **self.share())
        self.place(sampler)
        return DataLoader(self._train, batch_sampler=sampler, collate_fn=self._collate)  # type: ignore[arg-type]

    def val_dataloader(self) -> Any:
        batches = list(LengthGroupedBatches([len(r[0]) for r in self._held_out], 2 * self._batch_size, 0))
        own = self.own(batches)
        return DataLoader(self._held_out, batch_sampler=own, collate_fn=self._collate)  # type: ignore[arg-type]
