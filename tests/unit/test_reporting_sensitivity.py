"""The sensitivity report: facts of prune, profile and export steps in a store become tables and a picture."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgedistil.__main__ import main
from edgedistil.errors import UserError
from edgedistil.reporting.sensitivity import found_in, sensitivity_tables

LABEL = "m on sst2: structured 50 % · INT8"


@pytest.fixture
def artifact(tmp_path: Path) -> Callable[..., Path]:
    """``artifact(step, name, facts, inputs, files)``: a finished artifact's folder."""

    def make(
        step: str, name: str, facts: Any, inputs: dict[str, Path] | None = None, files: dict[str, Any] | None = None
    ) -> Path:
        folder = tmp_path / "store" / "artifacts" / step / name
        folder.mkdir(parents=True)
        above = {k: {"step": f.parent.name, "fingerprint": f.name} for k, f in (inputs or {}).items()}
        content = {"step": step, "fingerprint": name, "label": LABEL, "facts": facts, "inputs": above}
        (folder / "artifact.json").write_text(json.dumps(content))
        for file, value in (files or {}).items():
            (folder / file).write_text(json.dumps(value))
        return folder

    return make


def curves(layers: int = 2, steepness: float = 1.0) -> list[dict[str, Any]]:
    found = []
    for layer in range(layers):
        factor = steepness * (layer + 1)
        found.append({"layer": layer, "kind": "heads", "units": [4, 3, 2, 1], "damage": [factor * k for k in range(4)]})
        widths = list(range(64, 0, -16))
        found.append({"layer": layer, "kind": "neurons", "units": widths, "damage": [(64 - n) / 16 for n in widths]})
    return found


def pruned_facts(*layers: tuple[int, int], **more: Any) -> dict[str, Any]:
    kept = [{"heads": heads, "ffn": ffn} for heads, ffn in layers]
    return {"structure": {"head_size": 8, "layers": kept}, **more}


def node(name: str, rms: float, saved: int, became: str = "int8_dynamic") -> dict[str, Any]:
    return {"node": name, "rms_ratio": rms, "kl": rms**2, "flips": 3, "bytes_saved": saved, "precision": became}


NODES = {"judged_texts": 256, "verdict": "1 of 3 in FP32: 0.10 points lost",
         "nodes": [node("layer0.ffn_out", 0.05, 9000, "fp32"), node("table.words", 0.01, 4_000_000)]}
TABLE = {"tokens": 32, "distinct_last": True, "parts": {
    "heads": {"1": 0.1, "4": 0.4}, "neurons": {"16": 0.2, "64": 0.8},
    "last_heads": {"1": 0.05, "4": 0.2}, "last_neurons": {"16": 0.1, "64": 0.4}}}


@pytest.fixture
def exported(artifact: Callable[..., Path]) -> Path:
    """A model cut twice with a device's table, and exported with its nodes judged."""
    config = {"config.json": {"model_type": "distilbert", "dim": 32, "n_heads": 4, "hidden_dim": 64}}
    trained = artifact("train", "t", {}, {}, config)
    profile = artifact("profile", "l", {}, {"model": trained}, {"latency_table.json": TABLE})
    first = artifact("prune", "p1", pruned_facts((3, 48), (4, 64), curves=curves()),
                     {"model": trained, "profile": profile}, config)
    again = pruned_facts((2, 32), (4, 16), curves=curves(steepness=9.0))
    second = artifact("prune", "p2", again, {"model": first}, config)
    return artifact("export", "e", {"sensitivity": NODES}, {"model": second})


def rows_of(table: str) -> list[list[str]]:
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_first_cut_is_judged_and_the_last_one_is_what_was_kept(exported: Path) -> None:
    [found] = found_in(exported, [])
    assert found.label == LABEL
    assert found.structure == [{"heads": 2, "ffn": 32}, {"heads": 4, "ffn": 16}]
    assert found.full == [{"heads": 4, "ffn": 64}] * 2
    head, *parts = rows_of(sensitivity_tables(found).split("\n\n")[1])
    assert head[-2:] == ["ms saved at 32 tokens", "damage / ms"]
    # Layer 0's heads: 2 of 4 gone at a damage of 1 each, 0.1 ms each; one has 8 x (4 x 32 + 3) weights of 4 bytes.
    assert parts[0] == ["0", "heads", "2 of 4", "1", "2", "3", "2", "0.01", "0.200", "10"]
    # Layer 1 is the last one, whose own table is half as slow; nothing of its heads went.
    assert parts[2] == ["1", "heads", "4 of 4", "2", "4", "6", "0", "0.00", "0.000", "-"]
    assert parts[3] == ["1", "neurons", "16 of 64", "1", "2", "3", "3", "0.01", "0.300", "10"]


