"""The prune step on a folder: its facts, what it looks at, cutting what was cut before, and its parents' chain."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgedistil.compression.second_order import SecondOrderImportance
from edgedistil.errors import UserError
from edgedistil.models.reference import write_reference
from edgedistil.models.shrunken import load_classifier, structure_of
from edgedistil.stages.compress import prune
from edgedistil.tasks.source import Source

PRUNING = {"method": "structured", "ratio": 0.4, "calibration_sentences": 40, "labels": False, "ffn_multiple": 8,
           "importance": {"_target_": f"{SecondOrderImportance.__module__}.SecondOrderImportance"},
           "reconstruction": "least_squares", "ridge": 1e-3, "rounds": 1}


@pytest.fixture
def source(tiny_folder: Callable[..., Path], sentence_ids: list[list[int]]) -> Path:
    folder = tiny_folder("distilbert", "source")
    write_reference(load_classifier(folder), folder, sentence_ids, [[0] * len(row) for row in sentence_ids], seed=0)
    return folder


@pytest.fixture
def request_of(tmp_path: Path, task_group: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """A prune request on generated sentences; ``poisoned`` turns all labels but two around."""
    def make(folder: Path, name: str, texts: int = 60, poisoned: bool = False, **changes: Any) -> dict[str, Any]:
        words = ["the", "film", "story", "plot", "cast", "is", "was", "very", "good", "bad", "dull", "funny", "fresh",
                 "weak", "superb", "witty"]
        lines = [f"{' '.join(words[(i * k + 3 * k) % 16] for k in range(1, 3 + i % 9))},{(i + poisoned) % 2}"
                 for i in range(texts)]
        file = tmp_path / f"{name}.csv"
        file.write_text("sentence,label\n" + "\n".join(lines) + "\n")
        task = task_group(max_length=32, held_out=0.2, labels=["negative", "positive"])
        data = Source({"files": {"train": "0" * 64}}, {"train": str(file)})
        return {"options": {"pruning": PRUNING | changes, "task": task, "data": data.identity, "seed": 3},
                "inputs": {"model": str(folder)}, "output": str(tmp_path / name), "label": name,
                "runtime": {"files": data.files}}

    return make


def test_facts_of_a_cut(source: Path, request_of: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    facts = prune(request_of(source, "cut"))
    assert json.loads(json.dumps(facts)) == facts
    assert facts["calibration_sentences"] == 40
    assert facts["held_out"]["texts"] == 12
    assert 0 <= facts["held_out"]["agreement"] <= 1
    assert facts["held_out"]["divergence"] > 0
    assert facts["seconds"] > 0
    assert facts["layers"] == structure_of(load_classifier(tmp_path / "cut"))["layers"]
    assert [(c["layer"], c["kind"], c["units"][0]) for c in facts["curves"]] == [
        (0, "heads", 4), (0, "neurons", 64), (1, "heads", 4), (1, "neurons", 64)]
    # The share of the prunable weights that went is the parameters that went.
    assert facts["parameters_before"] - facts["parameters"] == pytest.approx(facts["removed_share"] * 16704)


def test_labels_are_not_looked_at(source: Path, request_of: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    found = [prune(request_of(source, f"cut{p}", poisoned=p)) for p in (False, True)]
    assert found[0]["layers"] == found[1]["layers"]
    assert found[0]["held_out"] == found[1]["held_out"]
    weights = [(tmp_path / f"cut{p}" / "model.safetensors").read_bytes() for p in (False, True)]
    assert weights[0] == weights[1]


def test_cutting_what_was_cut_composes_and_names_its_parents(source: Path, request_of: Callable[..., dict[str, Any]],
                                                             tmp_path: Path) -> None:
    first = prune(request_of(source, "first"))
    second = prune(request_of(tmp_path / "first", "second", ratio=0.3))
    assert second["parameters_before"] == first["parameters"]
    assert 0.3 <= second["removed_share"] < 0.5
    for before, after in zip(first["layers"], second["layers"], strict=True):
        assert after["heads"] <= before["heads"]
        assert after["ffn"] <= before["ffn"]
    digests = [hashlib.sha256((f / "model.safetensors").read_bytes()).hexdigest() for f in (source, tmp_path / "first")]
    assert [(p["sha256"], p["ratio"]) for p in second["parents"]] == [(digests[0], 0.4), (digests[1], 0.3)]
    assert [p["parameters"] for p in second["parents"]] == [first["parameters_before"], first["parameters"]]
    assert load_classifier(tmp_path / "second").config.edgedistil_parents == second["parents"]


def test_too_few_texts_to_look_at(source: Path, request_of: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(UserError, match="has 14 texts to calibrate on, at least 16 are needed"):
        prune(request_of(source, "few", texts=18))


def test_a_ratio_that_cannot_be_met_says_what_can(source: Path, request_of: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(UserError, match=r"compression.pruning.ratio=0.95 can't be met: .* 0.812 is reached"):
        prune(request_of(source, "much", ratio=0.95))
