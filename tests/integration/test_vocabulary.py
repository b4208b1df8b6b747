"""Trimmed vocabularies from the command line: a folder that loads again, measured like any other cell."""

import json
from pathlib import Path
from typing import Any

import pytest

LOADED = """
import sys
from pathlib import Path

import numpy as np
from edgedistil.models.reference import predict, read_reference
from edgedistil.models.shrunken import load_classifier
from transformers import AutoTokenizer

folder = Path(sys.argv[1])
ids, types, expected = read_reference(folder)
assert (predict(load_classifier(folder), ids, types) == expected).all()
tokenizer = AutoTokenizer.from_pretrained(folder)
print('{"pieces": %d}' % len(tokenizer))
"""


@pytest.mark.long
def test_a_pruned_trimmed_and_quantised_cell(
    run: Any, tiny: list[str], rapid: list[str], copied: Path, tmp_path: Path
) -> None:
    chosen = [
        "compression=structured_50", "compression.recovery.steps=4", "compression/vocabulary=trimmed",
        "compression.vocabulary.min_count=40", "compression.vocabulary.positions=64",
        "compression/quantization=int8_dynamic", "measurement.lengths=[16,32]",
    ]  # fmt: skip
    ran = run("bench.py", *tiny, *rapid, *chosen, cwd=tmp_path, store=copied).ok()
    assert ran.computed == ["prune", "recover", "trim", "export", "predict", "export", "predict", "bench"]
    (artifact,) = [json.loads(p.read_text()) for p in copied.glob("artifacts/trim/*/artifact.json")]
    facts = artifact["facts"]
    assert facts["word_pieces"] < facts["word_pieces_before"]
    assert (facts["positions"], facts["positions_before"]) == (64, 64)
    assert facts["held_out"]["new_unknown_tokens"] == 0
    assert facts["held_out"]["tokens"] > facts["held_out"]["tokens_before"]
    (folder,) = copied.glob("artifacts/trim/*")
    assert "vocabulary from 40 on · INT8" in ran.out
    loaded = run("-c", LOADED, str(folder), cwd=tmp_path, store=copied).ok()
    assert loaded.summary["pieces"] == facts["word_pieces"]


def test_positions_are_cut_where_texts_end_and_no_earlier(
    run: Any, tiny: list[str], trained: Any, tmp_path: Path
) -> None:
    chosen = ["compression/vocabulary=trimmed", "compression.vocabulary.positions=32"]
    refused = run("compress.py", *tiny, *chosen, cwd=tmp_path, store=trained.store)
    assert refused.code == 2
    assert "compression.vocabulary.positions=32 is less than task.max_length=64" in refused.err


def test_lengths_beyond_the_kept_positions_are_one_line(
    run: Any, tiny: list[str], rapid: list[str], trained: Any, tmp_path: Path
) -> None:
    chosen = ["compression/vocabulary=trimmed", "task.max_length=24", "compression.vocabulary.positions=24"]
    refused = run("bench.py", *tiny, *rapid, *chosen, cwd=tmp_path, store=trained.store)
    assert refused.code == 2
    assert "measurement.lengths asks for 32 tokens" in refused.err
