"""SQuAD with the embedded encoder: every real answer is found again in its windows, and a few steps of learning.

``EDGEDISTIL_DATA`` holds ``squad/train*.parquet`` and ``squad/validation.parquet``; ``make embedded-model`` has run.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedistil.config.places import embedded_model_folder
from edgedistil.tasks.encode import load_tokenizer
from edgedistil.tasks.questions import Questions, load_questions
from edgedistil.tasks.source import Source
from edgedistil.tasks.span_answers import answers
from edgedistil.tasks.span_metrics import span_scores
from edgedistil.tasks.windows import Window, windows

pytestmark = [
    pytest.mark.real, pytest.mark.timeout(1800),
    pytest.mark.skipif(not os.environ.get("EDGEDISTIL_DATA"), reason="EDGEDISTIL_DATA is not set"),
]  # fmt: skip
REPOSITORY = Path(__file__).resolve().parents[2]
TASK: dict[str, Any] = {
    "name": "squad", "max_length": 384, "stride": 128, "max_question_length": 64, "n_best": 20, "max_answer_length": 30,
    "limit_train": None, "limit_validation": None,
}
SHORT = ["model=distil_minilm", "task=squad", "task.limit_train=64", "task.limit_validation=24", "task.held_out=0.1",
         "loader.batch_size=8", "+trainer.max_steps=4", "trainer.max_epochs=1", "trainer.val_check_interval=4"]


def read(split: str) -> Questions:
    folder = Path(os.environ["EDGEDISTIL_DATA"]) / "squad"
    (file,) = folder.glob(f"{split}*.parquet")
    return load_questions(TASK, Source({}, {split: str(file)}), split, seed=0)


def perfect(part: Window) -> Any:
    """Scores of a model that knows: the answer's ends, and nothing where the window does not hold it."""
    logits = np.zeros((2, len(part)), np.float32)
    logits[0, part.start] = logits[1, part.end] = 1 if part.end else 0
    return logits


@pytest.mark.parametrize(("split", "n"), [("validation", 10570), ("train", None)])
def test_real_answers_are_found_again(split: str, n: int | None) -> None:
    questions = read(split)
    assert n is None or len(questions) == n
    parts = windows(load_tokenizer(embedded_model_folder(), 384), questions, TASK, offsets=True)
    assert max(len(p) for p in parts) == 384
    assert 1.0 < len(parts) / len(questions) < 1.1
    found = answers(questions, parts, [perfect(p) for p in parts], TASK | {"max_answer_length": 384})
    scores = span_scores([a.text for a in found], questions.answers)
    # Left: answers that are a part of a token ("6" of "6th").
    assert scores["exact_match"].mean() > 0.99
    assert scores["f1"].mean() > 0.99


def test_a_few_steps_end_in_a_model_that_exports(tmp_path: Path) -> None:
    environment = {**os.environ, "EDGEDISTIL_STORE": str(tmp_path / "store"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, str(REPOSITORY / "compress.py"), *SHORT, "compression=none"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stdout + done.stderr
    facts = json.loads(done.stdout.strip().splitlines()[-1])["facts"]
    assert facts["parity"]["max_abs_difference"] <= 1e-4
    trained = json.loads(next(tmp_path.glob("store/artifacts/train/*/artifact.json")).read_text())["facts"]
    assert (trained["steps"], trained["validation"]["n"]) == (4, 24)
    assert trained["train_questions"] + trained["held_out_questions"] == 64
