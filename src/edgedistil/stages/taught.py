"""Planning a training that a teacher helps: the teacher's own step, its cached logits, and what can't work."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..learning.layer_map import layer_pairs
from ..models import origin as origins
from ..models.kinds import head_of
from ..models.origin import Origin
from ..models.vocabulary import check_same_vocabulary
from .step import Step

if TYPE_CHECKING:
    from .chain import Planner

FINE_TUNING = {"_target_": "edgedistil.learning.fine_tuning.FineTuning"}
_TASK_DISTILLATION = "edgedistil.learning.task_distillation.TaskDistillation"


def locate_teacher(cfg: dict[str, Any], student: Origin, digests: Any) -> Origin | None:
    """The model that ``model@teacher`` names, held against the student and the objective; None when there is none.

    Raises:
        UserError: the objective needs a teacher or has no use for one, the vocabularies differ, layers or heads don't
            fit.
    """
    objective = cfg["objective"] or {}
    if not cfg.get("teacher"):
        if objective.get("_target_") == _TASK_DISTILLATION:
            raise UserError("objective=task_distillation needs a teacher, e.g. model@teacher=distil_minilm")
        return None
    if objective.get("_target_") == FINE_TUNING["_target_"]:
        raise UserError("objective=fine_tuning has no use for model@teacher; add objective=task_distillation")
    if cfg["teacher"]["origin"] == "recipe":
        raise UserError(
            f"model@teacher=recipe ({cfg['teacher']['location']}) teaches masked language modelling; for "
            "objective=task_distillation give model@teacher=folder teacher.location=FOLDER, or a model to be fine-tuned"
        )
    try:
        teacher = origins.locate(cfg["teacher"], digests, head_of(cfg["task"]["kind"]))
    except UserError as error:
        raise UserError(f"the teacher: {error}") from error
    if teacher.bare_onnx:
        raise UserError(f"{teacher.location} is a bare ONNX file, which can't teach: give a Hugging Face folder")
    local = all(o.identity["origin"] != "hub" for o in (student, teacher))
    if local and not student.bare_onnx:
        check_same_vocabulary(Path(teacher.location), Path(student.location))
    _check_layers(objective, student, teacher)
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


def taught_step(planner: "Planner", label: str) -> Step:
    """The student's training with its teacher: a folder that is fine-tuned already, or the same task's fine-tuning."""
    teacher, name = planner.teacher, teacher_name(planner.cfg, planner.choices)
    assert teacher is not None
    task = planner.cfg["task"]["name"]
    if teacher.fine_tuned:
        teaching = planner.adopted(teacher, f"{name} on {task}")
    else:
        teaching = planner.trained(teacher, f"{name} on {task}", FINE_TUNING, {})
    inputs = {"teacher": teaching}
    if _logits_suffice(planner.cfg["objective"]):
        inputs["teacher_logits"] = _logits(planner, teaching, f"{name} on {task}")
    return planner.trained(planner.origin, label, planner.cfg["objective"], inputs)


def teacher_name(cfg: dict[str, Any], choices: dict[str, str]) -> str:
    """What people call the teacher: its folder, or its option."""
    location = str(cfg["teacher"]["location"]).rstrip("/").rsplit("/", 1)[-1]
    return location if cfg["teacher"]["origin"] == "folder" else choices.get("model@teacher") or location


def _logits_suffice(objective: dict[str, Any]) -> bool:
    """Whether the objective says that it looks at the teacher's logits alone, which then need be computed only once:
    nothing random changes the inputs."""
    return all(objective.get(key) == 0 for key in ("hidden_weight", "attention_weight"))


def _logits(planner: "Planner", teaching: Step, label: str) -> Step:
    student, data = planner.origin, planner.data_of("train")
    options: dict[str, Any] = {
        "task": planner.task("limit_train"),
        "data": data.identity,
        # The student's: with equal vocabularies two tokenizers may still cut words differently.
        "tokenizer": _tokenizer_identity(student, planner.store.digests),
        **{k: planner.resolved_trainer()[k] for k in ("accelerator", "precision")},
    }
    if planner.cfg["task"]["limit_train"] is not None:
        # Which texts a limit takes is chance.
        options["seed"] = planner.cfg["seed"]
    runtime = {**planner.common, "location": student.location, "files": data.files}
    return Step("teacher_logits", label, options, {"teacher": teaching}, runtime)


def _tokenizer_identity(origin: Origin, digests: Any) -> dict[str, Any]:
    if origin.identity["origin"] == "hub":
        return {k: origin.identity[k] for k in ("origin", "location", "revision")}
    return {"origin": origin.identity["origin"], "sha256": digests.digest(Path(origin.location) / "tokenizer.json")}
