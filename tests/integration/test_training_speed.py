"""Our training loop beside transformers' Trainer, on a tiny model, in the fewest bursts that are a measurement."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from edgedistil.tasks.generated import generate


@pytest.mark.long
@pytest.mark.skipif(find_spec("accelerate") is None, reason="needs accelerate (pip install 'edgedistil[peers]')")
def test_three_loops_train_the_same_texts_side_by_side(run: Any, models: dict[str, Path], tmp_path: Path) -> None:
    made = generate("train", "reviews", 300, 100, 1, 0.0)["sentence"]
    lines = [" ".join(made[i : i + 1 + i % 3]) for i in range(200)]
    (tmp_path / "texts.txt").write_text("\n".join(lines) + "\n")
    command = ["--model", str(models["distilbert_encoder"]), "--texts", str(tmp_path / "texts.txt"), "--output",
               str(tmp_path / "speed.json"), "--batch-size", "8", "--seconds", "0.001", "--generations", "1",
               "--burst", "3", "--max-length", "64"]
    ran = run("-m", "edgedistil", "training-speed", *command, cwd=tmp_path, store=tmp_path / "store").ok()
    rows = [line for line in ran.out.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 3
    record = json.loads((tmp_path / "speed.json").read_text())
    arms = record["arms"]
    assert list(arms) == ["edgedistil", "trainer_longest", "trainer_max_length"]
    for name, arm in arms.items():
        assert (arm["bursts"], arm["steps"]) == (2, 6), name
        assert arm["real_tokens_per_s"] > 0
        assert ("ours_over_this" in arm) == (name != "edgedistil")
        for burst in record["samples"][name]["steps"]:
            assert all(0 < real <= places for real, places in zip(burst["real_tokens"], burst["places"], strict=True))
    # Lengths differ by some tokens within a bin, by dozens in a random batch; and 64 places a text are 64.
    assert arms["edgedistil"]["padding_share"] < arms["trainer_longest"]["padding_share"]
    assert arms["trainer_longest"]["padding_share"] < arms["trainer_max_length"]["padding_share"]
    for burst in record["samples"]["trainer_max_length"]["steps"]:
        assert burst["places"] == [8 * 64] * 3
    assert record["environment"]["versions"]["accelerate"]
    assert record["measurement"]["batch_size"] == 8
    assert not list((tmp_path / "store").glob("artifacts/*"))
