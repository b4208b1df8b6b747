"""Batches of one epoch, shared by all processes of a training."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence

from torch.utils.data import Sampler

from ..errors import UserError


class EpochBatches(Sampler[list[int]], ABC):
    """Index batches, shuffled anew each epoch; subclasses say how by :meth:`batches`.

    With several processes, number ``rank`` of ``world`` takes every ``world``-th batch, so that micro-batch ``i`` of
    all of them are the next ``world`` batches that one process would have had. Each has equally many.

    Attributes:
        epoch: of the batches that come next.
        skip: batches of that epoch that this process has had already, in the run that this one resumes.
    """

    def __init__(self, texts: int, batch_size: int, rank: int = 0, world: int = 1) -> None:
        if 0 < texts < world:
            raise UserError(f"{texts} texts can't be shared by {world} processes: take fewer processes, or more texts")
        self._sizes = _sizes(texts, batch_size, world)
        self._rank, self._world = rank, world
        self.epoch, self.skip = 0, 0

    def __len__(self) -> int:
        return len(self._sizes) // self._world

    @property
    def sampler(self) -> "EpochBatches":
        """Where Lightning looks for ``set_epoch`` in a batch sampler: without it every epoch would be the first."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    @abstractmethod
    def batches(self, epoch: int) -> Iterable[list[int]]:
        """All batches of ``epoch``, over all processes."""

    def cut(self, order: Sequence[int]) -> list[list[int]]:
        """``order`` in consecutive batches."""
        result, start = [], 0
        for size in self._sizes:
            result.append(list(order[start : start + size]))
            start += size
        return result

    def __iter__(self) -> Iterator[list[int]]:
        skip, self.skip = self.skip, 0
        for number, batch in enumerate(self.batches(self.epoch)):
            if number % self._world == self._rank and number // self._world >= skip:
                yield batch


def _sizes(texts: int, batch_size: int, world: int) -> list[int]:
    """Texts of each batch: all full but the last; where processes would get unequal shares, as equal as can be."""
    if texts == 0:
        return []
    count = -(-texts // batch_size)
    if count % world == 0:
        return [batch_size] * (count - 1) + [texts - batch_size * (count - 1)]
    count += world - count % world
    if count > texts:
        raise UserError(
            f"{texts} texts in batches of {batch_size} can't be shared evenly by {world} processes: use a larger "
            "loader.batch_size"
        )
    return [texts // count + (i < texts % count) for i in range(count)]
