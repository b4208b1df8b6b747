"""Batches: every text once an epoch, little padding, exact resumption; and what a batch holds."""

import random
from pathlib import Path

import pytest
import torch

from edgedistil.errors import UserError
from edgedistil.tasks.batching import LengthGroupedBatches, collate, pad, rows
from edgedistil.tasks.datamodule import TextDataModule
from edgedistil.tasks.encode import encode, encode_with_types, load_tokenizer
from edgedistil.tasks.examples import Examples

LENGTHS = random.Random(0).choices(range(3, 61), k=1003)


def padding(batches: list[list[int]]) -> int:
    return sum(max(LENGTHS[i] for i in batch) * len(batch) - sum(LENGTHS[i] for i in batch) for batch in batches)


@pytest.mark.parametrize("group", [True, False])
def test_every_index_exactly_once_an_epoch(group: bool) -> None:
    sampler = LengthGroupedBatches(LENGTHS, 8, seed=1, group=group, pool=16)
    for epoch in range(3):
        batches = sampler.batches(epoch)
        assert sorted(i for batch in batches for i in batch) == list(range(1003))
        assert len(batches) == len(sampler) == 126
        assert sorted(map(len, batches))[:2] == [3, 8]


def test_order_differs_between_epochs_and_seeds_and_not_otherwise() -> None:
    sampler = LengthGroupedBatches(LENGTHS, 8, seed=1)
    assert sampler.batches(0) == LengthGroupedBatches(LENGTHS, 8, seed=1).batches(0)
    assert sampler.batches(0) != sampler.batches(1)
    assert sampler.batches(0) != LengthGroupedBatches(LENGTHS, 8, seed=2).batches(0)


def test_iteration_follows_the_epoch() -> None:
    sampler = LengthGroupedBatches(LENGTHS, 8, seed=1)
    assert list(sampler) == sampler.batches(0)
    sampler.set_epoch(1)
    assert list(sampler) == sampler.batches(1)


def test_skip_goes_on_exactly_where_the_killed_run_was_and_only_once() -> None:
    sampler = LengthGroupedBatches(LENGTHS, 8, seed=1)
    sampler.set_epoch(2)
    sampler.skip = 57
    assert list(sampler) == sampler.batches(2)[57:]
    assert list(sampler) == sampler.batches(2)


def test_grouping_pads_far_less_than_random_order() -> None:
    grouped = padding(LengthGroupedBatches(LENGTHS, 8, seed=1).batches(0))
    free = padding(LengthGroupedBatches(LENGTHS, 8, seed=1, group=False).batches(0))
    assert grouped < free / 10


def test_batches_do_not_come_sorted_by_length() -> None:
    sampler = LengthGroupedBatches(LENGTHS, 8, seed=1)
    means = [sum(LENGTHS[i] for i in b) / len(b) for b in sampler.batches(0)]
    assert means not in (sorted(means), sorted(means, reverse=True))


def test_collate_pads_on_the_right_with_mask_types_and_labels() -> None:
    batch = collate([([2, 9, 3], [0, 0, 0], 1), ([2, 8, 3, 7, 3], [0, 0, 0, 1, 1], 0)], pad_id=5)
    expected = {
        "input_ids": [[2, 9, 3, 5, 5], [2, 8, 3, 7, 3]],
        "attention_mask": [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]],
        "token_type_ids": [[0, 0, 0, 0, 0], [0, 0, 0, 1, 1]],
        "labels": [1, 0],
    }
    assert {name: tensor.tolist() for name, tensor in batch.items()} == expected
    assert all(tensor.dtype == torch.int64 for tensor in batch.values())
    assert pad([[1], [2, 3]], 0).tolist() == [[1, 0], [2, 3]]


def test_tokenizer_truncates_never_pads_and_knows_pairs(tokenizer_file: Path) -> None:
    tokenizer = load_tokenizer(tokenizer_file.parent, max_length=6)
    ids = encode(tokenizer, [("the film",), ("the film is very good and long",)])
    assert [len(row) for row in ids] == [4, 6]
    assert ids[1][0] == 2
    assert ids[1][-1] == 3
    pair_ids, types = encode_with_types(tokenizer, [("film", "plot")])
    assert types == [[0, 0, 0, 1, 1]]
    assert pair_ids == encode(tokenizer, [("film", "plot")])


def test_missing_tokenizer_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no tokenizer\.json; save the tokenizer there"):
        load_tokenizer(tmp_path, 8)


def test_data_module_serves_train_and_held_out_texts(tokenizer_file: Path) -> None:
    examples = Examples([("the film is good",), ("bad",), ("a dull plot",)], [1, 0, 0], ["negative", "positive"])
    tokenizer = load_tokenizer(tokenizer_file.parent, 16)
    assert [(len(ids), label) for ids, _, label in rows(tokenizer, examples)] == [(6, 1), (3, 0), (5, 0)]
    module = TextDataModule(tokenizer, examples, examples.take([1]), 0, batch_size=2, group_by_length=True, seed=1)
    batches = list(module.train_dataloader())
    assert sorted(label for batch in batches for label in batch["labels"].tolist()) == [0, 0, 1]
    assert [batch["input_ids"].tolist() for batch in module.val_dataloader()] == [encode(tokenizer, [("bad",)])]
    nothing = TextDataModule(tokenizer, examples, examples.take([]), 0, batch_size=2, group_by_length=True, seed=1)
    assert list(nothing.val_dataloader()) == []
