"""Batches of texts whose lengths fall into the same bin of 4 tokens, in NumPy, for corpora of millions of texts."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

# Width of a bin, as the original's GroupedBatchSampler has it (field note: bins at 3, 7, 11, ... tokens).
BIN = 4
_FIRST = 3


class LengthBinBatches(Sampler[list[int]]):
    """Every text once an epoch, in batches of one length bin, shuffled anew from (seed, epoch).

    Texts are shuffled within their bin and batches among each other; only the batch at the border of two bins mixes
    them.

    Args:
        lengths: ``[texts]``, tokens of each.
        group: False: batches of whatever lengths.
        skip: batches of the first epoch served already, by the run that this one resumes.
    """

    def __init__(self, lengths: NDArray[np.int32], batch_size: int, seed: int, group: bool = True) -> None:
        self._bins = (lengths - _FIRST) // BIN
        self._batch_size, self._seed, self._group = batch_size, seed, group
        self.epoch, self.skip = 0, 0

    def __len__(self) -> int:
        return -(-len(self._bins) // self._batch_size)

    @property
    def sampler(self) -> "LengthBinBatches":
        """Where Lightning looks for ``set_epoch`` in a batch sampler: without it every epoch would be the first."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        chance = np.random.default_rng((self._seed, self.epoch))
        order = chance.permutation(len(self._bins))
        if self._group:
            order = order[np.argsort(self._bins[order], kind="stable")]
        skip, self.skip = self.skip, 0
        for batch in chance.permutation(len(self))[skip:]:
            yield order[batch * self._batch_size : (batch + 1) * self._batch_size].tolist()
