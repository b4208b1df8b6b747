"""A cell that fails or can't exist never stops the others, and says why."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest

IMPOSSIBLE_GATE = "compression.quantization.max_rms=0.000001"


def _rows(ran: Any) -> dict[str, dict[str, str]]:
    with open(ran.summary["results"], newline="") as stream:
        return {r["compression"]: r for r in csv.DictReader(stream)}


@pytest.fixture(scope="module")
def gated(run: Any, tiny: list[str], rapid: list[str], swept: Any, tmp_path_factory: Any) -> tuple[Any, Path]:
    import shutil

    root = tmp_path_factory.mktemp("gated")
    shutil.copytree(swept.store, root / "store")
    overrides = [*tiny, *rapid, IMPOSSIBLE_GATE, "compression/quantization=int4_ort,none"]
    return run("bench.py", "-m", *overrides, cwd=root, store=root / "store"), root / "store"


def test_failed_cell_does_not_stop_the_sweep(gated: Any) -> None:
    ran, _ = gated
    assert ran.code == 1
    assert {k: ran.summary[k] for k in ("cells", "done", "failed")} == {"cells": 2, "done": 1, "failed": 1}
    assert ran.computed == []
    assert "Traceback" not in ran.out + ran.err


def test_gate_gives_its_figures_as_reason(gated: Any) -> None:
    rows = _rows(gated[0])
    assert rows["dense · FP32"]["status"] == "done"
    failed = rows["dense · 4-bit"]
    assert failed["status"] == "failed"
    figures = r"parity gate: int4_ort moves the logits by 0\.\d{3} .*allowed 1e-06.* of 80 answers"
    assert re.search(figures, failed["why"])
    assert "max_rms" in failed["why"]
    assert not failed["accuracy"]
    table = (Path(gated[0].summary["folder"]) / "table.md").read_text()
    assert "failed: export" in table


def test_failure_is_kept_and_publishes_nothing(gated: Any, artifacts: Any, swept: Any) -> None:
    _, store = gated
    assert artifacts(store) == artifacts(swept.store) | {"report": artifacts(store)["report"]}
    notes = [json.loads(p.read_text()) for p in (store / "failures").iterdir()]
    assert len(notes) == 1
    assert notes[0]["step"] == "export"
    assert "parity gate" in notes[0]["message"]
    assert "Traceback" in notes[0]["traceback"]


def test_failed_cell_is_tried_again(gated: Any, run: Any, tiny: list[str], tmp_path: Path) -> None:
    _, store = gated
    again = run("compress.py", *tiny, IMPOSSIBLE_GATE, "compression/quantization=int4_ort", cwd=tmp_path, store=store)
    assert again.code == 1
    assert again.summary["status"] == "failed"
    assert "parity gate" in again.summary["why"]
    assert re.search(r"^parity: ", again.err, re.M), "the export did not run again"


def test_impossible_cell_is_skipped_and_runs_nothing(
    run: Any, tiny: list[str], rapid: list[str], tmp_path: Path, children_noted: Any
) -> None:
    environment, children = children_noted
    store = tmp_path / "store"
    ran = run("bench.py", *tiny, *rapid, "compression/quantization=nf4", cwd=tmp_path, store=store, env=environment)
    assert ran.ok().summary["status"] == "skipped"
    assert "device.engine=torch" in ran.summary["why"]
    assert ran.computed == []
    assert children() == []
    assert list(store.glob("artifacts/[!r]*/*")) == []
    row = _rows(ran)["dense · NF4"]
    assert (row["status"], row["why"]) == ("skipped", ran.summary["why"])
    assert "skipped: nf4" in ran.out


def test_cells_whose_input_is_wrong_stand_beside_good_ones(
    run: Any, tiny: list[str], rapid: list[str], swept: Any, models: dict[str, Path], tmp_path: Path
) -> None:
    sweep = f"model.location={tmp_path / 'nowhere'},{models['distilbert_encoder']}"
    ran = run("bench.py", "-m", *tiny, *rapid, sweep, cwd=tmp_path, store=swept.store)
    # Everything that failed is bad input.
    assert ran.code == 2
    expected = {"cells": 2, "done": 1, "failed": 1, "cached": 1}
    assert {k: ran.summary[k] for k in expected} == expected
    with open(ran.summary["results"], newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [r["status"] for r in rows] == ["failed", "done"]
    assert "neither a folder nor an .onnx file" in rows[0]["why"]


def test_sweep_of_wrong_inputs_only_is_bad_input(run: Any, tiny: list[str], tmp_path: Path) -> None:
    sweep = f"model.location={tmp_path / 'a'},{tmp_path / 'b'}"
    ran = run("bench.py", "-m", *tiny, sweep, cwd=tmp_path, store=tmp_path / "store")
    assert ran.code == 2
    assert ran.summary["failed"] == 2
    assert "Traceback" not in ran.err


def test_plan_with_a_wrong_cell(run: Any, tiny: list[str], models: dict[str, Path], tmp_path: Path) -> None:
    sweep = f"model.location={tmp_path / 'nowhere'},{models['distilbert_encoder']}"
    options = [*tiny, "measurement.lengths=[16]", "plan=true"]
    ran = run("bench.py", "-m", *options, sweep, cwd=tmp_path, store=tmp_path / "store")
    assert "Traceback" not in ran.err
    assert ran.code == 2
    assert (ran.summary["planned"], ran.summary["failed"]) == (1, 1)
    assert "neither a folder" in ran.out


def test_text_longer_than_the_model_knows_says_so(
    run: Any, tiny: list[str], rapid: list[str], swept: Any, tmp_path: Path
) -> None:
    """The tiny model has 64 positions."""
    ran = run("bench.py", *tiny, *rapid, "measurement.lengths=[128]", cwd=tmp_path, store=swept.store)
    assert ran.code in (1, 2)
    said = ran.err if ran.code == 2 else ran.summary["why"]
    assert "measurement.lengths" in said
    assert "64" in said
