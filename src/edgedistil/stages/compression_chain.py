"""The steps that make a trained model small: prune, recover, factorise and trim the embeddings, recover them, train
for the rounding to come, export and quantise, in turn."""

from typing import TYPE_CHECKING, Any

from ..config.canonical import compares_layers, recovered_tables
from ..config.pruning import pruning_label
from ..config.quantization import reads_texts
from ..devices import host
from .augmented import augmented_inputs
from .budgeted import pruning_step
from .step import Step
from .taught import logits_step
from .trainer_options import resolve_trainer

if TYPE_CHECKING:
    from .chain import Planner


def compressed_steps(plan: "Planner", trained: Step, names: dict[str, str]) -> dict[str, Step]:
    """Steps by what they leave: ``pruned``, ``recovered``, ``factorised``, ``trimmed``, ``tables_recovered``,
    ``quantisation_aware`` where asked for, ``compressed`` (the last model folder), ``parent`` (the dense FP32 graph)
    and, unless it is quantised when it is loaded, ``exported``."""
    assert plan.compression is not None
    steps: dict[str, Step] = {}
    model, label = trained, f"{names['model']} on {names['task']}: "
    pruning, recovery = plan.compression["pruning"], plan.compression["recovery"]
    quantization = plan.compression["quantization"]
    data = plan.data_of("train")
    task = plan.task("held_out", "phrases", "test_texts", "limit_train")
    texts = {"task": task, "data": data.identity, "seed": plan.cfg["seed"]}
    runtime = {**plan.common, "files": data.files}
    if pruning["method"] != "none":
        options = {"pruning": pruning, **(texts if pruning["method"] == "structured" else {})}
        if pruning.get("between", {"method": "none"})["method"] != "none":
            options |= {"scheduler": _scheduler(plan, pruning["between"]), "trainer": _trainer(plan)}
        here = precision_here(plan, quantization)
        model = steps["pruned"] = pruning_step(plan, model, label + pruning_label(pruning), options, runtime, here)
    if pruning["method"] != "none" and recovery["method"] != "none":
        how = f"{label}{pruning_label(pruning)} + {_length(recovery)}"
        model = steps["recovered"] = _taught(plan, "recover", model, trained, how, texts)
    if "embeddings" in plan.compression:
        options = {"embeddings": plan.compression["embeddings"], **texts}
        how = f"{label}word table of rank {plan.compression['embeddings']['rank']}"
        model = steps["factorised"] = Step("factorise", how, options, {"model": model}, runtime)
    if "vocabulary" in plan.compression:
        options = {"vocabulary": plan.compression["vocabulary"], **texts}
        model = steps["trimmed"] = Step("trim", f"{label}fewer word pieces", options, {"model": model}, runtime)
    if recovered_tables(plan.compression):
        how = f"{label}other tables + {_length(recovery)}"
        model = steps["tables_recovered"] = _taught(plan, "recover", model, trained, how, texts)
    if "qat" in plan.compression:
        how = f"{label}{quantization['method']} in training, {_length(plan.compression['qat'])}"
        form = {"quantization": _trained_for(plan, quantization)}
        model = steps["quantisation_aware"] = _taught(plan, "qat", model, trained, how, texts | form)
    steps["compressed"] = model
    steps["parent"] = _export(plan, trained, {"method": "none"}, label + "dense · FP32")
    if not plan.load_time():
        read = (texts, runtime) if reads_texts(quantization) else ({}, plan.common)
        dense = {"dense": trained} if "max_drop" in quantization and model is not trained else {}
        steps["exported"] = _export(plan, model, quantization, label + names["compression"], *read, dense)
    return steps


def _taught(plan: "Planner", name: str, model: Step, trained: Step, label: str, options: dict[str, Any]) -> Step:
    """A step in which the dense parent teaches ``model``: its answers are cached, unless its layers are compared."""
    assert plan.compression is not None
    group = "recovery" if name == "recover" else name
    chosen = plan.compression[group]
    added = augmented_inputs(plan) if chosen.get("augmentation") else {}
    inputs = {"model": model, "teacher": trained, **added}
    recut = any(s.name == "trim" and s.options["vocabulary"]["min_count"] > 1 for s in model.ancestry())
    # The parent may run along on word pieces that it would not have chosen: its layers are compared, its answers are
    # taken from its own.
    if recut or not compares_layers(chosen["objective"]):
        inputs["teacher_logits"] = logits_step(plan, {"teacher": trained, **added}, trained.label)
    # Whether it is taught again later is no matter of this training.
    how = {k: v for k, v in chosen.items() if k != "again"}
    options = {group: how, "scheduler": _scheduler(plan, chosen), "trainer": _trainer(plan), **options}
    return Step(name, label, options, inputs, {**plan.common, "files": plan.data_of("train").files})


def _length(chosen: dict[str, Any]) -> str:
    return f"{chosen['epochs']} epochs" if "epochs" in chosen else f"{chosen['steps']} steps"


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
    inputs: dict[str, Step] | None = None,
) -> Step:
    assert plan.compression is not None
    options = {"quantization": precision_here(plan, quantization), "graph": plan.compression["graph"], **(texts or {})}
    return Step("export", label, options, {"model": model, **(inputs or {})}, runtime or plan.common)


def precision_here(plan: "Planner", quantization: dict[str, Any]) -> dict[str, Any]:
    """The precision with the form of its weights decided for the device."""
    if quantization.get("weights") != "auto":
        return quantization
    wanted = plan.cfg.get("device", {}).get("int8_weights", "auto")
    # A file for a phone is exact on every processor, so that it answers there as it did when it was made.
    own = "s8_7bit" if host.saturates_int8() or plan.cfg.get("device", {}).get("kind") == "android" else "s8"
    return {**quantization, "weights": own if wanted == "auto" else wanted}


def _trained_for(plan: "Planner", quantization: dict[str, Any]) -> dict[str, Any]:
    """What of a precision changes its rounding; the gate's bounds do not."""
    rounding = ("method", "embeddings", "weights", "block_size", "accuracy_level")
    return {k: v for k, v in precision_here(plan, quantization).items() if k in rounding}
