"""A student that learns on augmented texts, from the command line; and a recipe that teaches."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

STUDENT = ["objective=task_distillation", "model.layers=[1]"]
OPTIONS = ["augmentation=mask_and_refill", "augmentation.copies=2", "augmentation.candidates=5"]


@pytest.fixture(scope="module")
def language_model(tmp_path_factory: pytest.TempPathFactory, models: dict[str, Path], reviews_tokenizer: Path) -> Path:
    """A masked language model of random weights that knows the words of the reviews."""
    import torch
    from transformers import AutoConfig, AutoModelForMaskedLM

    folder = tmp_path_factory.mktemp("language_model")
    torch.manual_seed(0)
    AutoModelForMaskedLM.from_config(AutoConfig.from_pretrained(models["bert"])).save_pretrained(folder)
    shutil.copyfile(reviews_tokenizer, folder / "tokenizer.json")
    return folder


def chosen(folder: Path) -> list[str]:
    return ["model@augmentation.model=folder", f"augmentation.model.location={folder}"]


@pytest.mark.long
def test_a_student_learns_on_refilled_texts_that_are_made_once(
    run: Any, tiny: list[str], models: dict[str, Path], language_model: Path, copied: Path, tmp_path: Path
) -> None:
    from edgedistil.tasks.copies import read_copies

    teacher = ["model@teacher=folder", f"teacher.location={models['distilbert_encoder']}"]
    command = ["train.py", *tiny, *STUDENT, *teacher, *OPTIONS, *chosen(language_model)]
    ran = run(*command, cwd=tmp_path / "first", store=copied).ok()
    # The teacher is the plain fine-tuning that the store holds already.
    assert ran.computed == ["augment", "teacher_logits", "train"]
    folder = next(copied.glob("artifacts/augment/*"))
    copies, facts = read_copies(folder), ran.summary["facts"]
    assert 100 < len(copies) <= 380
    assert not list(folder.glob("*.p*kl*"))
    assert facts["augmented_texts"] == len(copies)
    # 5 % of 200 texts are held out.
    assert facts["train_texts"] == 190 + len(copies)
    assert facts["held_out_texts"] == 10
    logits = load_file(next(copied.glob("artifacts/teacher_logits/*/teacher_logits.safetensors")))["logits"]
    assert logits.shape == (200 + len(copies), 2)

    again = run(*command, cwd=tmp_path / "second", store=copied).ok()
    assert (again.computed, again.summary["cached"]) == ([], 1)
    assert again.summary["fingerprint"] == ran.summary["fingerprint"]
    labels = run("train.py", *tiny, *OPTIONS, *chosen(language_model), cwd=tmp_path / "third", store=copied).ok()
    assert labels.computed == ["train"]
    assert labels.summary["facts"]["augmented_texts"] == len(copies)


@pytest.mark.long
def test_neighbours_and_a_recipe_as_teacher(
    run: Any, tiny: list[str], models: dict[str, Path], copied: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "own" / "experiment" / "mine.yaml"
    recipe.parent.mkdir(parents=True)
    recipe.write_text(
        "# @package _global_\ndefaults:\n  - override /task: reviews\n  - override /model: folder\n"
        f"model:\n  location: {models['distilbert_encoder']}\ntrainer:\n  max_epochs: 1\nloader:\n  batch_size: 16\n"
    )
    command = ["train.py", "--config-dir", str(tmp_path / "own"), *tiny, *STUDENT, "model@teacher=recipe",
               "teacher.location=mine", "augmentation=embedding_neighbours", "augmentation.copies=1"]
    ran = run(*command, cwd=tmp_path / "cwd", store=copied).ok()
    # What the recipe makes is the very training that the store holds already.
    assert ran.computed == ["augment", "teacher_logits", "train"]
    assert ran.summary["facts"]["teacher"]["retention"] > 0
    wrong = [c if c != "teacher.location=mine" else "teacher.location=wikitext2_teacher" for c in command]
    refused = run(*wrong, cwd=tmp_path / "cwd", store=copied)
    assert refused.code == 2
    assert "learns task 'wikitext2' (masked_language_modelling)" in refused.err


def test_wrong_options_are_one_line_and_leave_nothing(
    run: Any, tiny: list[str], models: dict[str, Path], language_model: Path, tmp_path: Path
) -> None:
    cases = {
        "augmentation.copies=0": "augmentation.copies=0 is out of range: it must be at least 1",
        "augmentation.probability=1.5": "augmentation.probability=1.5 is out of range",
        "augmentation.candidates=0": "augmentation.candidates=0 is out of range",
        "augmentation.candidates=99999": "no word is its own candidate; choose fewer",
        f"augmentation.model.location={models['distilbert_encoder']}": "has no masked-language-modelling head",
    }
    for wrong, words in cases.items():
        command = ["train.py", *tiny, *OPTIONS, *chosen(language_model), wrong]
        ran = run(*command, cwd=tmp_path / "cwd", store=tmp_path / "store")
        lines = [line for line in ran.err.splitlines() if line.startswith("error:")]
        assert (ran.code, len(lines)) == (2, 1), ran.err
        assert words in lines[0]
    assert not list((tmp_path / "store").glob("artifacts/*/*"))
