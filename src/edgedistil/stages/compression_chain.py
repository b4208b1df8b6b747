"""The steps that make a trained model small: prune, recover, trim the vocabulary, export and quantise, in turn."""

from typing import TYPE_CHECKING, Any

from ..config.pruning import pruning_label
from ..devices import host
from .budgeted import pruning_step
from .step import Step
from .trainer_options import resolve_trainer

if TYPE_CHECKING:
    from .chain import Planner


def compressed_steps(plan: "Planner", trained: Step, names: dict[str, str]) -> dict[str, Step]:
    """Steps by what they leave: ``pruned``, ``recovered``, ``trimmed`` where asked for, ``compressed`` (the last model
    folder), ``parent`` (the dense FP32 graph) and, unless it is quantised when it is loaded, ``exported``."""
    assert plan.compression is not None
    steps: dict[str, Step] = {}
    model, label = trained, f"{names['model']} on {names['task']}: "
    pruning, recovery = plan.compression["pruning"], plan.compression["recovery"]
    quantization = plan.compression["quantization"]
    data = plan.data_of("train")
    texts = {
        "task": plan.task("held_out", "phrases", "test_texts", "limit_train"),
        "data": data.identity,
        "seed": plan.cfg["seed"],
    }
    runtime = {**plan.common, "files": data.files}
    if pruning["method"] != "none":
        options = {"pruning": pruning, **(texts if pruning["method"] == "structured" else {})}
        if "steps" in pruning:
            options |= {"scheduler": _scheduler(plan, pruning["between"]), "trainer": _trainer(plan)}
        here = _precision_here(plan, quantization)
        model = steps["pruned"] = pruning_step(plan, model, label + pruning_label(pruning), options, runtime, here)
    if recovery["method"] != "none":
        options = {"recovery": recovery, "scheduler": _scheduler(plan, recovery), "trainer": _trainer(plan), **texts}
        model = steps["recovered"] = Step(
            "recover",
            f"{label}{pruning_label(pruning)} + {recovery['steps']} steps",
            options,
            {"model": model, "teacher": trained},
            runtime,
        )
    if "vocabulary" in plan.compression:
        options = {"vocabulary": plan.compression["vocabulary"], **texts}
        model = steps["trimmed"] = Step("trim", f"{label}fewer word pieces", options, {"model": model}, runtime)
    steps["compressed"] = model
    steps["parent"] = _export(plan, trained, {"method": "none"}, label + "dense · FP32")
    if not plan.load_time():
        static = (texts, runtime) if quantization["method"] == "int8_static" else ({}, plan.common)
        steps["exported"] = _export(plan, model, quantization, label + names["compression"], *static)
    return steps


def _scheduler(plan: "Planner", training: dict[str, Any]) -> dict[str, Any]:
    """The config's schedule with the warm-up of a recovery, or of the short training between two cuts."""
    scheduler: dict[str, Any] = dict(plan.cfg["scheduler"])
    if "warmup_fraction" in scheduler and "warmup_fraction" in training:
        scheduler["warmup_fraction"] = training["warmup_fraction"]
    return scheduler


def _trainer(plan: "Planner") -> dict[str, Any]:
    chosen = {k: plan.cfg["trainer"].get(k, "auto") for k in ("accelerator", "precision")}
    return resolve_trainer({**chosen, "devices": 1, "gradient_clip_val": 1.0})


def _export(
    plan: "Planner",
    model: Step,
    quantization: dict[str, Any],
    label: str,
    texts: dict[str, Any] | None = None,
    runtime: dict[str, Any] | None = None,
) -> Step:
    assert plan.compression is not None
    options = {"quantization": _precision_here(plan, quantization), "graph": plan.compression["graph"], **(texts or {})}
    return Step("export", label, options, {"model": model}, runtime or plan.common)


def _precision_here(plan: "Planner", quantization: dict[str, Any]) -> dict[str, Any]:
    """The precision with the form of its weights decided for the device."""
    if quantization.get("weights") != "auto":
        return quantization
    wanted = plan.cfg.get("device", {}).get("int8_weights", "auto")
    own = "s8_7bit" if host.saturates_int8() else "s8"
    return {**quantization, "weights": own if wanted == "auto" else wanted}
