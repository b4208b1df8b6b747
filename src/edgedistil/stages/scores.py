"""What a record says of a cell's answers, and of its parent's beside them."""

from pathlib import Path
from typing import Any

from ..config.question_answering import QUESTION_ANSWERING
from ..measurement.quality import against_parent, agreement, quality
from ..measurement.regression_quality import regression_against_host, regression_against_parent, regression_quality
from ..tasks.metrics import decided
from . import asking
from .language_quality import language_quality

PREDICTIONS_FILE = "predictions.safetensors"


def quality_of(request: dict[str, Any], answers: str, parent: str = "parent_predictions") -> dict[str, Any] | None:
    """Scores of the answers that an input holds, paired with the parent's where they are there; None where there are
    none (random weights, PyTorch's)."""
    options, inputs = request["options"], request["inputs"]
    if "evaluated" in inputs:
        return language_quality(request, answers)
    if answers not in inputs:
        return None
    sample = {"sample": options["task"]["limit_validation"] is not None}
    if options["task"]["kind"] == QUESTION_ANSWERING:
        return asking.quality(request, answers) | sample
    return _scored(request, answers, parent) | sample


def test_quality_of(request: dict[str, Any]) -> dict[str, Any]:
    """``{"test_quality": scores}`` of the test part (``task.test_texts``), or nothing.

    ``kept_from_training`` is false of a model that was given fine-tuned: what it has seen is not known here.
    """
    if "test_predictions" not in request["inputs"]:
        return {}
    scores = _scored(request, "test_predictions", "test_parent_predictions")
    return {"test_quality": scores | {"kept_from_training": request["options"]["test_kept_from_training"]}}


def more_quality_of(request: dict[str, Any]) -> dict[str, Any]:
    """``{"more_quality": {split: scores}}`` of ``task.more_splits``, or nothing."""
    end = "_predictions"
    names = [k.removesuffix(end) for k in request["inputs"] if k.endswith(f"_parent{end}")]
    splits = [name.removesuffix("_parent") for name in names if name != "test_parent"]
    if not splits:
        return {}
    return {"more_quality": {s: _scored(request, f"{s}{end}", f"{s}_parent{end}") for s in splits}}


def _scored(request: dict[str, Any], answers: str, parent: str) -> dict[str, Any]:
    from safetensors.numpy import load_file

    inputs = request["inputs"]
    own = load_file(Path(inputs[answers]) / PREDICTIONS_FILE)
    if own["labels"].dtype.kind == "f":
        return _scored_numbers(request, own, answers, parent)
    sentences, metrics = own.get("sentences"), request["options"]["task"]["metrics"]
    result = quality(own["logits"], own["labels"], metrics, sentences)
    if parent in inputs:
        dense = load_file(Path(inputs[parent]) / PREDICTIONS_FILE)
        result["against_parent"] = against_parent(own["logits"], dense["logits"], own["labels"], metrics, sentences)
    if answers == "predictions" and "host_predictions" in inputs:
        here = load_file(Path(inputs["host_predictions"]) / PREDICTIONS_FILE)
        result["against_host"] = agreement(own["logits"], here["logits"], own["labels"], request["options"]["host_isa"])
    return result


def _scored_numbers(request: dict[str, Any], own: dict[str, Any], answers: str, parent: str) -> dict[str, Any]:
    """As :func:`_scored`, of a regression. A test part's intervals take its texts as drawn one by one."""
    from safetensors.numpy import load_file

    inputs, options = request["inputs"], request["options"]
    numbers, expected, metrics = decided(own["logits"]), own["labels"], options["task"]["metrics"]
    result = regression_quality(numbers, expected, metrics)

    def others(name: str) -> Any:
        return decided(load_file(Path(inputs[name]) / PREDICTIONS_FILE)["logits"])

    if parent in inputs:
        result["against_parent"] = regression_against_parent(numbers, others(parent), expected, metrics)
    if answers == "predictions" and "host_predictions" in inputs:
        result["against_host"] = regression_against_host(numbers, others("host_predictions"), options["host_isa"])
    return result
