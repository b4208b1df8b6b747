"""What a run that did nothing takes away with it, and what it leaves alone."""

from pathlib import Path

import pytest

from edgedistil.stages.sweep import remove_with_empty_parents


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a run that stopped over its input, as Hydra made it."""
    run = tmp_path / "outputs" / "2026-01-02" / "03-04-05"
    (run / ".hydra").mkdir(parents=True)
    (run / ".hydra" / "config.yaml").write_text("seed: 1\n")
    (run / "train.log").write_text("")
    return run


def test_nothing_is_left_of_a_run_that_did_nothing(folder: Path, tmp_path: Path) -> None:
    (folder / "sweep.json").write_text("{}")
    (folder / "running.lock").write_text("")
    remove_with_empty_parents(folder)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("theirs", ["thesis.txt", "cell.json", "report.html", "0/cell.json", "notes/a.log", "my.log/a"])
def test_a_folder_that_holds_more_than_that_stays_as_it_is(folder: Path, theirs: str) -> None:
    (folder / theirs).parent.mkdir(exist_ok=True)
    (folder / theirs).write_text("work of a year")
    before = sorted(folder.rglob("*"))
    remove_with_empty_parents(folder)
    assert sorted(folder.rglob("*")) == before
    assert (folder / theirs).read_text() == "work of a year"
