"""Planning a training on more texts than the task has: the step that makes them, and from which model."""

from typing import TYPE_CHECKING, Any

from ..errors import UserError
from .base import Base, check_masked_lm, locate_base
from .step import Step

if TYPE_CHECKING:
    from .chain import Planner

# What the texts depend on; the model is added as what it is made of.
_KEYS = ("method", "copies", "probability", "candidates")
# Of a model's identity, what does not change its embedding table.
_UNREAD = {"mask_and_refill": (), "embedding_neighbours": ("layers", "convert_to")}


def augmented_inputs(plan: "Planner") -> dict[str, Step]:
    """``{"augmented": step}`` for the training that reads its texts; nothing without augmentation.

    Raises:
        UserError: the model is none, or has no masked-language-modelling head where one is needed.
    """
    chosen = plan.cfg["augmentation"]
    if chosen["method"] == "none":
        return {}
    model = _model(plan)
    # Validation too: a copy that is one of its texts is dropped.
    data = plan.data_of("train", "validation")
    options: dict[str, Any] = {
        "augmentation": {key: chosen[key] for key in _KEYS},
        "model": {k: v for k, v in model.origin.identity.items() if k not in _UNREAD[chosen["method"]]},
        "tokenizer": model.tokenizer,
        "task": plan.task("held_out", "phrases", "test_texts", "limit_train"),
        "data": data.identity,
        "seed": plan.cfg["seed"],
    }
    runtime = {
        **plan.common,
        "location": model.origin.location,
        "files": data.files,
        # How fast, not what: the texts are the same everywhere.
        "accelerator": plan.resolved_trainer()["accelerator"],
    }
    label = f"{plan.cfg['task']['name']}{augmented_name(plan.cfg)} of {model.name}"
    return {"augmented": Step("augment", label, options, model.inputs("model"), runtime)}


def augmented_name(cfg: dict[str, Any]) -> str:
    """What a name gets that tells augmented from plain: ``" + 4 mask_and_refill"``, or nothing."""
    chosen = cfg["augmentation"]
    return "" if chosen["method"] == "none" else f" + {chosen['copies']} {chosen['method']}"


def _model(plan: "Planner") -> Base:
    chosen = plan.cfg["augmentation"]
    if chosen["model"] is None:
        return plan.base
    try:
        model = locate_base(plan, "augmentation.model")
    except UserError as error:
        raise UserError(f"the model of augmentation: {error}") from error
    if chosen["method"] == "mask_and_refill":
        check_masked_lm(model, "augmentation=mask_and_refill:", "augmentation.model")
    elif model.origin.bare_onnx:
        raise UserError(f"{model.origin.location} is a bare ONNX file; augmentation needs a Hugging Face folder")
    return model
