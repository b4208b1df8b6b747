"""Two runs that want the same new cell at the same moment share the work."""

from collections import Counter
from pathlib import Path
from typing import Any


def test_each_step_is_computed_once(
    start: Any, tiny: list[str], rapid: list[str], copied: Path, tmp_path: Path, artifacts: Any
) -> None:
    command = ["bench.py", *tiny, *rapid, "compression/pruning=structured", "compression/quantization=int8_dynamic"]
    both = [start(*command, cwd=tmp_path / name, store=copied) for name in ("one", "two")]
    ran = [script.end().ok() for script in both]
    assert [r.summary["status"] for r in ran] == ["done", "done"]
    assert ran[0].summary["folder"] == ran[1].summary["folder"]
    assert Counter(ran[0].computed + ran[1].computed) == {"prune": 1, "export": 2, "predict": 2, "bench": 1}
    assert "waiting for" in ran[0].out + ran[1].out
    found = {step: len(keys) for step, keys in artifacts(copied).items()}
    assert found == {"train": 1, "prune": 1, "export": 2, "predict": 2, "bench": 1, "report": 1}
    assert list((copied / "work").iterdir()) == []
    assert list((copied / "failures").glob("*")) == []


def test_two_different_cells_share_their_parent(
    start: Any, tiny: list[str], rapid: list[str], copied: Path, tmp_path: Path
) -> None:
    """One device: the two measurements take turns."""
    both = [
        start("bench.py", *tiny, *rapid, f"compression/quantization={method}", cwd=tmp_path / method, store=copied)
        for method in ("int8_dynamic", "int4_ort")
    ]
    ran = [script.end().ok() for script in both]
    assert Counter(ran[0].computed + ran[1].computed) == {"export": 3, "predict": 3, "bench": 2}
    assert ran[0].summary["fingerprint"] != ran[1].summary["fingerprint"]
