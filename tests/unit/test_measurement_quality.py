"""Scores, comparison with the parent, sizes and operations against counts made by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedistil.compression.structured import Kept, cut
from edgedistil.export.reading import read_model
from edgedistil.measurement.flops import graph_flops
from edgedistil.measurement.quality import against_parent, quality
from edgedistil.measurement.size import size_by_part


def logits(answers: list[int], size: float = 1.0) -> Any:
    return np.array([[size, -size] if a == 0 else [-size, size] for a in answers], np.float32)


def test_quality_by_hand() -> None:
    found = quality(logits([1, 1, 0, 0, 1, 0, 1, 0]), np.array([1, 0, 0, 0, 1, 1, 1, 0]), ["accuracy", "f1"])
    # 6 right of 8: TP 3, FP 1, FN 1, TN 3
    assert found == {"accuracy": 0.75, "f1": 0.75, "n": 8, "right": 6, "accuracy_ci95_low": pytest.approx(0.409275),
                     "accuracy_ci95_high": pytest.approx(0.928521)}


def test_against_parent_by_hand() -> None:
    labels = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    parent = [1, 1, 1, 0, 0, 0, 0, 0, 1, 1]
    child = [1, 0, 0, 1, 0, 0, 0, 1, 1, 1]
    # lost: rows 2, 3, 8; gained: row 4; flips: four rows
    found = against_parent(logits(child), logits(parent), labels, ["f1", "accuracy"])
    # F1: 3 true positives, 1 missed, 2 false before; 2, 2 and 3 now.
    assert found == {"accuracy_points": -20.0, "f1_points": -22.2222, "gained": 1, "lost": 3, "mcnemar_p": 0.625,
                     "flips": 4, "max_logit_drift": 2.0}


def test_flips_between_two_wrong_answers_move_no_point() -> None:
    child, parent = np.eye(3, dtype=np.float32)[[1]], np.eye(3, dtype=np.float32)[[2]]
    found = against_parent(child, parent, np.array([0]), ["accuracy"])
    assert (found["flips"], found["gained"], found["lost"], found["accuracy_points"]) == (1, 0, 0, 0.0)


def test_the_parent_itself_differs_in_nothing() -> None:
    answers = logits([0, 1, 1])
    assert against_parent(answers, answers, np.array([0, 0, 1]), ["accuracy"]) == {
        "accuracy_points": 0.0, "gained": 0, "lost": 0, "mcnemar_p": 1.0, "flips": 0, "max_logit_drift": 0.0}


def test_drift_is_seen_where_no_answer_flips() -> None:
    found = against_parent(logits([0, 1], 1.5), logits([0, 1]), np.array([0, 1]), ["accuracy"])
    assert found["max_logit_drift"] == 0.5


def test_phrases_of_one_sentence_widen_the_interval_and_the_test() -> None:
    # Four sentences of five phrases each, alike among themselves.
    sentences = np.repeat(np.arange(4), 5)
    labels, answers = np.ones(20, np.int64), np.repeat([1, 1, 1, 0], 5).tolist()
    alone = quality(logits(answers), labels, ["accuracy"])
    together = quality(logits(answers), labels, ["accuracy"], sentences)
    assert together["sentences"] == 4
    assert (alone["accuracy"], alone["n"]) == (together["accuracy"], together["n"]) == (0.75, 20)
    # As of 3 right sentences of 4: Wilson's interval by hand.
    assert together["accuracy_ci95_low"] == pytest.approx(0.3006, abs=1e-4)
    assert together["accuracy_ci95_high"] == pytest.approx(0.9544, abs=1e-4)
    assert alone["accuracy_ci95_low"] > 0.5
    paired = against_parent(logits(answers), logits([1] * 20), labels, ["accuracy"], sentences)
    assert "mcnemar_p" not in paired
    assert paired["clustered_p"] > 0.2
    assert against_parent(logits(answers), logits([1] * 20), labels, ["accuracy"])["mcnemar_p"] == 0.0625


def test_size_counts_what_the_engine_opens_and_nothing_else(tmp_path: Path) -> None:
    sizes = {"model.onnx": 3_000_000, "model.safetensors": 5_000_000, "tokenizer.json": 700_000, "config.json": 600,
             "structure.json": 400, "reference.safetensors": 9_000_000, "README.md": 100, "artifact.json": 50}
    for name, size in sizes.items():
        (tmp_path / name).write_bytes(b"x" * size)
    assert size_by_part(tmp_path, "onnxruntime") == {
        "model_mb": 3.0, "tokenizer_mb": 0.7, "config_mb": 0.0006, "total_mb": 3.7006}
    assert size_by_part(tmp_path, "torch") == {
        "model_mb": 5.0, "tokenizer_mb": 0.7, "config_mb": 0.001, "total_mb": 5.701}
    (tmp_path / "model.onnx.data").write_bytes(b"x" * 1_000_000)
    assert size_by_part(tmp_path, "onnxruntime")["model_mb"] == 4.0
    (tmp_path / "config.json").unlink()
    assert size_by_part(tmp_path, "onnxruntime")["config_mb"] == 0.0


def by_hand(layers: list[tuple[int, int]], tokens: int, width: int = 32, head: int = 8, classes: int = 2) -> int:
    """Multiply-adds of (inner width, FFN width) layers, times two; the last layer sees one row a head."""
    total = 0
    for inner, ffn in layers[:-1]:
        total += tokens * (3 * width * inner + inner * width + 2 * width * ffn) + 2 * tokens * tokens * inner
    inner, ffn = layers[-1]
    heads = inner // head
    total += width * inner + inner * width + 2 * width * ffn
    total += heads * inner * width + heads * width * tokens + heads * tokens * width + heads * width * inner
    return 2 * (total + width * width + width * classes)


@pytest.mark.parametrize("kind", ["distilbert", "bert"])
@pytest.mark.parametrize("tokens", [1, 16, 64])
def test_operations_of_a_tiny_model_by_hand(kind: str, tokens: int, tiny_folder: Callable[..., Path]) -> None:
    weights = read_model(tiny_folder(kind))
    assert graph_flops(weights, tokens) == by_hand([(32, 64), (32, 64)], tokens)


def test_operations_follow_the_cut(tiny_folder: Callable[..., Path], tiny_model: Callable[..., Any]) -> None:
    model = tiny_model("distilbert")
    cut(model, [Kept([1], list(range(16))), Kept([0, 3], list(range(48)))])
    weights = read_model(tiny_folder(model))
    assert graph_flops(weights, 10) == by_hand([(8, 16), (16, 48)], 10)
