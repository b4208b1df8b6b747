"""A student of one layer learns from its own parent, by cached logits and by layers, and from a folder."""

from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

STUDENT = ["objective=task_distillation", "model.layers=[1]"]


def teacher(folder: Path) -> list[str]:
    return ["model@teacher=folder", f"teacher.location={folder}"]


def test_distilled_from_the_trained_parent(
    run: Any, tiny: list[str], models: dict[str, Path], copied: Path, tmp_path: Path
) -> None:
    command = ["train.py", *tiny, *STUDENT, *teacher(models["distilbert_encoder"]), "trainer.log_every_n_steps=3"]
    ran = run(*command, cwd=tmp_path / "first", store=copied).ok()
    # The teacher is the fine-tuning that the store holds already.
    assert ran.computed == ["teacher_logits", "train"]
    facts = ran.summary["facts"]
    assert facts["teacher"]["validation"]["n"] == facts["validation"]["n"] == 80
    ratio = facts["validation"]["accuracy"] / facts["teacher"]["validation"]["accuracy"]
    assert abs(facts["teacher"]["retention"] - ratio) < 1e-5
    assert facts["teacher"]["retention_ci95_low"] <= ratio <= facts["teacher"]["retention_ci95_high"]
    logits = load_file(next(copied.glob("artifacts/teacher_logits/*/teacher_logits.safetensors")))["logits"]
    assert logits.shape == (200, 2)
    folder = Path(ran.summary["folder"])
    header = (next(folder.glob("logs/run_0/metrics.csv"))).read_text().splitlines()[0].split(",")
    assert {"train/soft_target_loss", "train/hard_label_loss", "train/loss"} <= set(header)

    matched = [*command, "objective.hidden_weight=1.0", "objective.attention_weight=1.0"]
    ran = run(*matched, cwd=tmp_path / "second", store=copied).ok()
    assert ran.computed == ["train"]


@pytest.mark.long
def test_folder_teaches_and_the_student_goes_on_to_a_file(
    run: Any, tiny: list[str], models: dict[str, Path], tmp_path: Path
) -> None:
    command = [*tiny, *STUDENT, *teacher(models["bert"])]
    ran = run("compress.py", *command, cwd=tmp_path / "cwd", store=tmp_path / "store").ok()
    assert ran.computed == ["adopt", "teacher_logits", "train", "export"]


def test_wrong_lists_are_one_line_and_leave_nothing(
    run: Any, tiny: list[str], models: dict[str, Path], tmp_path: Path
) -> None:
    cases = {
        "model.layers=[0,2]": "names layer 2, but the encoder has layers 0 to 1",
        "objective.layer_map=[[1,3]]": "names layer 3 of the teacher",
        "task.labels=[yes,no,maybe]": "the model has 2 classes",
    }
    for wrong, words in cases.items():
        command = ["train.py", *tiny, *STUDENT, *teacher(models["bert"]), wrong]
        ran = run(*command, cwd=tmp_path / "cwd", store=tmp_path / "store")
        lines = [line for line in ran.err.splitlines() if line.startswith("error:")]
        assert (ran.code, len(lines)) == (2, 1), ran.err
        assert words in lines[0]
    assert not list((tmp_path / "store").glob("artifacts/*/*"))
