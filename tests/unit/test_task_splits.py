"""What a record says about its splits: samples, and texts of validation that stand in train too."""

import logging

import pytest

from edgedistil.tasks.splits import parts_of_train, split_facts

TRAIN = [("a film",), ("a plot",), ("a film",)]
FOUND = {"train": 3, "validation": 2}


def test_texts_in_both_are_counted_letter_by_letter(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="edgedistil"):
        facts = split_facts(None, FOUND, TRAIN, [("a film",), ("A film",), ("a film ",), ("a film",), ("a cast",)])
    assert facts == {"validation_texts_in_train": 2}
    assert caplog.messages == ["2 texts of validation stand in train too"]


def test_a_pair_is_the_same_when_both_texts_are_in_their_order() -> None:
    train = [("a", "b"), ("c", "d")]
    assert split_facts(None, FOUND, train, [("a", "d"), ("b", "a"), ("ab", "")]) == {}
    assert split_facts(None, FOUND, train, [("c", "d")]) == {"validation_texts_in_train": 1}


def test_a_split_with_other_than_its_published_rows_is_a_sample(caplog: pytest.LogCaptureFixture) -> None:
    published = {"train": 100, "validation": 2}
    with caplog.at_level(logging.WARNING, logger="edgedistil"):
        assert split_facts(published, FOUND, TRAIN, [("x",)]) == {"samples": {"train": {"rows": 3, "of": 100}}}
    assert caplog.messages == ["train split: a sample, 3 of 100 rows"]
    found = split_facts(published, FOUND, TRAIN, [("x",)], ["validation"])["samples"]["validation"]
    assert found == {"rows": 2, "of": 100, "from": "train"}
    assert caplog.messages[-1] == "validation split: a sample, 2 of 100 rows of train"
    assert split_facts({"validation": 2}, FOUND, TRAIN, [("x",)]) == {}
    assert split_facts(None, FOUND, [], []) == {}


@pytest.mark.parametrize(
    ("task", "found"),
    [
        ({"validation_split": "validation_matched_sample1000", "more_splits": {"other": "train_sample"}}, ["other"]),
        ({"validation_split": "train_sample_heldout"}, ["validation"]),
        # An explicit file is what its user says it is.
        ({"validation": "mine.csv", "validation_split": "train"}, []),
    ],
)
def test_splits_that_are_read_from_a_part_of_train(task: dict[str, object], found: list[str]) -> None:
    assert parts_of_train({"validation": None, "more_splits": None} | task) == found
