"""Batches under a real Trainer: what Lightning calls is not always what one thinks."""

from typing import Any

import lightning
import torch
from torch.utils.data import DataLoader

from edgedistil.tasks.batching import LengthGroupedBatches


class Watcher(lightning.LightningModule):
    """Notes the batches that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[list[int]] = []

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        self.seen.append(batch.tolist())
        return self.weight.sum()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.1)


def test_every_epoch_of_a_trainer_serves_its_own_batches() -> None:
    watcher, batches = Watcher(), LengthGroupedBatches(list(range(1, 41)), 4, seed=0)
    trainer = lightning.Trainer(
        max_epochs=3,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        accelerator="cpu",
        enable_model_summary=False,
    )
    trainer.fit(watcher, DataLoader(torch.arange(40), batch_sampler=batches))
    epochs = [watcher.seen[i : i + 10] for i in (0, 10, 20)]
    assert epochs == [batches.batches(e) for e in range(3)]
    assert len({str(e) for e in epochs}) == 3
    assert all(sorted(index for batch in e for index in batch) == list(range(40)) for e in epochs)
