"""Pruning within a budget: what its step must know to count (planned here), and the counting (in the child)."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..devices import host
from ..models.shape import shape_of_config, shape_of_folder
from .step import Step

if TYPE_CHECKING:
    from ..compression.costs import Cost
    from ..compression.search import Budget
    from .chain import Planner

# Options of a precision that decide neither time nor bytes.
_GATES = (
    *("max_rms", "min_agreement", "calibration_sentences", "slack", "calibration", "percentile", "smooth"),
    *("sensitivity", "max_drop", "judged_sentences", "exclude"),
)
# What compress.py, which has no device group, takes a latency budget to be of.
_DEVICE = {"kind": "cpu", "engine": "onnxruntime", "threads": 1}


def pruning_step(
    plan: "Planner",
    model: Step,
    label: str,
    options: dict[str, Any],
    runtime: dict[str, Any],
    quantization: dict[str, Any],
) -> Step:
    """The step that cuts ``model``, at once or gradually, with what its budget is counted by.

    Args:
        options: of every pruning.
        quantization: the cell's precision on this device.
    """
    assert plan.compression is not None
    pruning, inputs = options["pruning"], {"model": model}
    budget = pruning.get("budget", "ratio")
    if budget == "size_mb":
        options = options | {"quantization": _bare(quantization)}
    if budget in ("size_mb", "parameters") and "vocabulary" in plan.compression:
        # Tables are trimmed after the cut: the budget is of what ships.
        options = options | {"vocabulary": plan.compression["vocabulary"]}
    if budget == "latency_ms":
        inputs["latency_table"] = profile_step(plan, model, quantization)
    name = "prune_gradually" if "steps" in pruning else "prune"
    return Step(name, label, options, inputs, runtime)


def profile_step(plan: "Planner", model: Step, quantization: dict[str, Any]) -> Step:
    """The latency table of this device for the model's shape at a precision; one for all models of a shape, unless
    the shape can't be told before the model is there."""
    assert plan.compression is not None
    pruning, device = plan.compression["pruning"], plan.cfg.get("device") or _DEVICE
    here = {"host": host.hostname(), **host.cpu_facts()}
    shape, precision = _shape(plan), _bare(quantization)
    if precision["method"] == "int8_static":
        # Which products take static activations is chosen after the cut; all dynamic is the upper bound.
        precision["method"] = "int8_dynamic"
    options = {
        "shape": shape,
        "tokens": pruning["tokens"],
        "ffn_multiple": pruning["ffn_multiple"],
        "seconds": pruning["profile_seconds"],
        "quantization": precision,
        "padding": plan.compression["graph"]["padding"],
        "device": {k: device[k] for k in ("kind", "threads")},
        "host": here,
        "engine": {"engine": device["engine"], "versions": host.versions("onnxruntime", "tokenizers", "numpy")},
    }
    of = f"width {shape['width']}, {shape['layers']} layers" if shape else model.label
    label = f"{of} at {pruning['tokens']} tokens · {precision['method']}"
    runtime = {**plan.common, "threads": None}
    exclusive = f"{device['kind']}-{here['host']}"
    return Step("profile", label, options, {} if shape else {"model": model}, runtime, exclusive=exclusive)


def cost_here(request: dict[str, Any]) -> "Cost":
    """What a pruning step's budget counts, of its input model."""
    from ..compression.costs import cost_of, with_vocabulary
    from ..export.reading import read_model
    from .profile import read_table
    from .trim import pieces_to_keep

    options, source = request["options"], Path(request["inputs"]["model"])
    weights = read_model(source)
    if "vocabulary" in options:
        rows = len(pieces_to_keep(request, options["vocabulary"]))
        weights = with_vocabulary(weights, rows, options["vocabulary"]["positions"])
    table = read_table(Path(request["inputs"]["latency_table"])) if "latency_table" in request["inputs"] else None
    return cost_of(options["pruning"], weights, options.get("quantization"), table)


def budget_here(request: dict[str, Any], cost: "Cost", limit: float | None = None) -> "Budget":
    """A cost as the search takes it.

    Args:
        limit: what the whole model may cost; None takes what the options ask for.
    """
    from ..compression.costs import rounded_up, wanted
    from ..compression.search import Budget

    pruning = request["options"]["pruning"]
    if "target" in pruning:
        option = f"compression.pruning.target={pruning['target']:g} ({cost.unit})"
        nearest = lambda spent: rounded_up(cost.fixed + spent)  # noqa: E731
    else:
        option = f"compression.pruning.ratio={pruning['ratio']:g}"
        # Downwards, so that what the message names can be met.
        nearest = lambda spent: f"{int((1 - spent) * 1000) / 1000:g}"  # noqa: E731
    whole = wanted(pruning) if limit is None else limit
    return Budget(cost, whole - cost.fixed, option, nearest)


def _bare(quantization: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in quantization.items() if k not in _GATES}


def _shape(plan: "Planner") -> dict[str, Any] | None:
    origin = plan.origin
    config, folder = origin.identity.get("architecture"), Path(origin.location)
    # A recipe's location is that of what it starts from, which its student need not look like.
    if origin.identity["origin"] == "recipe" or (config is None and not (folder / "config.json").is_file()):
        return None
    shape = shape_of_folder(folder) if config is None else shape_of_config(config)
    # The task decides the head; how many classes it has moves no clock.
    shape |= {"spans": plan.answers_questions, "classes": 2}
    return shape | ({"layers": origin.layers} if origin.layers else {})
