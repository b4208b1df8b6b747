"""Planning a training that a teacher helps: the teacher's own step, its cached logits, and what can't work."""

from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..learning.layer_map import layer_pairs
from ..models.origin import Origin
from .base import Base, check_vocabularies, locate_base
from .step import Step

if TYPE_CHECKING:
    from .chain import Planner

FINE_TUNING = {"_target_": "edgedistil.learning.fine_tuning.FineTuning"}


def locate_teacher(planner: "Planner") -> Base | None:
    """The model or recipe that ``model@teacher`` names, held against the student; None when there is none.

    Raises:
        UserError: a recipe of another task, a bare ONNX file, other vocabularies, layers or heads that don't fit.
    """
    cfg, student = planner.cfg, planner.base
    if not cfg.get("teacher"):
        return None
    try:
        teacher = locate_base(planner, "teacher", same_task=True)
    except UserError as error:
        raise UserError(f"the teacher: {error}") from error
    if teacher.origin.bare_onnx:
        raise UserError(f"{teacher.origin.location} is a bare ONNX file, which can't teach: give a Hugging Face folder")
    if not student.origin.bare_onnx:
        check_vocabularies(teacher, student)
    _check_layers(cfg["objective"] or {}, student.origin, teacher.origin)
    return teacher


def _check_layers(objective: dict[str, Any], student: Origin, teacher: Origin) -> None:
    """What the module says too, but before a teacher is trained."""
    if student.layers is not None and teacher.layers is not None:
        layer_pairs(objective.get("layer_map"), student.layers, teacher.layers)
    known = student.heads is not None and teacher.heads is not None
    if objective.get("attention_weight") and known and student.heads != teacher.heads:
        raise UserError(
            f"objective.attention_weight={objective['attention_weight']:g} compares attention head by head, but the "
            f"student has {student.heads} heads a layer and the teacher {teacher.heads}; use "
            "objective.attention_weight=0"
        )


def taught_step(planner: "Planner", label: str, inputs: dict[str, Step]) -> Step:
    """The student's training with its teacher: a recipe's outcome, a folder that is fine-tuned already, or the same
    task's fine-tuning.

    Args:
        inputs: what else the training reads: ``augmented``, if texts are added.
    """
    teacher = planner.teacher
    assert teacher is not None
    teachers_label = f"{teacher.name} on {planner.cfg['task']['name']}"
    if teacher.step is not None:
        teaching = teacher.step
    elif teacher.origin.fine_tuned:
        teaching = planner.adopted(teacher.origin, teachers_label)
    else:
        teaching = planner.trained(teacher.origin, teachers_label, FINE_TUNING, {})
    given = {"teacher": teaching}
    if _logits_suffice(planner.cfg["objective"]):
        given["teacher_logits"] = logits_step(planner, {"teacher": teaching, **inputs}, teachers_label)
    return planner.trained(planner.origin, label, planner.cfg["objective"], given | inputs)


def _logits_suffice(objective: dict[str, Any]) -> bool:
    """Whether the objective says that it looks at the teacher's logits alone, which then need be computed only once:
    nothing random changes the inputs."""
    return all(objective.get(key) == 0 for key in ("hidden_weight", "attention_weight"))


def logits_step(planner: "Planner", inputs: dict[str, Step], label: str) -> Step:
    """The step that asks a teacher about all training texts once, for every student of its.

    Args:
        inputs: ``teacher`` and, where texts are added, ``augmented``.
    """
    student, data = planner.base, planner.data_of("train")
    options: dict[str, Any] = {
        "task": planner.task("limit_train"),
        "data": data.identity,
        # The student's: with equal vocabularies two tokenizers may still cut words differently.
        "tokenizer": student.tokenizer,
        **{k: planner.resolved_trainer()[k] for k in ("accelerator", "precision")},
    }
    if planner.cfg["task"]["limit_train"] is not None:
        # Which texts a limit takes is chance.
        options["seed"] = planner.cfg["seed"]
    runtime = {**planner.common, "location": student.origin.location, "files": data.files}
    return Step("teacher_logits", label, options, inputs, runtime)
