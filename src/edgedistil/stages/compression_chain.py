"""The steps that make a trained model small: prune, recover, trim the vocabulary, export and quantise, in turn."""

from typing import TYPE_CHECKING, Any

from ..config.quantization import reads_texts
from ..devices import host
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
        model = steps["pruned"] = Step("prune", label + _pruning_label(pruning), options, {"model": model}, runtime)
    if recovery["method"] != "none":
        options = {"recovery": recovery, "scheduler": _scheduler(plan), "trainer": _trainer(plan), **texts}
        model = steps["recovered"] = Step(
            "recover",
            f"{label}{_pruning_label(pruning)} + {recovery['steps']} steps",
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
        read = (texts, runtime) if reads_texts(quantization) else ({}, plan.common)
        dense = {"dense": trained} if "max_drop" in quantization and model is not trained else {}
        steps["exported"] = _export(plan, model, quantization, label + names["compression"], *read, dense)
    return steps


def _scheduler(plan: "Planner") -> dict[str, Any]:
    scheduler: dict[str, Any] = dict(plan.cfg["scheduler"])
    if "warmup_fraction" in scheduler:
        assert plan.compression is not None
        scheduler["warmup_fraction"] = plan.compression["recovery"]["warmup_fraction"]
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
    inputs: dict[str, Step] | None = None,
) -> Step:
    if quantization.get("weights") == "auto":
        wanted = plan.cfg.get("device", {}).get("int8_weights", "auto")
        own = "s8_7bit" if host.saturates_int8() else "s8"
        quantization = {**quantization, "weights": own if wanted == "auto" else wanted}
    assert plan.compression is not None
    options = {"quantization": quantization, "graph": plan.compression["graph"], **(texts or {})}
    return Step("export", label, options, {"model": model, **(inputs or {})}, runtime or plan.common)


def _pruning_label(pruning: dict[str, Any]) -> str:
    return f"{pruning['method']} {pruning['ratio'] * 100:g} %"
