"""The shipped recipe of DistilBERT holds the original's numbers, and says where each is from."""

import re
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf, open_dict

from edgedistil.config.recipes import compose_recipe
from edgedistil.config.schemas import register
from edgedistil.config.validation import validate
from edgedistil.errors import UserError

CONF = Path(__file__).resolve().parents[2] / "conf"
TEXTS = ["task.train=a.txt", "task.validation=b.txt"]
# huggingface/transformers-research-projects@fccd0cd:distillation
FACTS = {
    "objective.soft_target_weight": 5.0,
    "objective.masked_token_weight": 2.0,
    "objective.cosine_weight": 1.0,
    "objective.logit_weight": 0.0,
    "objective.temperature": 2.0,
    "objective.masked_only": False,
    "objective.masking.probability": 0.15,
    "objective.masking.smoothing": 0.7,
    "objective.masking.masked": 0.8,
    "objective.masking.kept": 0.1,
    "objective.masking.swapped": 0.1,
    "optimizer._target_": "torch.optim.AdamW",
    "optimizer.lr": 5e-4,
    "optimizer.betas": [0.9, 0.98],
    "optimizer.eps": 1e-6,
    "optimizer.weight_decay": 0.0,
    "scheduler.warmup_fraction": 0.05,
    "trainer.max_epochs": 3,
    "trainer.gradient_clip_val": 5.0,
    "trainer.accumulate_grad_batches": 50,
    "loader.batch_size": 5,
    "loader.group_by_length": True,
    "student.init": "teacher",
    "student.layers": [0, 2, 4, 7, 9, 11],
    "task.max_length": 512,
    "task.drop_up_to": 11,
    "task.drop_unknown": 0.5,
    "teacher.location": "google-bert/bert-base-uncased",
    "seed": 56,
}


@pytest.fixture(autouse=True)
def hydra_conf():
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


def composed(*overrides: str) -> dict[str, Any]:
    return validate(compose("train", list(overrides)))


def test_recipe_holds_the_originals_numbers() -> None:
    cfg = OmegaConf.create(composed("experiment=distilbert", *TEXTS))
    found = {name: OmegaConf.select(cfg, name) for name in FACTS}
    assert {k: OmegaConf.to_container(v) if OmegaConf.is_config(v) else v for k, v in found.items()} == FACTS
    # 4,000 micro-batches of the original are 80 of its optimiser steps.
    assert cfg.callbacks.checkpoint.every_n_train_steps * cfg.trainer.accumulate_grad_batches == 4000


def test_every_number_of_the_recipe_names_its_source() -> None:
    files = ["objective/pretraining_distillation.yaml", "optimizer/distilbert.yaml", "scheduler/distilbert.yaml",
             "trainer/distilbert.yaml", "experiment/distilbert.yaml"]
    ours = ("log_every_n_steps", "max_steps")
    for file in files:
        for line in (CONF / file).read_text().splitlines():
            if re.match(r"\s*\w+: [\[\d]", line) and not line.strip().startswith(ours):
                assert re.search(r"# .*(\.py|README|arXiv|--\w)", line), f"{file}: {line}"


def test_bins_are_four_tokens_wide() -> None:
    from edgedistil.tasks.length_bins import BIN

    assert BIN == 4


def test_a_recipe_takes_seed_task_and_hardware_and_nothing_else() -> None:
    outer = composed("experiment=wikitext2_student", "seed=7", "task.data_dir=D", "trainer.accelerator=cpu",
                     "trainer.max_steps=3", "optimizer.lr=1")
    inner, choices = compose_recipe("wikitext2_teacher", outer)
    assert (inner["seed"], inner["task"], inner["trainer"]["accelerator"]) == (7, outer["task"], "cpu")
    assert inner["trainer"]["max_steps"] == 864
    assert inner["optimizer"]["lr"] == 3e-4
    assert choices["objective"] == "masked_language_modelling"
    labelled, _ = compose_recipe("wikitext2_student", composed("task=sst2"))
    assert labelled["task"]["name"] == "wikitext2"


def test_a_recipe_that_is_not_there_is_one_line() -> None:
    with pytest.raises(UserError, match=r"the recipe 'nope' can't be composed.*conf/experiment/nope\.yaml"):
        compose_recipe("nope", composed())


@pytest.mark.parametrize(("overrides", "needle"), [
    (["objective=pretraining_distillation", "task=texts", *TEXTS], "needs a teacher"),
    (["objective=masked_language_modelling"], "task 'reviews' is of kind sequence_classification"),
    (["task=texts", *TEXTS], "task 'texts' is of kind masked_language_modelling"),
    (["model@teacher=bert_base"], "this objective has no use for model@teacher; add objective=task_distillation"),
    (["objective=masked_language_modelling", "task=texts", "task.train=a.txt"], "give both task.train"),
    (["objective=masked_language_modelling", "task=texts", *TEXTS, "task.text_columns=[a,b]"], "are one column"),
    (["objective=masked_language_modelling", "task=texts", *TEXTS, "model.layers=[0,2]"], "has no effect on task"),
    (["objective=masked_language_modelling", "task=texts", *TEXTS, "student.layers=[]"], "student.layers is empty"),
    (["objective=masked_language_modelling", "task=texts", *TEXTS, "student.layers=[0,1]", "student.depth=3"],
     "student.depth=3 but student.layers names 2"),
    (["objective=masked_language_modelling", "task=texts", *TEXTS, "objective.masking.kept=0.2"], "sum to 1"),
    (["objective=masked_language_modelling", "task=texts", *TEXTS, "objective.masking.probability=0"], "above 0"),
    (["student.init=techer"], "did you mean 'teacher'?"),
    (["model@teacher=bert_base", "teacher.origin=hup"], "did you mean 'hub'?"),
])
def test_contradictions_are_one_line(overrides: list[str], needle: str) -> None:
    with pytest.raises(UserError) as caught:
        composed(*overrides)
    assert needle in str(caught.value)
    assert "\n" not in str(caught.value)


def test_texts_are_compressed_without_what_needs_labels() -> None:
    language_model = ["task=wikitext2", "objective=masked_language_modelling"]
    for more, wrong in (([], None), (["compression=structured_50"], "compression/recovery=none")):
        cfg = compose("compress", [*language_model, *more], return_hydra_config=True)
        with open_dict(cfg):
            del cfg.hydra
        if wrong is None:
            assert validate(cfg)["compression"]["recovery"]["method"] == "none"
        else:
            with pytest.raises(UserError, match=wrong):
                validate(cfg)
