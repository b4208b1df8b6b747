"""Planning with augmented texts: who makes them of what, who shares them, who reads them, and what is refused."""

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
DISTIL = "objective=task_distillation"
NEAR = "augmentation=embedding_neighbours"
REFILL = "augmentation=mask_and_refill"


@pytest.fixture
def plan(tmp_path: Path) -> Iterator[Callable[..., Step]]:
    """``plan(*overrides, stage="train")``: the step that makes the model."""
    register()

    def run(*overrides: str, stage: str = "train") -> Step:
        cfg = compose(stage, ["task=reviews", *overrides], return_hydra_config=True)
        choices = dict(cfg.hydra.runtime.choices)
        with open_dict(cfg):
            del cfg.hydra
        return Planner(validate(cfg), Store(tmp_path / "store"), stage, choices, None, False).cell().steps["model"]

    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield run


@pytest.fixture
def encoder(tiny_model: Callable[..., Any], tiny_folder: Callable[..., Path]) -> Path:
    folder = tiny_folder(tiny_model("distilbert", n_layers=4), "encoder")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["DistilBertModel"]}))
    return folder


@pytest.fixture
def language_model(tiny_model: Callable[..., Any], tiny_folder: Callable[..., Path]) -> Path:
    from transformers import AutoModelForMaskedLM

    return tiny_folder(AutoModelForMaskedLM.from_config(tiny_model("bert").config), "language_model")


def model(folder: Path, group: str = "model") -> list[str]:
    chosen = "model=folder" if group == "model" else f"model@{group}=folder"
    return [chosen, f"{group}.location={folder}"]


def test_one_training_reads_the_texts_and_its_teacher_does_not(plan: Callable[..., Step], encoder: Path) -> None:
    base = [*model(encoder), *model(encoder, "teacher"), DISTIL, "model.layers=[0]"]
    plain, taught = plan(*base), plan(*base, NEAR)
    assert plain.fingerprint == plan(*base, "augmentation=none").fingerprint
    assert [s.name for s in taught.ancestry()] == ["train", "augment", "teacher_logits", "train"]
    assert taught.inputs["teacher"].fingerprint == plain.inputs["teacher"].fingerprint
    made = taught.inputs["augmented"]
    assert taught.inputs["teacher_logits"].inputs["augmented"].fingerprint == made.fingerprint
    assert taught.inputs["teacher_logits"].fingerprint != plain.inputs["teacher_logits"].fingerprint
    assert taught.label == "encoder layers 0 taught by encoder + 4 embedding_neighbours on reviews"
    # Without a teacher the same texts, with their labels.
    assert plan(*model(encoder), NEAR).inputs["augmented"].fingerprint == made.fingerprint
    deep = plan(*base, NEAR, "objective.hidden_weight=1.0")
    assert set(deep.inputs) == {"teacher", "augmented"}


def test_texts_are_known_by_data_model_and_options_alone(plan: Callable[..., Step], encoder: Path) -> None:
    def key(*more: str) -> str:
        return plan(*model(encoder), NEAR, *more).inputs["augmented"].fingerprint

    first = key()
    for same in ("model.layers=[0,2]", "optimizer.lr=1e-4", "loader.batch_size=7", "task.limit_validation=50",
                 "trainer.accelerator=cpu", "store.threads=2"):
        assert key(same) == first, same
    others = [key(other) for other in ("augmentation.copies=5", "augmentation.probability=0.5", "seed=1",
                                       "augmentation.candidates=3", "task.held_out=0.2", "task.limit_train=50",
                                       "task.max_length=32", "task.generator.train=300", "task.phrases=true")]
    tokenizer = json.loads((encoder / "tokenizer.json").read_text())
    (encoder / "tokenizer.json").write_text(json.dumps(tokenizer, indent=1))
    assert len({first, key(), *others}) == 11


def test_the_language_model_is_a_model_like_any_other(
    plan: Callable[..., Step], encoder: Path, language_model: Path
) -> None:
    made = plan(*model(encoder), REFILL, *model(language_model, "augmentation.model")).inputs["augmented"]
    assert made.runtime["location"] == str(language_model)
    assert made.label == "reviews + 4 mask_and_refill of language_model"
    assert made.options["augmentation"] == {"method": "mask_and_refill", "copies": 4, "probability": 0.4,
                                            "candidates": 15}
    paper = plan(*model(encoder), REFILL).inputs["augmented"]
    assert paper.options["model"]["location"] == "google-bert/bert-base-uncased"
    near = plan(*model(encoder), NEAR, *model(language_model, "augmentation.model")).inputs["augmented"]
    assert near.runtime["location"] == str(language_model)


def test_what_can_not_be_augmented_is_one_line(
    plan: Callable[..., Step], encoder: Path, language_model: Path, tiny_folder: Callable[..., Path]
) -> None:
    def refusal(*overrides: str, stage: str = "train") -> str:
        with pytest.raises(UserError) as caught:
            plan(*overrides, stage=stage)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    ours = [*model(encoder), NEAR]
    assert refusal(*ours, "augmentation.copies=0") == "augmentation.copies=0 is out of range: it must be at least 1"
    for wrong in ("-0.1", "1.1"):
        line = refusal(*ours, f"augmentation.probability={wrong}")
        assert line == f"augmentation.probability={wrong} is out of range: it must be at least 0 and at most 1"
    assert "augmentation.candidates=0 is out of range" in refusal(*ours, "augmentation.candidates=0")
    assert "did you mean 'mask_and_refill'?" in refusal(*ours, "augmentation.method=mask_and_refil")
    headless = model(encoder, "augmentation.model")
    assert "augmentation=mask_and_refill: encoder has no masked-language-modelling head" in refusal(
        *model(encoder), REFILL, *headless
    )
    assert "the model of augmentation: " in refusal(
        *model(encoder), REFILL, *model(encoder / "missing", "augmentation.model")
    )
    assert "needs a masked language model" in refusal(*model(encoder), REFILL, "~model@augmentation.model")
    assert "augmentation.model.layers=[0]: " in refusal(
        *model(encoder), REFILL, *model(language_model, "augmentation.model"), "augmentation.model.layers=[0]"
    )
    assert "but task 'texts' is of kind masked_language_modelling: use augmentation=none" in refusal(
        *ours, "task=texts", "task.train=a.txt", "task.validation=b.txt", "objective=masked_language_modelling"
    )
    classifier = model(tiny_folder("bert"))
    assert "augmentation=embedding_neighbours adds texts to a training, but" in refusal(
        *classifier, NEAR, stage="compress"
    )
