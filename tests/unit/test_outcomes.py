"""Reading what a run left of its cells: whole, truncated, missing, of another project, of another time."""

import json
from pathlib import Path
from typing import Any

import pytest

from edgedistil.reporting.outcomes import checked, outcomes, published, shared_overrides, told
from edgedistil.reporting.records import RecordError, read_record

RECORD: dict[str, Any] = {
    "schema_version": 3, "fingerprint": "f", "names": {"model": "m"}, "compression": None, "quality": None,
    "size": {"model_mb": 1.0}, "model": {}, "device": {"threads": 1}, "environment": {"isa": []}, "timed": False,
}


def left(sweep: Path, number: int, **cell: Any) -> None:
    (sweep / str(number)).mkdir(parents=True)
    (sweep / str(number) / "cell.json").write_text(json.dumps(cell))


def record_in(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(text)
    return folder


def test_a_sweep_with_every_kind_of_cell_is_read_whole(tmp_path: Path) -> None:
    record = record_in(tmp_path / "store" / "r", json.dumps(RECORD))
    sweep = tmp_path / "sweep"
    done = {"stage": "bench", "step": "bench", "status": "done", "folder": str(record), "overrides": ["a=1", "b=2"]}
    left(sweep, 0, **done)
    left(sweep, 2, **{**done, "folder": str(tmp_path / "gone"), "overrides": ["a=1", "b=3"]})
    left(sweep, 3, **{"some": "other project's"})
    left(sweep, 4, **done)
    whole = (sweep / "4" / "cell.json").read_text()
    (sweep / "4" / "cell.json").write_text(whole[: len(whole) // 2])
    left(sweep, 10, stage="bench", status="skipped", why="no such thing")
    (sweep / "notes.txt").write_text("mine")
    jobs = [[f"task={n}", "compression=int8"] for n in range(11)]
    (sweep / "sweep.json").write_text(json.dumps({"jobs": jobs}))

    found = checked(outcomes(sweep))

    assert [c["status"] for c in found] == [
        "done", "unfinished", "unreadable", "unreadable", "unreadable", *["unfinished"] * 5, "skipped"
    ]
    assert found[1]["names"] == {"model": "-", "task": "1", "compression": "int8", "device": "-"}
    assert "job 1 left no outcome" in found[1]["why"]
    assert found[2]["why"] == f"the record {tmp_path}/gone/record.json is no longer in the store; run the sweep again"
    assert "3/cell.json: it is no outcome of this project" in found[3]["why"]
    assert "4/cell.json: JSONDecodeError" in found[4]["why"]
    assert told(found[1:], "stage", None) == "bench"
    assert shared_overrides([found[0], found[2], found[3]]) == {"a=1"}


def test_a_folder_without_cells_has_none(tmp_path: Path) -> None:
    assert outcomes(tmp_path) == []
    assert outcomes(tmp_path / "nothing") == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (json.dumps(RECORD)[:80], "can't be read: JSONDecodeError"),
        ("[1, 2]", "is no record of this project"),
        (json.dumps({"schema_version": 99}), "has schema_version=99, known here: 1, 2, 3; read it with the version"),
        (json.dumps({k: v for k, v in RECORD.items() if k != "size"}), "lacks size: it is of another project"),
        (json.dumps({**RECORD, "timed": True}), "lacks latency, throughput, cold_start, memory"),
    ],
)
def test_what_is_no_whole_record_is_named(tmp_path: Path, text: str, why: str) -> None:
    folder = record_in(tmp_path / "r", text)
    with pytest.raises(RecordError, match=why):
        read_record(folder)
    (cell,) = checked([{"stage": "bench", "step": "bench", "status": "done", "folder": str(folder)}])
    assert cell["status"] == "unreadable"
    assert why in cell["why"]


def test_a_model_that_is_gone_is_named(tmp_path: Path) -> None:
    (cell,) = checked([{"stage": "train", "step": "train", "status": "done", "folder": str(tmp_path)}])
    assert (cell["status"], cell["why"]) == (
        "unreadable", f"the model {tmp_path} is no longer in the store; run it again"
    )


def test_records_that_were_kept_without_their_run_are_cells(tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "a.json").write_text(json.dumps(RECORD))
    (tmp_path / "notes.json").write_text("[]")
    found = published(tmp_path)
    assert [c["status"] for c in found] == ["unreadable", "done"]
    assert checked(found)[1]["folder"] == str(tmp_path / "records" / "a.json")
    (tmp_path / "records" / "a.json").unlink()
    assert published(tmp_path) == []
