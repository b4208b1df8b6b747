"""A LightningModule from outside the repository, by a YAML file and a Python file of the user's own."""

import json
from pathlib import Path
from typing import Any

MODULE = """
import json
import os

from edgedistil.learning.fine_tuning import FineTuning


class Scaled(FineTuning):
    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self._factor = factor

    def loss(self, batch):
        loss, logits = super().loss(batch)
        with open(os.environ["MARKER"], "a") as file:
            said = {"factor": self._factor, "fit": self.trainer.training, "train_mode": self.network.training}
            file.write(json.dumps(said) + "\\n")
        return self._factor * loss, logits
"""


def test_objective_from_outside(run: Any, tiny: list[str], tmp_path: Path, trained: Any, repository: Path) -> None:
    (tmp_path / "own" / "objective").mkdir(parents=True)
    (tmp_path / "own" / "objective" / "mine.yaml").write_text("_target_: my_objectives.Scaled\nfactor: 3.0\n")
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "my_objectives.py").write_text(MODULE)
    marker = tmp_path / "marker.jsonl"
    ran = run(
        "train.py", "--config-dir", str(tmp_path / "own"), *tiny, "objective=mine",
        cwd=tmp_path / "cwd",
        store=tmp_path / "store",
        env={"PYTHONPATH": str(tmp_path / "code"), "MARKER": str(marker)},
    ).ok()  # fmt: skip
    assert ran.computed == ["train"]
    assert ran.summary["fingerprint"] != trained.train.summary["fingerprint"]
    calls = [json.loads(line) for line in marker.read_text().splitlines()]
    assert {c["factor"] for c in calls} == {3.0}
    steps = [c for c in calls if c["fit"]]
    assert len(steps) == ran.summary["facts"]["steps"] == 12
    # Dropout and all else that differs while a network learns, and not while it is scored.
    assert {c["train_mode"] for c in steps} == {True}
    assert not any(c["train_mode"] for c in calls if not c["fit"])
    assert not (repository / "conf" / "objective" / "mine.yaml").exists()


def test_wrong_target_is_one_line(run: Any, tiny: list[str], tmp_path: Path) -> None:
    (tmp_path / "own" / "objective").mkdir(parents=True)
    (tmp_path / "own" / "objective" / "mine.yaml").write_text("_target_: not_there.Scaled\n")
    command = ["--config-dir", str(tmp_path / "own"), *tiny, "objective=mine"]
    ran = run("train.py", *command, cwd=tmp_path / "cwd", store=tmp_path / "store")
    assert ran.code == 2
    lines = [line for line in ran.err.splitlines() if line.strip()]
    assert len(lines) == 1, ran.err
    assert lines[0].startswith("error: objective._target_='not_there.Scaled'")
    assert "No module named 'not_there'" in lines[0]
