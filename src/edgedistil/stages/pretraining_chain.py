"""The steps of a run that learns from texts as they are: two corpora, the teacher if there is one, the model."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..models.layer_choice import choose_layers
from ..models.vocabulary import check_same_vocabulary
from ..tasks.texts import locate
from .base import Base, locate_base
from .step import Step
from .trainer_options import compilation, split_trainer

if TYPE_CHECKING:
    from .chain import Planner


def pretraining_steps(plan: "Planner", names: dict[str, str]) -> dict[str, Step]:
    """``model``, the step whose folder a user asked for; everything else hangs on its inputs.

    Raises:
        UserError: no texts, a teacher without a masked-language-modelling head, layers that it does not have, another
            vocabulary.
    """
    cfg, runtime = plan.cfg, dict(plan.common)
    inputs = {"train": _corpus(plan, "train"), "held_out": _corpus(plan, "validation")}
    trainer, runtime["trainer"] = split_trainer(cfg["trainer"])
    options: dict[str, Any] = {
        "trainer": trainer,
        **compilation(cfg),
        **{k: cfg[k] for k in ("objective", "optimizer", "scheduler", "callbacks", "loader", "seed")},
    }
    from_model = True
    if cfg.get("teacher"):
        from_model = cfg["student"]["init"] == "model"
        teacher = locate_base(plan, "teacher") if from_model else plan.base
        _check_teacher(teacher)
        if from_model:
            _check_vocabularies(teacher, plan.base)
        options |= {"teacher": teacher.origin.identity, "student": _canonical(cfg["student"], teacher.origin.layers)}
        inputs |= teacher.inputs("teacher")
        runtime["teacher"] = teacher.origin.location
    if from_model:
        options["model"] = plan.origin.identity
        inputs |= plan.base.inputs("base")
        runtime["location"] = plan.origin.location
    return {"model": Step("pretrain", " on ".join(names.values()), options, inputs, runtime)}


def depth_of(plan: "Planner") -> int | None:
    """Layers of the model that comes out, where that can be told before anything runs."""
    student = plan.cfg.get("student") or {}
    if not plan.masked_lm or not plan.cfg.get("teacher") or student["init"] == "model":
        return plan.origin.layers
    shape: dict[str, Any] = student["architecture"] or {}
    if student["init"] == "random" and "n_layers" in shape:
        return int(shape["n_layers"])
    if student["layers"] or student["depth"]:
        return len(student["layers"] or []) or int(student["depth"])
    return max(1, plan.origin.layers // 2) if plan.origin.layers else None


def _corpus(plan: "Planner", split: str) -> Step:
    task = plan.cfg["task"]
    source = locate(task, split, plan.store.digests)
    options = {
        "source": source.identity,
        "tokenizer": plan.base.tokenizer,
        "column": (task["text_columns"] or ["text"])[0],
        "limit": task[f"limit_{split}"],
        "rules": {k: task[k] for k in ("max_length", "drop_up_to", "drop_unknown", "unknown_marker")},
    }
    runtime = {**plan.common, "files": source.files, "location": plan.origin.location}
    return Step("corpus", f"{task['name']}, {split} texts", options, runtime=runtime)


def _check_teacher(teacher: Base) -> None:
    if teacher.origin.masked_lm is False:
        raise UserError(
            f"the teacher {teacher.name} has no masked-language-modelling head: train one with "
            "objective=masked_language_modelling and give its folder (model@teacher=folder teacher.location=FOLDER), "
            "or let a recipe do it (model@teacher=recipe teacher.location=wikitext2_teacher)"
        )


def _check_vocabularies(teacher: Base, student: Base) -> None:
    files = [Path(base.origin.location) for base in (teacher, student)]
    if teacher.tokenizer != student.tokenizer and all((f / "tokenizer.json").is_file() for f in files):
        check_same_vocabulary(files[0], files[1])


def _canonical(student: dict[str, Any], teacher_layers: int | None) -> dict[str, Any]:
    """The student without what does not apply; its layers by number where the teacher's depth is known."""
    if student["init"] == "model":
        return {"init": "model"}
    result = dict(student)
    if student["init"] == "random":
        result["vocab_transform"] = False
    elif teacher_layers is not None:
        result |= {"layers": choose_layers(student, teacher_layers), "depth": None}
    return result
