"""SIGTERM in the middle of a training: a checkpoint, then the end."""

import signal
import threading
from pathlib import Path
from typing import Any

import lightning

from ..errors import Stopped

# Batches between the questions of processes that train together whether one of them was told: each has them wait for
# each other.
_ASK_EVERY = 8


class StopsAtSigterm(lightning.Callback):
    """Ends a training after the batch in which SIGTERM came, with a checkpoint from which it goes on bit-equal.

    Lightning's own handler ends the training too, but keeps nothing. It is registered before the first batch, when ours
    takes its place, and at the end Lightning puts back what was there before either.

    Where a validation or the end of an epoch follows the batch the stop waits for the next one: what Lightning does
    between the two belongs to the batch, and a checkpoint in between would have it done half.

    Args:
        file: the checkpoint; None: there is nothing to save, the training just ends.
    """

    def __init__(self, file: Path | None) -> None:
        self.file = file
        self.asked = False

    def on_sanity_check_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._listen()

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._listen()

    def _listen(self) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._hear)

    def _hear(self, *_: Any) -> None:
        self.asked = True

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # Saving is done by all processes of a training together, and not all hear of it in the same batch.
        asked = self.asked
        if trainer.world_size > 1:
            asked = batch_idx % _ASK_EVERY == 0 and trainer.strategy.reduce_boolean_decision(asked, all=False)
            self.asked = self.asked or asked
        if not asked or _something_follows(trainer, batch_idx):
            return
        if self.file is None:
            raise Stopped("stopped by SIGTERM")
        if trainer.checkpoint_callback is not None:
            # So that a resumed training takes the file for its own and writes over it.
            trainer.checkpoint_callback.last_model_path = str(self.file)  # type: ignore[attr-defined]
        trainer.save_checkpoint(self.file)
        raise Stopped(f"stopped by SIGTERM with a checkpoint of step {trainer.global_step}")


def _something_follows(trainer: lightning.Trainer, batch_idx: int) -> bool:
    if trainer.is_last_batch:
        # With one batch an epoch there is none to wait for.
        return trainer.num_training_batches != 1
    every = trainer.val_check_batch
    # Where each batch is followed by a validation there is nothing to wait for.
    if not trainer.enable_validation or every is None or every <= 1:
        return False
    served = trainer.fit_loop.epoch_loop.total_batch_idx + 1
    return (batch_idx + 1) % every == 0 or served % every == 0
