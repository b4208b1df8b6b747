"""What a record says of a cell's answers, and of its parent's beside them."""

from pathlib import Path
from typing import Any

from ..config.question_answering import QUESTION_ANSWERING
from ..measurement.quality import against_parent, agreement, quality
from . import asking

PREDICTIONS_FILE = "predictions.safetensors"


def quality_of(request: dict[str, Any], answers: str, parent: str = "parent_predictions") -> dict[str, Any] | None:
    """Scores of the answers that an input holds, paired with the parent's where they are there; None where there are
    none (random weights, PyTorch's)."""
    options, inputs = request["options"], request["inputs"]
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


def _scored(request: dict[str, Any], answers: str, parent: str) -> dict[str, Any]:
    from safetensors.numpy import load_file

    inputs = request["inputs"]
    own = load_file(Path(inputs[answers]) / PREDICTIONS_FILE)
    sentences, metrics = own.get("sentences"), request["options"]["task"]["metrics"]
    result = quality(own["logits"], own["labels"], metrics, sentences)
    if parent in inputs:
        dense = load_file(Path(inputs[parent]) / PREDICTIONS_FILE)
        result["against_parent"] = against_parent(own["logits"], dense["logits"], own["labels"], metrics, sentences)
    if answers == "predictions" and "host_predictions" in inputs:
        here = load_file(Path(inputs["host_predictions"]) / PREDICTIONS_FILE)
        result["against_host"] = agreement(own["logits"], here["logits"], own["labels"], request["options"]["host_isa"])
    return result
