"""Planning a distillation: whose step is whose, what is cached for whom, and what is refused before anything runs."""

import json
import shutil
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
def conf(tmp_path: Path) -> Path:
    """A copy of ``conf/``, to which tests add experiments of their own."""
    return Path(shutil.copytree(CONF, tmp_path / "conf"))


@pytest.fixture
def plan(tmp_path: Path, conf: Path) -> Iterator[Plan]:
    """``plan(*overrides)``: the step that train.py (or another stage) would make."""
    register()

    def run(*overrides: str, stage: str = "train") -> Step:
        cfg = compose(stage, ["task=reviews", *overrides], return_hydra_config=True)
        choices = dict(cfg.hydra.runtime.choices)
        with open_dict(cfg):
            del cfg.hydra
        planner = Planner(validate(cfg), Store(tmp_path / "store"), stage, choices, None, False)
        return planner.cell().steps["model"]

    with initialize_config_dir(str(conf), version_base="1.3"):
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
    assert set(alone.options) == {"model", "task", "data", "trainer", "objective", "optimizer", "scheduler",
                                  "callbacks", "loader", "seed"}
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
def test_layers_are_matched_with_a_teacher_that_runs_along(
    weight: str, plan: Plan, folders: tuple[Path, Path]
) -> None:
    taught = plan(*model(folders[0]), *model(folders[1], "teacher"), DISTIL, f"objective.{weight}=1.0")
    assert set(taught.inputs) == {"teacher"}


def test_teachers_that_can_not_teach(plan: Plan, folders: tuple[Path, Path], tiny_model: Callable[..., Any],
                                     tiny_folder: Callable[..., Path]) -> None:
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


def experiment(conf: Path, name: str, overrides: dict[str, str], **values: Any) -> None:
    lines = ["# @package _global_", "defaults:", *(f"  - override /{group}: {option}" for group, option in
                                                     overrides.items())]
    lines += [f"{group}: {json.dumps(value)}" for group, value in values.items()]
    (conf / "experiment" / f"{name}.yaml").write_text("\n".join(lines) + "\n")


RECIPE = ["model@teacher=recipe", "teacher.location=mine"]


def test_a_recipe_teaches_what_it_would_make_by_itself(plan: Plan, folders: tuple[Path, Path], conf: Path) -> None:
    student, _ = folders
    experiment(conf, "mine", {"task": "reviews", "model": "folder"}, model={"location": str(student)},
               optimizer={"lr": 0.5}, seed=3)
    taught = plan(*model(student), "model.layers=[0]", DISTIL, *RECIPE, "seed=5", "task.held_out=0.1")
    alone = plan("experiment=mine", "seed=5", "task.held_out=0.1")
    assert taught.inputs["teacher"].fingerprint == alone.fingerprint
    assert taught.inputs["teacher"].options["optimizer"]["lr"] == 0.5
    assert [s.name for s in taught.ancestry()] == ["train", "teacher_logits", "train"]
    assert taught.label == "student layers 0 taught by mine on reviews"
    # A student may teach in its turn.
    experiment(conf, "second", {"task": "reviews", "model": "folder", "model@teacher": "recipe",
                                "objective": "task_distillation"},
               model={"location": str(student), "layers": [0, 2]}, teacher={"location": "mine"})
    chained = plan(*model(student), "model.layers=[0]", DISTIL, RECIPE[0], "teacher.location=second", "seed=5",
                   "task.held_out=0.1")
    assert [s.name for s in chained.ancestry()] == ["train", "teacher_logits", "train", "teacher_logits", "train"]
    assert next(iter(chained.ancestry())).fingerprint == alone.fingerprint


def test_recipes_that_can_not_teach(plan: Plan, folders: tuple[Path, Path], conf: Path,
                                    tiny_model: Callable[..., Any], tiny_folder: Callable[..., Path]) -> None:
    def refusal(*overrides: str) -> str:
        with pytest.raises(UserError) as caught:
            plan(*model(folders[0]), DISTIL, RECIPE[0], *overrides)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    line = refusal("teacher.location=sst2_minilm")
    assert "the recipe 'sst2_minilm' learns task 'sst2' (sequence_classification), but a teacher of 'reviews'" in line
    assert "learns task 'wikitext2' (masked_language_modelling)" in refusal("teacher.location=wikitext2_teacher")
    assert "the teacher: the recipe 'nope' can't be composed" in refusal("teacher.location=nope")
    experiment(conf, "mine", {"task": "reviews", "model": "folder"}, model={"location": str(folders[0])})
    assert "names layer 5 of the teacher" in refusal(RECIPE[1], "objective.layer_map=[[1,5]]")
    experiment(conf, "loop", {"task": "reviews", "model": "folder", "model@teacher": "recipe",
                              "objective": "task_distillation"},
               model={"location": str(folders[0])}, teacher={"location": "loop"})
    assert "recipes need each other: loop → loop" in refusal("teacher.location=loop")
