"""The LightningDataModule of a question answering task: windows in length-grouped batches."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from .batching import LengthGroupedBatches
from .resumption import Resumable
from .span_answers import SpanLogits
from .windows import Window

# (its index, the window, a teacher's logits [2, tokens] or None)
Row = tuple[int, Window, SpanLogits | None]


class SpanDataModule(Resumable):
    """Windows of the training part and of the part held out for model choice.

    Args:
        held_out: windows with offsets; batches carry their index, so that answers can be put together.
        pad_id: the id that fills short rows.
        teacher_logits: ``[2, tokens]`` of each training window, for objectives that learn from them.
    """

    def __init__(
        self,
        train: Sequence[Window],
        held_out: Sequence[Window],
        pad_id: int,
        batch_size: int,
        group_by_length: bool,
        seed: int,
        teacher_logits: Sequence[SpanLogits] | None = None,
    ) -> None:
        super().__init__()
        self._collate = partial(collate_windows, pad_id=pad_id)
        self._batch_size, self._group, self._seed = batch_size, group_by_length, seed
        logits = [None] * len(train) if teacher_logits is None else teacher_logits
        self._train: list[Any] = [(i, w, z) for i, (w, z) in enumerate(zip(train, logits, strict=True))]
        self._held_out: list[Any] = [(i, w, None) for i, w in enumerate(held_out)]

    def train_dataloader(self) -> Any:
        lengths = [len(row[1]) for row in self._train]
        sampler = LengthGroupedBatches(lengths, self._batch_size, self._seed, self._group, **self.share())
        self.place(sampler)
        return DataLoader(self._train, batch_sampler=sampler, collate_fn=self._collate)  # type: ignore[arg-type]

    def val_dataloader(self) -> Any:
        # Each process sees them all: an answer is chosen among all windows of its question.
        sampler = LengthGroupedBatches([len(r[1]) for r in self._held_out], 2 * self._batch_size, 0)
        return DataLoader(self._held_out, batch_sampler=sampler, collate_fn=self._collate)  # type: ignore[arg-type]


def collate_windows(rows: list[Row], pad_id: int) -> dict[str, Tensor]:
    """Windows to ``input_ids``, ``attention_mask``, ``token_type_ids`` ``[batch, longest]``, ``spans`` ``[batch, 2]``
    (first and last token of the answer), ``window`` ``[batch]`` (indices) and, where rows bring them,
    ``teacher_logits`` ``[batch, 2, longest]`` (0 at padding)."""
    longest = max(len(window) for _, window, _ in rows)
    ids = np.full((len(rows), longest), pad_id, np.int64)
    mask, types = np.zeros_like(ids), np.zeros_like(ids)
    taught = np.zeros((len(rows), 2, longest), np.float32)
    for place, (_, window, logits) in enumerate(rows):
        ids[place, : len(window)], mask[place, : len(window)] = window.ids, 1
        types[place, : len(window)] = window.types
        if logits is not None:
            taught[place, :, : len(window)] = logits
    batch = {
        "input_ids": torch.from_numpy(ids),
        "attention_mask": torch.from_numpy(mask),
        "token_type_ids": torch.from_numpy(types),
        "spans": torch.tensor([(window.start, window.end) for _, window, _ in rows]),
        "window": torch.tensor([index for index, _, _ in rows]),
    }
    return batch | ({"teacher_logits": torch.from_numpy(taught)} if rows[0][2] is not None else {})
