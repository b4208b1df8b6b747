"""Planning a distillation: whose step is whose, what is cached for whom, and what is refused before anything runs."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import open_dict

from edgedistil.config.schemas import register
from edgedistil.config.validation import validate
from edgedistil.errors import UserError
from edgedistil.stages.chain import Planner
from edgedistil.stages.step import Step
from edgedistil.store.store import Store

CONF = Path(__file__).resolve().parents[2] / "conf"
Plan = Callable[..., Step]


@pytest.fixture
def plan(tmp_path: Path) -> Iterator[Plan]:
    """``plan(*overrides)``: the step that train.py would make."""
    register()

    def run(*overrides: str) -> Step:
        cfg = compose("train", ["task=reviews", *overrides], return_hydra_config=True)
        choices = dict(cfg.hydra.runtime.choices)
        with open_dict(cfg):
            del cfg.hydra
        planner = Planner(validate(cfg), Store(tmp_path / "store"), "train", choices, None, False)
        return planner.cell().steps["model"]

    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield run


@pytest.fixture
def folders(tiny_model: Callable[..., Any], tiny_folder: Callable[..., Path]) -> tuple[Path, Path]:
    """An encoder to be trained, and a classifier that is fine-tuned already."""
    student = tiny_folder(tiny_model("distilbert", n_layers=4), "student")
    config = json.loads((student / "config.json").read_text())
    (student / "config.json").write_text(json.dumps(config | {"architectures": ["DistilBertModel"]}))
    return student, tiny_folder(tiny_model("bert"), "classifier")


def model(folder: Path, group: str = "model") -> list[str]:
    chosen = "model=folder" if group == "model" else "model@teacher=folder"
    return [chosen, f"{group}.location={folder}"]


DISTIL = "objective=task_distillation"


def test_teacher_is_the_very_fine_tuning_that_one_would_run(plan: Plan, folders: tuple[Path, Path]) -> None:
    student, _ = folders
    alone = plan(*model(student))
    assert alone.inputs == {}
    assert set(alone.options) == {
        "model",
        "task",
        "data",
        "trainer",
        "objective",
        "optimizer",
        "scheduler",
        "callbacks",
        "loader",
        "seed",
    }
    taught = plan(*model(student), *model(student, "teacher"), "model.layers=[0,3]", DISTIL)
    assert taught.inputs["teacher"].fingerprint == alone.fingerprint
    assert [s.name for s in taught.ancestry()] == ["train", "teacher_logits", "train"]
    assert taught.options["model"]["layers"] == [0, 3]
    assert taught.label == "student layers 0,3 taught by student on reviews"


def test_fine_tuned_folder_teaches_as_it_is(plan: Plan, folders: tuple[Path, Path]) -> None:
    student, classifier = folders
    taught = plan(*model(student), *model(classifier, "teacher"), DISTIL)
    assert [s.name for s in taught.ancestry()] == ["adopt", "teacher_logits", "train"]


def test_logits_are_shared_by_students_and_known_by_teacher_texts_and_tokenizer(
    plan: Plan, folders: tuple[Path, Path]
) -> None:
    student, classifier = folders
    base = [*model(student), *model(classifier, "teacher"), DISTIL]

    def logits(*more: str) -> str:
        return plan(*base, *more).inputs["teacher_logits"].fingerprint

    first = logits()
    assert logits("model.layers=[1]", "optimizer.lr=1e-4", "objective.temperature=4", "task.held_out=0.1") == first
    others = [logits("task.max_length=32"), logits("task.generator.train=300"), logits("task.limit_train=50")]
    tokenizer = json.loads((student / "tokenizer.json").read_text())
    (student / "tokenizer.json").write_text(json.dumps(tokenizer, indent=1))
    others.append(logits())
    assert len({first, *others}) == 5


@pytest.mark.parametrize("weight", ["hidden_weight", "attention_weight"])
def test_layers_are_matched_with_a_teacher_that_runs_along(weight: str, plan: Plan, folders: tuple[Path, Path]) -> None:
    taught = plan(*model(folders[0]), *model(folders[1], "teacher"), DISTIL, f"objective.{weight}=1.0")
    assert set(taught.inputs) == {"teacher"}


def test_teachers_that_can_not_teach(
    plan: Plan, folders: tuple[Path, Path], tiny_model: Callable[..., Any], tiny_folder: Callable[..., Path]
) -> None:
    def refusal(*overrides: str) -> str:
        with pytest.raises(UserError) as caught:
            plan(*overrides)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    student, classifier = folders
    ours, theirs = model(student), model(classifier, "teacher")
    assert "needs a teacher, e.g. model@teacher=" in refusal(*ours, DISTIL)
    assert "this objective has no use for model@teacher; add objective=task_distillation" in refusal(*ours, *theirs)
    assert "the teacher: " in refusal(*ours, *model(student / "missing", "teacher"), DISTIL)
    assert "names layer 3 of the teacher, which has layers 1 to 2" in refusal(
        *ours, *theirs, DISTIL, "objective.hidden_weight=1", "objective.layer_map=[[1,3]]"
    )
    assert "=[0, 4] names layer 4, but the encoder has layers 0 to 3" in refusal(*ours, "model.layers=[0,4]")
    wide = tiny_folder(tiny_model("bert", num_attention_heads=2), "two_heads")
    assert "the student has 4 heads a layer and the teacher 2" in refusal(
        *ours, *model(wide, "teacher"), DISTIL, "objective.attention_weight=1"
    )
    tokenizer = json.loads((classifier / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["film"], vocabulary["plot"] = vocabulary["plot"], vocabulary["film"]
    (classifier / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert "teacher and student have different vocabularies" in refusal(*ours, *theirs, DISTIL)
