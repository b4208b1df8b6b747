"""Where a training stands in its data, kept in its checkpoints."""

from typing import Any

import lightning

from ..errors import UserError


class Resumable(lightning.LightningDataModule):
    """A data module whose training goes on, after a kill, with the batch that would have come next.

    Lightning restores a data module before it asks for its loaders, and its own counters only after that (an optimiser
    schedule needs the length of the loader), so the place is kept here.
    """

    def __init__(self) -> None:
        super().__init__()
        self._epoch, self._served = 0, 0

    def state_dict(self) -> dict[str, Any]:
        """``epoch`` and ``served``: the batch that comes next is number ``served`` (from 0) of that epoch."""
        assert self.trainer is not None
        served = self.trainer.fit_loop.epoch_loop.batch_progress.current.ready
        if served >= self.trainer.num_training_batches:
            return {"epoch": self.trainer.current_epoch + 1, "served": 0}
        return {"epoch": self.trainer.current_epoch, "served": served}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Start there."""
        self._epoch, self._served = state_dict["epoch"], state_dict["served"]

    def share(self) -> dict[str, int]:
        """``rank`` and ``world``: which part of the batches is this process's."""
        if self.trainer is None:
            return {"rank": 0, "world": 1}
        return {"rank": self.trainer.global_rank, "world": self.trainer.world_size}

    def own(self, batches: list[Any]) -> list[Any]:
        """This process's part of batches that are the same in all.

        Raises:
            UserError: there are fewer of them than processes.
        """
        rank, world = self.share().values()
        if 0 < len(batches) < world:
            raise UserError(
                f"{len(batches)} batches of held-out texts are too few for {world} processes: take fewer, or more texts"
            )
        return batches[rank::world]

    def place(self, sampler: Any) -> None:
        """Tell a new batch sampler where to begin, by ``set_epoch`` and ``skip``; later epochs begin at batch 0."""
        sampler.set_epoch(self._epoch)
        sampler.skip, self._served = self._served, 0
