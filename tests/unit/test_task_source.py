"""Where a task's texts come from is decided, and checked, without reading them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgedistil.errors import UserError
from edgedistil.store.fingerprint import DigestCache, file_digest
from edgedistil.tasks.source import Source
from edgedistil.tasks.source import locate as locate_source

HUB = {"hub": "nyu-mll/glue", "hub_config": "sst2", "revision": "abc"}


@pytest.fixture
def locate(tmp_path: Path, task_group: Callable[..., dict[str, Any]]) -> Callable[..., Source]:
    def run(needs_train: bool = False, **task: Any) -> Source:
        return locate_source(task_group(**task), DigestCache(tmp_path / "digests.json"), needs_train)

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    for name in ("train", "validation"):
        (tmp_path / "data" / f"{name}.parquet").write_text(name)
    return tmp_path / "data"


def test_files_are_known_by_their_content_not_their_place(locate: Callable[..., Source], folder: Path) -> None:
    given = locate(validation=str(folder / "validation.parquet"))
    assert given.files == {"validation": str(folder / "validation.parquet")}
    assert given.identity == {"files": {"validation": file_digest(folder / "validation.parquet")}}
    (folder / "validation.parquet").rename(folder / "moved.parquet")
    assert locate(validation=str(folder / "moved.parquet")).identity == given.identity


def test_data_folder_holds_a_file_a_split(locate: Callable[..., Source], folder: Path) -> None:
    assert set(locate(data_dir=str(folder), needs_train=True).files) == {"train", "validation"}
    (folder / "train.parquet").unlink()
    assert set(locate(data_dir=str(folder)).files) == {"validation"}
    with pytest.raises(UserError, match=r"task.data_dir: no file .*train\.parquet"):
        locate(data_dir=str(folder), needs_train=True)


def test_data_variable_stands_in_for_the_hub(locate: Callable[..., Source], folder: Path,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    assert locate(**HUB).files == {}
    monkeypatch.setenv("EDGEDISTIL_DATA", str(folder.parent))
    assert locate(name="data", **HUB).files["validation"] == str(folder / "validation.parquet")
    with pytest.raises(UserError, match=r"EDGEDISTIL_DATA='.*other' is no folder"):
        locate(name="other", **HUB)


def test_generator_and_hub_are_known_by_their_arguments(locate: Callable[..., Source]) -> None:
    generator = {"name": "reviews", "train": 10, "validation": 5, "seed": 1, "label_noise": 0.0}
    assert locate(generator=generator).identity == {"generator": generator, "version": 1}
    identity = locate(**HUB).identity
    assert identity == {**HUB, "train_split": "train", "validation_split": "validation"}


@pytest.mark.parametrize(("task", "message"), [
    ({"hub": "nyu-mll/glue"}, "task.revision is empty: pin the commit of the hub data set 'nyu-mll/glue'"),
    ({}, "task 'mine' has no data: give task.validation=FILE"),
    ({"validation": "/nowhere/v.csv"}, "task.validation: no file '/nowhere/v.csv'"),
    ({"validation": "/nowhere/v.xlsx"}, "task.validation: 'v.xlsx' is of an unknown kind; allowed: .csv, .tsv"),
    ({"data_dir": "/nowhere"}, "task.data_dir='/nowhere' is no folder; it should hold train.parquet"),
])
def test_faults_are_said_in_one_line(locate: Callable[..., Source], task: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        locate(**task)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_training_needs_a_train_file(locate: Callable[..., Source], folder: Path) -> None:
    with pytest.raises(UserError, match=r"this run trains and needs task\.train=FILE"):
        locate(validation=str(folder / "validation.parquet"), needs_train=True)


def test_a_folder_with_the_name_of_a_file(locate: Callable[..., Source], tmp_path: Path) -> None:
    (tmp_path / "x.csv").mkdir()
    with pytest.raises(UserError, match=r"task\.validation: '.*x\.csv' is a folder, not a file \(a folder of splits"):
        locate(validation=str(tmp_path / "x.csv"))
