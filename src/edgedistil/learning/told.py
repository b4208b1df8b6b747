"""How far a training is, for those who look from elsewhere (``python -m edgedistil status``)."""

import math
from collections.abc import Callable
from typing import Any

from lightning.pytorch import Callback


class Told(Callback):
    """Tells the optimiser's steps after every batch; a training without an end tells nothing.

    Args:
        tell: ``tell(done, total, unit)``.
    """

    def __init__(self, tell: Callable[[int, int, str], None]) -> None:
        self._tell = tell
        self._total = math.inf

    def on_train_start(self, trainer: Any, module: Any) -> None:
        self._total = trainer.estimated_stepping_batches

    def on_train_batch_end(self, trainer: Any, *args: Any, **kwargs: Any) -> None:
        if 0 < self._total < math.inf:
            self._tell(trainer.global_step, int(self._total), "steps")
