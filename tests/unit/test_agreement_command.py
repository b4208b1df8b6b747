"""Two records of one cell, compared from the command line."""

import json
from pathlib import Path
from typing import Any

import pytest

from edgedistil.__main__ import main


def record(path: Path, low: float, high: float) -> str:
    figures: dict[str, Any] = {"ratio": (low + high) / 2, "ci95_low": low, "ci95_high": high}
    path.write_text(json.dumps({"speedup": {"torch_fp32": {"tokens_32": figures}}}))
    return str(path)


@pytest.mark.parametrize(
    ("second", "code", "last"), [((3.3, 3.5), 0, "1 of 1 ratios agree"), ((3.7, 3.9), 1, "0 of 1 ratios agree")]
)
def test_overlapping_intervals_agree(
    second: tuple[float, float], code: int, last: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [record(tmp_path / "a.json", 3.2, 3.6), record(tmp_path / "b.json", *second)]
    assert main(["agreement", *files]) == code
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == last
    assert "3.40 [3.20, 3.60]" in printed[2]


def test_records_without_a_common_ratio_are_the_users_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.json").write_text("{}")
    assert main(["agreement", record(tmp_path / "a.json", 1, 2), str(tmp_path / "empty.json")]) == 2
    assert "no ratio in common" in capsys.readouterr().err
    assert main(["agreement", str(tmp_path / "no.json"), str(tmp_path / "empty.json")]) == 2
