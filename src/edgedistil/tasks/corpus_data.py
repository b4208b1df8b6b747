"""The LightningDataModule of a tokenised corpus."""

from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from .corpus import Corpus
from .length_bins import LengthBinBatches
from .resumption import Resumable

# Fixed, so that the masks of the validation texts, which are drawn batch by batch, do not depend on loader.batch_size.
HELD_OUT_BATCH = 16


class CorpusDataModule(Resumable):
    """Length-grouped batches of a training corpus, and the held-out corpus in batches that are always the same.

    Args:
        pad_id: the id that fills short rows.
        seed: of the order of training batches; :class:`.length_bins.LengthBinBatches`.
    """

    def __init__(
        self, train: Corpus, held_out: Corpus, pad_id: int, batch_size: int, group_by_length: bool, seed: int
    ) -> None:
        super().__init__()
        self._train, self._held_out = train, held_out
        self._collate = partial(collate, pad_id=pad_id)
        self._batch_size, self._group, self._seed = batch_size, group_by_length, seed

    def train_dataloader(self) -> Any:
        sampler = LengthBinBatches(self._train.lengths(), self._batch_size, self._seed, self._group, **self.share())
        self.place(sampler)
        return DataLoader(self._train, batch_sampler=sampler, collate_fn=self._collate)  # type: ignore[arg-type]

    def val_dataloader(self) -> Any:
        order = np.argsort(self._held_out.lengths(), kind="stable")
        batches = [order[i : i + HELD_OUT_BATCH].tolist() for i in range(0, len(order), HELD_OUT_BATCH)]
        own = self.own(batches)
        return DataLoader(self._held_out, batch_sampler=own, collate_fn=self._collate)  # type: ignore[arg-type]


def collate(texts: list[NDArray[Any]], pad_id: int) -> dict[str, Tensor]:
    """Rows of ids to ``input_ids`` and ``attention_mask``, int64 ``[batch, longest]``, padded on the right."""
    longest = max(map(len, texts))
    ids = np.full((len(texts), longest), pad_id, np.int64)
    mask = np.zeros_like(ids)
    for row, text in enumerate(texts):
        ids[row, : len(text)], mask[row, : len(text)] = text, 1
    return {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
