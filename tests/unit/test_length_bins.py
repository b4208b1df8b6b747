"""Batches of one length bin, every text once, the same again from the same seed."""

import numpy as np
import pytest

from edgedistil.tasks.corpus_data import collate
from edgedistil.tasks.length_bins import BIN, LengthBinBatches

LENGTHS = np.random.default_rng(0).integers(3, 129, 1000).astype(np.int32)


def test_every_text_is_served_once_and_batches_hold_one_bin() -> None:
    sampler = LengthBinBatches(LENGTHS, 8, seed=1)
    batches = list(sampler)
    assert len(batches) == len(sampler) == 125
    assert sorted(i for b in batches for i in b) == list(range(1000))
    mixed = sum(len({(LENGTHS[i] - 3) // BIN for i in b}) > 1 for b in batches)
    # 32 bins have 31 borders.
    assert mixed <= 31
    padded = sum(len(b) * max(LENGTHS[i] for i in b) for b in batches)
    assert padded / LENGTHS.sum() < 1.06


def test_epochs_differ_and_repeat_and_resume_skips() -> None:
    def epoch(number: int, seed: int = 1, skip: int = 0) -> list[list[int]]:
        sampler = LengthBinBatches(LENGTHS, 8, seed)
        sampler.sampler.set_epoch(number)
        sampler.skip = skip
        return list(sampler)

    assert epoch(0) == epoch(0)
    assert len({str(e) for e in (epoch(0), epoch(1), epoch(0, seed=2))}) == 3
    assert epoch(1, skip=100) == epoch(1)[100:]


def test_without_grouping_lengths_are_mixed() -> None:
    batches = list(LengthBinBatches(LENGTHS, 8, seed=1, group=False))
    assert sorted(i for b in batches for i in b) == list(range(1000))
    assert np.mean([np.ptp(LENGTHS[b]) for b in batches]) > 50


@pytest.mark.parametrize("count", [1, 7, 8, 9])
def test_last_batch_may_be_short(count: int) -> None:
    sampler = LengthBinBatches(LENGTHS[:count], 8, seed=0)
    assert sum(map(len, sampler)) == count
    assert len(list(sampler)) == len(sampler)


def test_collated_rows_are_padded_on_the_right() -> None:
    batch = collate([np.array([2, 9, 3], np.uint16), np.array([2, 3], np.uint16)], pad_id=7)
    assert batch["input_ids"].tolist() == [[2, 9, 3], [2, 3, 7]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert str(batch["input_ids"].dtype) == "torch.int64"
