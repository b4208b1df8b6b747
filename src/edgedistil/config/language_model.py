"""Checks of configs that learn from texts as they are, and of which objective goes with which kind of task."""

from typing import Any

from ..errors import UserError
from .quantization import canonical_quantization, reads_texts

# Our own objectives: what kinds of task each learns, and whether it has a teacher. Objectives of others are
# checked by signature.
_SUPERVISED = ("sequence_classification", "question_answering")
_OBJECTIVES = {
    "edgedistil.learning.fine_tuning.FineTuning": (_SUPERVISED, False),
    "edgedistil.learning.task_distillation.TaskDistillation": (_SUPERVISED, True),
    "edgedistil.learning.pretraining.MaskedLanguageModelling": (("masked_language_modelling",), False),
    "edgedistil.learning.pretraining_distillation.PretrainingDistillation": (("masked_language_modelling",), True),
}
_QUANTIZATION = ("none", "fp16", "int8_dynamic", "int4_ort")
# What of a task says which lines are texts.
LINE_OPTIONS = ("drop_up_to", "unknown_marker")
_USUAL = {
    "sequence_classification": "objective=fine_tuning",
    "question_answering": "objective=fine_tuning or objective=task_distillation",
    "masked_language_modelling": "objective=masked_language_modelling or objective=pretraining_distillation",
}


def check_objective(plain: dict[str, Any]) -> None:
    """Refuse an objective of ours on a task of another kind, a missing teacher and one that nobody listens to.

    Raises:
        UserError: as said.
    """
    _check_masking((plain.get("objective") or {}).get("masking") or {})
    target = (plain.get("objective") or {}).get("_target_", "")
    kinds, taught = _OBJECTIVES.get(target, (None, None))
    task, teacher = plain["task"], plain.get("teacher")
    if kinds is not None and task["kind"] not in kinds:
        raise UserError(
            f"{target.rsplit('.', 1)[-1]} learns a task of kind {' or '.join(kinds)}, but task {task['name']!r} is of "
            f"kind {task['kind']}: use {_USUAL[task['kind']]}"
        )
    if taught and not teacher:
        example = (
            "e.g. model@teacher=distil_minilm (fine-tuned first), or model@teacher=recipe, or model@teacher=folder"
        )
        if kinds != _SUPERVISED:
            example = (
                "a masked language model: model@teacher=recipe teacher.location=EXPERIMENT, or model@teacher=folder "
                "teacher.location=FOLDER"
            )
        raise UserError(f"this objective needs a teacher, {example}")
    if teacher and taught is False:
        better = "task_distillation" if kinds == _SUPERVISED else "pretraining_distillation"
        raise UserError(f"this objective has no use for model@teacher; add objective={better}")


def check_augmentation(plain: dict[str, Any]) -> None:
    """Refuse augmented texts where there is nothing to do with them, and options that the method does not read.

    Raises:
        UserError: as said.
    """
    augmentation, task = plain["augmentation"], plain["task"]
    method, model = augmentation["method"], augmentation["model"]
    if method == "none":
        return
    if task["kind"] != "sequence_classification":
        raise UserError(
            f"augmentation={method} makes labelled texts for sequence_classification, but task {task['name']!r} is of "
            f"kind {task['kind']}: use augmentation=none"
        )
    if method == "mask_and_refill" and not model:
        raise UserError(
            "augmentation=mask_and_refill needs a masked language model: model@augmentation.model=folder "
            "augmentation.model.location=FOLDER, or model@augmentation.model=recipe "
            "augmentation.model.location=EXPERIMENT"
        )
    if model and model["layers"] is not None:
        raise UserError(f"augmentation.model.layers={model['layers']}: augmentation takes a model as it is, whole")


def _check_masking(masking: dict[str, Any]) -> None:
    shares = {key: masking[key] for key in ("masked", "kept", "swapped") if key in masking}
    if len(shares) == 3 and (abs(sum(shares.values()) - 1) > 1e-9 or min(shares.values()) < 0):
        given = ", ".join(f"objective.masking.{key}={value:g}" for key, value in shares.items())
        raise UserError(f"{given}: these shares of the targets must be at least 0 and sum to 1")
    probability = masking.get("probability", 0.15)
    if not 0 < probability <= 1:
        raise UserError(f"objective.masking.probability={probability:g} must be above 0 and at most 1")


def check_language_model(plain: dict[str, Any]) -> None:
    """Refuse what a task of plain texts can't have.

    Raises:
        UserError: a compression that needs labels, a model cut by layers, training texts without held-out ones, more
            than one text column, a student deeper than its list of layers.
    """
    task = plain["task"]
    _check_compression(plain)
    if bool(task["train"]) != bool(task["validation"]):
        raise UserError("give both task.train=FILE_OR_FOLDER and task.validation=FILE_OR_FOLDER")
    if len(task["text_columns"] or ["text"]) != 1:
        raise UserError(f"task.text_columns={task['text_columns']}: texts to be learnt from are one column")
    if plain["model"]["layers"] is not None:
        raise UserError(
            f"model.layers={plain['model']['layers']} has no effect on task {task['name']!r}: to cut layers out of a "
            "teacher use objective=pretraining_distillation model@teacher=... student.layers=[...]"
        )
    student = plain.get("student") or {}
    layers, depth = student.get("layers"), student.get("depth")
    if layers is not None and not layers:
        raise UserError("student.layers is empty; example: student.layers=[0,2,4,7,9,11]")
    if layers and depth is not None and depth != len(layers):
        raise UserError(f"student.depth={depth} but student.layers names {len(layers)}: leave one of them out")


def _check_compression(plain: dict[str, Any]) -> None:
    compression, name = plain.get("compression"), plain["task"]["name"]
    if not compression:
        return
    for group in ("recovery", "vocabulary", "embeddings", "qat"):
        if compression[group]["method"] != "none":
            raise UserError(
                f"compression.{group}.method={compression[group]['method']} learns from or counts the texts of a task "
                f"with labels, and {name!r} is masked language modelling: use compression/{group}=none"
            )
    quantization, pruning = compression["quantization"], compression["pruning"]
    if quantization["method"] not in _QUANTIZATION or reads_texts(canonical_quantization(quantization)):
        raise UserError(
            f"compression.quantization.method={quantization['method']} as asked for here looks at texts with labels or "
            f"has no file; of masked language models: {', '.join(_QUANTIZATION)}, without smooth, max_drop, sensitivity"
        )
    once = pruning["budget"] == "ratio" and pruning["steps"] == 1 and not pruning["labels"]
    if not once:
        raise UserError(
            "of masked language models compression.pruning cuts at once, by ratio and without labels: use "
            "compression/pruning=structured compression.pruning.ratio=..."
        )
    if plain["task"]["test_texts"]:
        raise UserError(f"task.test_texts={plain['task']['test_texts']}: texts without labels have no test part")
