"""Labels that are for reporting alone: a test part of the training split in the record, and a poison test."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgedistil.tasks.examples import Examples
from edgedistil.tasks.generated import generate
from edgedistil.tasks.parts import divide

# Two whole chains with a process for each step: minutes of a processor.
pytestmark = pytest.mark.long

SEED, TEST_TEXTS, HELD_OUT = 42, 40, 0.1
# One of the texts that are drawn is there twice.
SET_ASIDE = 41
# Every part of the chain that chooses something: units, fixed ranges of products, word pieces, weights.
CHAIN = [
    "compression=structured_50", "compression.recovery.steps=4", "compression.recovery.batch_size=16",
    "compression/vocabulary=trimmed", "compression/quantization=int8_static",
    "compression.quantization.calibration_sentences=96", "compression.pruning.calibration_sentences=64",
]
SHIPPED = ("model.onnx", "model.onnx.data", "model.safetensors", "structure.json", "tokenizer.json")


def _write(path: Path, rows: dict[str, list[Any]], flipped: set[int]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["sentence", "label"])
        for i, (text, label) in enumerate(zip(rows["sentence"], rows["label"], strict=True)):
            writer.writerow([text, 1 - label if i in flipped else label])
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Overrides by name: ``clean``, and ``poisoned``, where all labels of validation and of the test part are wrong."""
    root = tmp_path_factory.mktemp("data")
    train, validation = (generate(split, "reviews", 200, 80, 1, 0.0) for split in ("train", "validation"))
    examples = Examples([(text,) for text in train["sentence"]], train["label"], ["0", "1"])
    test = set(divide(examples, {"test_texts": TEST_TEXTS, "held_out": HELD_OUT}, SEED).test)
    assert len(test) == SET_ASIDE
    chosen = ["task=files", f"seed={SEED}", f"task.test_texts={TEST_TEXTS}", f"task.held_out={HELD_OUT}"]
    found = {}
    for name, flipped in (("clean", False), ("poisoned", True)):
        own = _write(root / f"{name}_train.csv", train, test if flipped else set())
        asked = _write(root / f"{name}_validation.csv", validation, set(range(80)) if flipped else set())
        found[name] = [*chosen, f"task.train={own}", f"task.validation={asked}"]
    return found


@pytest.fixture(scope="module")
def measured(
    tmp_path_factory: pytest.TempPathFactory,
    run: Callable[..., Any],
    models: dict[str, Path],
    data: dict[str, list[str]],
) -> dict[str, tuple[Path, dict[str, Any]]]:
    """(folder of the compressed model, record) of the same chain on both data."""
    root = tmp_path_factory.mktemp("measured")
    model = ["model.origin=folder", f"model.location={models['distilbert_encoder']}", "model.convert_to=null"]
    loose = ["compression.quantization.max_rms=10", "compression.quantization.min_agreement=0"]
    quick = ["trainer.max_epochs=1", "loader.batch_size=16", "measurement=quality"]
    found = {}
    for name, overrides in data.items():
        command = ["bench.py", *model, *loose, *quick, *CHAIN, *overrides]
        done = run(*command, cwd=root / name, store=root / "store", timeout=900).ok()
        folder = Path(done.summary["folder"])
        made = json.loads((folder / "artifact.json").read_text())["inputs"]["candidate"]
        record = json.loads((folder / "record.json").read_text())
        found[name] = (root / "store" / "artifacts" / made["step"] / made["fingerprint"], record)
    return found


def test_no_choice_reads_labels_that_are_for_reporting(measured: dict[str, tuple[Path, dict[str, Any]]]) -> None:
    clean, poisoned = measured["clean"][0], measured["poisoned"][0]
    assert clean != poisoned
    for name in SHIPPED:
        assert (clean / name).read_bytes() == (poisoned / name).read_bytes(), name


def test_the_poison_reached_every_score(measured: dict[str, tuple[Path, dict[str, Any]]]) -> None:
    clean, poisoned = measured["clean"][1], measured["poisoned"][1]
    for key in ("quality", "test_quality"):
        assert clean[key]["accuracy"] == pytest.approx(1 - poisoned[key]["accuracy"], abs=1e-6), key
        assert clean[key]["against_parent"]["flips"] == poisoned[key]["against_parent"]["flips"], key


def test_a_record_of_quality_alone_holds_both_parts_and_no_times(
    measured: dict[str, tuple[Path, dict[str, Any]]]
) -> None:
    record = measured["clean"][1]
    assert record["quality"]["n"] == 80
    assert record["test_quality"]["n"] == SET_ASIDE
    assert record["test_quality"]["kept_from_training"] is True
    assert record["timed"] is False
    assert not {"latency", "speedup", "cold_start", "memory", "valid"} & set(record)
    assert record["size"]["model_mb"] < record["parent_size"]["model_mb"]