def test_nodes_are_listed_with_what_they_became(exported: Path) -> None:
    text = sensitivity_tables(found_in(exported, [])[0])
    _, *nodes = rows_of(text.split("\n\n")[3])
    assert nodes == [["layer0.ffn_out", "0.0500", "2.50e-03", "3", "0.009", "fp32"],
                     ["table.words", "0.0100", "1.00e-04", "3", "4.000", "int8_dynamic"]]
    assert text.endswith("1 of 3 in FP32: 0.10 points lost.")
    assert "256 held-out texts" in text


def test_without_a_device_there_are_no_milliseconds(artifact: Callable[..., Path]) -> None:
    bert = {"model_type": "bert", "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64}
    config = {"config.json": bert}
    trained = artifact("train", "t", {}, {}, config)
    cut = artifact("prune", "p", pruned_facts((3, 48), curves=curves(1)), {"model": trained}, config)
    text = sensitivity_tables(found_in(cut, [])[0])
    assert "ms" not in rows_of(text)[0]
    assert rows_of(text)[1] == ["0", "heads", "3 of 4", "1", "2", "3", "1", "0.00"]


def test_a_gradual_cut_is_a_path_of_structures(artifact: Callable[..., Path], tmp_path: Path) -> None:
    config = {"config.json": {"model_type": "distilbert", "dim": 32, "n_heads": 4, "hidden_dim": 64}}
    before = {"structure.json": {"head_size": 8, "layers": [{"heads": 4, "ffn": 64}, {"heads": 3, "ffn": 48}]}}
    trained = artifact("train", "t", {}, {}, config | before)
    path = [
        {"step": 1, "layers": [{"heads": 4, "ffn": 48}, {"heads": 3, "ffn": 32}], "expected_damage": 0.25},
        {"step": 2, "layers": [{"heads": 3, "ffn": 32}, {"heads": 1, "ffn": 16}], "expected_damage": 1.5,
         "held_out": {"answers_changed": 0.0625, "texts": 64}},
    ]
    cut = artifact("prune_gradually", "g", pruned_facts((3, 32), (1, 16), path=path), {"model": trained}, config)
    [found] = found_in(cut, [])
    assert found.full == before["structure.json"]["layers"]
    assert found.structure == path[1]["layers"]
    assert rows_of(sensitivity_tables(found))[1:] == [
        ["1", "4 3", "48 32", "0.25", "-"], ["2", "3 1", "32 16", "1.5", "answers changed 0.0625"]]
    assert main(["sensitivity", str(cut), "--output", str(tmp_path)]) == 0
    assert (tmp_path / "sensitivity.png").stat().st_size > 5000


def test_cells_of_a_sweep_that_share_a_chain_are_one(exported: Path, artifact: Callable[..., Path]) -> None:
    cell = artifact("bench", "b", {}, {"candidate": exported})
    other = artifact("bench", "c", {}, {"candidate": artifact("export", "plain", {})})
    outcomes = [{"status": "done", "folder": str(f)} for f in (cell, exported, other)]
    assert len(found_in(exported, [*outcomes, {"status": "failed"}])) == 1


def test_nothing_to_say_is_said(artifact: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"was looked at part by part: prune with .*sensitivity=true"):
        found_in(artifact("export", "e", {"parity": {}}), [])
    with pytest.raises(UserError, match="neither a run"):
        found_in(tmp_path, [])


def test_the_command_leaves_a_table_and_a_picture(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "report"
    assert main(["sensitivity", str(exported), "--output", str(target)]) == 2
    assert "make it first" in capsys.readouterr().err
    target.mkdir()
    assert main(["sensitivity", str(exported), "--output", str(target)]) == 0
    assert "layer0.ffn_out" in capsys.readouterr().out
    assert (target / "sensitivity.md").read_text().startswith(f"### {LABEL}")
    data = (target / "sensitivity.png").read_bytes()
    width, height = struct.unpack(">II", data[16:24])
    assert width > 1000
    assert height > 600
    assert {p.name for p in exported.iterdir()} == {"artifact.json"}
