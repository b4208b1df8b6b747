"""Logs of W&B that a kill cut short."""

import math
from pathlib import Path
from typing import Any

import pytest

from edgedistil.reporting.wandb_files import keep_summary, last_summary, mend, whole_bytes

OPENING = b":W&B\xe1\xbe\x00"


def chunk(kind: int, data: bytes) -> bytes:
    return b"sum." + len(data).to_bytes(2, "little") + bytes([kind]) + data


def kept(folder: Path, name: str, content: bytes, summary: dict[str, Any] | None = None) -> Path:
    path = folder / name / "run-abc.wandb"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    if summary is not None:
        keep_summary(path.parent, summary)
    return path


def test_bytes_of_whole_records(tmp_path: Path) -> None:
    one, other = chunk(1, b"first"), chunk(1, b"a second one")
    for cut, whole in ((len(OPENING + one + other), len(OPENING + one + other)), (len(OPENING + one) + 3, 7 + 12),
                       (len(OPENING + one + other) - 1, 7 + 12), (7 + 11, 7), (7, 7), (6, 0), (0, 0)):  # fmt: skip
        path = tmp_path / "log"
        path.write_bytes((OPENING + one + other)[:cut])
        assert whole_bytes(path) == whole, cut


def test_a_record_over_two_blocks_is_whole_with_its_last_part(tmp_path: Path) -> None:
    first = 32768 - len(OPENING) - 7
    begin, end = chunk(2, b"x" * first), chunk(4, b"y" * 10)
    assert len(OPENING + begin) == 32768
    path = tmp_path / "log"
    path.write_bytes(OPENING + begin + end)
    assert whole_bytes(path) == 32768 + 17
    path.write_bytes(OPENING + begin)
    assert whole_bytes(path) == 7
    # Six bytes that are too few for another head fill the block.
    filled = OPENING + chunk(1, b"x" * (first - 6)) + bytes(6)
    path.write_bytes(filled + chunk(1, b"z"))
    assert whole_bytes(path) == 32768 + 8


def test_earlier_parts_of_a_run_are_cut_or_dropped_and_others_left_alone(tmp_path: Path) -> None:
    whole = OPENING + chunk(1, b"first")
    torn = kept(tmp_path, "offline-run-20260101_000001-abc", whole + b"sum.\xff")
    empty = kept(tmp_path, "offline-run-20260101_000002-abc", OPENING)
    own = kept(tmp_path, "run-20260101_000003-abc", whole + b"half")
    (tmp_path / "latest-run").symlink_to(own.parent)
    (tmp_path / "offline-run-20260101_000004-xyz").mkdir()
    foreign = tmp_path / "offline-run-20260101_000004-xyz" / "run-xyz.wandb"
    foreign.write_bytes(whole + b"half")
    mend(tmp_path, "abc", own.parent)
    assert torn.read_bytes() == whole
    assert not empty.parent.exists()
    assert own.read_bytes() == foreign.read_bytes() == whole + b"half"


def test_figures_of_earlier_parts_come_from_the_last_that_has_them(tmp_path: Path) -> None:
    odd = {"_step": 3, "_wandb": {"runtime": 1}, "table": {"_type": "table-file"}, "bad": math.nan}
    kept(tmp_path, "offline-run-20260101_000002-abc", OPENING, {"loss": 1.0} | odd)
    kept(tmp_path, "run-20260101_000001-abc", OPENING, {"loss": 2.0, "rate": 0.5})
    kept(tmp_path, "run-20260101_000004-abc", OPENING)
    own = kept(tmp_path, "offline-run-20260101_000003-abc", OPENING, {"loss": 7.0})
    assert last_summary(tmp_path, "abc", own.parent) == {"loss": 1.0, "rate": 0.5}


def test_what_wandb_writes_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The format is wandb's to change: a log of its own, longer than two blocks, is read to its end."""
    import wandb

    for name, value in {"WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false", "HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    settings = wandb.Settings(silent=True, console="off", disable_git=True, x_disable_stats=True)
    run = wandb.init(project="p", id="abc", mode="offline", dir=tmp_path, settings=settings)
    for step in range(8):
        run.log({"text": f"{step}" * 9_000})
    run.finish()
    wandb.teardown()
    (log,) = (p for p in tmp_path.glob("wandb/offline-run*/run-abc.wandb"))
    content = log.read_bytes()
    assert len(content) > 2 * 32768
    assert whole_bytes(log) == len(content)
    log.write_bytes(content[:-1])
    kept_bytes = whole_bytes(log)
    assert 32768 < kept_bytes < len(content) - 1
