"""Batches of texts whose lengths fall into the same bin of 4 tokens, in NumPy, for corpora of millions of texts."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .epochs import EpochBatches

# Width of a bin, as the original's GroupedBatchSampler has it (field note: bins at 3, 7, 11, ... tokens).
BIN = 4
_FIRST = 3


class LengthBinBatches(EpochBatches):
    """Every text once an epoch, in batches of one length bin, shuffled anew from (seed, epoch).

    Texts are shuffled within their bin and batches among each other; only the batch at the border of two bins mixes
    them.

    Args:
        lengths: ``[texts]``, tokens of each.
        group: False: batches of whatever lengths.
        rank, world: see :class:`.epochs.EpochBatches`.
    """

    def __init__(
        self,
        lengths: NDArray[np.int32],
        batch_size: int,
        seed: int,
        group: bool = True,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        super().__init__(len(lengths), batch_size, rank, world)
        self._bins = (lengths - _FIRST) // BIN
        self._starts = np.cumsum([0, *self._sizes])
        self._seed, self._group = seed, group

    def batches(self, epoch: int) -> Iterator[list[int]]:
        chance = np.random.default_rng((self._seed, epoch))
        order = chance.permutation(len(self._bins))
        if self._group:
            order = order[np.argsort(self._bins[order], kind="stable")]
        for batch in chance.permutation(len(self._sizes)):
            yield order[self._starts[batch] : self._starts[batch + 1]].tolist()
