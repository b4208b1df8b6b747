"""Batches under a real Trainer: what Lightning calls is not always what one thinks."""

from typing import Any

import lightning
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from edgedistil.errors import UserError
from edgedistil.tasks.batching import LengthGroupedBatches
from edgedistil.tasks.epochs import EpochBatches
from edgedistil.tasks.length_bins import LengthBinBatches


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


def grouped(**place: int) -> EpochBatches:
    return LengthGroupedBatches(list(range(1, 42)), 4, seed=0, **place)


def binned(**place: int) -> EpochBatches:
    return LengthBinBatches(np.arange(3, 44, dtype=np.int32), 4, seed=0, **place)


@pytest.mark.parametrize("make", [grouped, binned])
@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_processes_share_an_epoch_in_equally_many_batches(make: Any, world: int) -> None:
    shares = [list(make(rank=rank, world=world)) for rank in range(world)]
    assert {len(share) for share in shares} == {len(make(rank=0, world=world))}
    assert sorted(index for share in shares for batch in share for index in batch) == list(range(41))
    assert max(len(batch) for share in shares for batch in share) <= 4


@pytest.mark.parametrize("make", [grouped, binned])
def test_micro_batches_are_those_of_one_process_and_resumption_counts_a_process_own(make: Any) -> None:
    # 41 texts in batches of 4 are 11 batches for one process, 12 for two and for three.
    (first, second), whole = (list(make(rank=r, world=2)) for r in (0, 1)), list(make(world=3, rank=0))
    assert [len(first), len(second), len(whole)] == [6, 6, 4]
    every = list(make(rank=0, world=2).batches(0))
    assert [batch for pair in zip(first, second, strict=True) for batch in pair] == every
    resumed = make(rank=1, world=2)
    resumed.skip = 4
    assert list(resumed) == second[4:]
    assert list(resumed) == second


def test_fewer_texts_than_processes_are_refused() -> None:
    with pytest.raises(UserError, match="2 texts can't be shared by 3 processes"):
        LengthGroupedBatches([5, 6], 4, seed=0, rank=0, world=3)


def test_batches_that_would_be_empty_are_refused() -> None:
    with pytest.raises(UserError, match=r"use a larger loader\.batch_size"):
        LengthGroupedBatches([5, 6, 7, 8, 9], 1, seed=0, rank=0, world=2)
