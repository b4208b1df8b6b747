"""The steps of a masked language model that is made small and measured: its held-out losses are its quality."""

from typing import TYPE_CHECKING, Any

from ..config.pruning import pruning_label
from .compression_chain import precision_here
from .pretraining_chain import pretraining_steps
from .step import Step

if TYPE_CHECKING:
    from .chain import Planner


def language_steps(plan: "Planner", names: dict[str, str]) -> dict[str, Step]:
    """``model`` and, where the stage compresses, ``pruned``, ``compressed``, ``parent``, ``exported`` and for a bench
    ``evaluated`` and ``parent_evaluated``."""
    steps = pretraining_steps(plan, names)
    if plan.compression is None:
        return steps
    trained, label = steps["model"], f"{names['model']} on {names['task']}: "
    model = trained
    pruning, quantization = plan.compression["pruning"], plan.compression["quantization"]
    if pruning["method"] != "none":
        looked_at = {"masking": _masking(plan), "seed": plan.cfg["seed"], "task": {"kind": plan.cfg["task"]["kind"]}}
        options = {"pruning": pruning, **(looked_at if pruning["method"] == "structured" else {})}
        inputs = {"model": trained, "corpus": trained.inputs["train"]}
        model = steps["pruned"] = Step("prune", label + pruning_label(pruning), options, inputs, plan.common)
    steps["compressed"] = model
    steps["parent"] = _exported(plan, trained, trained, {"method": "none"}, label + "dense · FP32")
    steps["exported"] = _exported(plan, model, trained, quantization, label + names["compression"])
    if plan.stage == "bench":
        steps["evaluated"] = _evaluated(plan, steps["exported"], model, trained)
        steps["parent_evaluated"] = _evaluated(plan, steps["parent"], trained, trained)
    return steps


def _exported(plan: "Planner", model: Step, trained: Step, quantization: dict[str, Any], label: str) -> Step:
    assert plan.compression is not None
    options = {"quantization": precision_here(plan, quantization), "graph": plan.compression["graph"]}
    return Step(
        "export_language", label, options, {"model": model, "held_out": trained.inputs["held_out"]}, plan.common
    )


def _evaluated(plan: "Planner", exported: Step, model: Step, trained: Step) -> Step:
    """The three losses of an exported file, by its evaluation graph."""
    objective = plan.cfg["objective"]
    options = {**exported.options, "masking": _masking(plan), "temperature": objective.get("temperature", 2.0)}
    inputs = {"exported": exported, "model": model, **trained.inputs}
    inputs.pop("base", None)
    runtime = dict(plan.common)
    if "teacher" in trained.options:
        options["teacher"] = trained.options["teacher"]
        runtime["teacher"] = trained.runtime["teacher"]
    return Step("evaluate_language", f"losses of {exported.label}", options, inputs, runtime)


def _masking(plan: "Planner") -> dict[str, Any]:
    masking: dict[str, Any] = plan.cfg["objective"]["masking"]
    return masking
