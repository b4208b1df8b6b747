"""Budgets of structured pruning: what of the options applies to which, how they are named, which can't be."""

from typing import Any

from ..errors import UserError
from .quantization import at_load

# budget: (unit in a cell's name, what one unit of the name is in the option's own measure, example)
_UNITS: dict[str, tuple[str, float, str]] = {
    "parameters": (" M parameters", 1e6, "12e6 (parameters of the whole model)"),
    "gflops": (" GFLOP", 1, "0.2 (10⁹ operations of one text)"),
    "size_mb": (" MB", 1, "10 (MB of the exported model)"),
    "latency_ms": (" ms", 1, "2.5 (milliseconds of one text)"),
}
BUDGETS = ("ratio", *_UNITS)
# Budgets that depend on how long a text is.
_BY_LENGTH = ("gflops", "latency_ms")
_USUAL_TOKENS = 32
_USUAL_SCORE = "FisherImportance"


def check_pruning(pruning: dict[str, Any]) -> None:
    """See that budget, target and steps of a validated ``compression.pruning`` go together.

    Raises:
        UserError: they don't.
    """
    budget, target = pruning["budget"], pruning["target"]
    if pruning["method"] == "none":
        return
    if pruning["method"] == "magnitude" and (budget != "ratio" or pruning["steps"] > 1):
        what = f"compression.pruning.budget={budget}" if budget != "ratio" else f"steps={pruning['steps']}"
        raise UserError(
            f"{what} does not go with magnitude pruning, which removes nothing: use compression/pruning=structured, or "
            "budget=ratio and steps=1"
        )
    if budget == "ratio" and target is not None:
        raise UserError(
            f"compression.pruning.target={target:g} has no unit: say which with compression.pruning.budget="
            f"{'|'.join(_UNITS)}, or give compression.pruning.ratio"
        )
    if budget != "ratio" and target is None:
        raise UserError(
            f"compression.pruning.budget={budget} needs a target, e.g. compression.pruning.target={_UNITS[budget][2]}"
        )


def canonical_pruning(pruning: dict[str, Any]) -> dict[str, Any]:
    """Structured pruning without the options that its budget does not read, nor those of steps that there are not."""
    kept, budget = dict(pruning), pruning.get("budget", "ratio")
    unread = ["budget", "target"] if budget == "ratio" else ["ratio"]
    unread += [] if budget in _BY_LENGTH else ["tokens"]
    unread += [] if budget == "latency_ms" else ["profile_seconds"]
    unread += ["steps", "between"] if pruning.get("steps", 1) == 1 else []
    unread += ["ridge"] if pruning.get("reconstruction") == "none" else []
    for option in unread:
        kept.pop(option, None)
    if "between" in kept and (kept["between"]["method"] == "none" or not kept["between"]["steps"]):
        kept["between"] = {"method": "none"}
    return kept


def removes_nothing(pruning: dict[str, Any]) -> bool:
    """Whether this is the unpruned model under another name."""
    by_share = pruning.get("budget", "ratio") == "ratio"
    return bool(pruning["method"] == "none" or (by_share and pruning["ratio"] == 0))


def pruning_label(pruning: dict[str, Any]) -> str:
    """A person's name for a canonical pruning, e.g. ``structured 50 %`` or ``structured 2.5 ms in 8 steps``."""
    if "target" in pruning:
        unit, scale, _ = _UNITS[pruning["budget"]]
        amount = f"{pruning['target'] / scale:g}{unit}"
    else:
        amount = f"{pruning['ratio'] * 100:g} %"
    if pruning.get("tokens", _USUAL_TOKENS) != _USUAL_TOKENS:
        amount += f" at {pruning['tokens']} tokens"
    steps = f" in {pruning['steps']} steps" if "steps" in pruning else ""
    return f"{pruning['method']} {amount}{steps}{_otherwise(pruning)}"


def _otherwise(pruning: dict[str, Any]) -> str:
    """What a cut does otherwise than ``compression/pruning=structured``."""
    importance = pruning.get("importance") or {}
    score = str(importance.get("_target_", _USUAL_SCORE)).rsplit(".", 1)[-1]
    parts = [score.removesuffix("Importance").lower()] if score != _USUAL_SCORE else []
    parts += ["rearranged"] if importance.get("rearrange") else []
    parts += [] if pruning.get("reconstruction", "least_squares") != "none" else ["not reconstructed"]
    parts += [f"{pruning['rounds']} rounds"] if pruning.get("rounds", 1) > 1 else []
    return f" ({', '.join(parts)})" if parts else ""


def why_budget_impossible(compression: dict[str, Any], engine: str) -> str | None:
    """Why a budget can't be counted for this precision and engine, or None when it can."""
    budget, method = compression["pruning"].get("budget", "ratio"), compression["quantization"]["method"]
    if budget in ("size_mb", "latency_ms") and (at_load(method, engine) or engine != "onnxruntime"):
        return (
            f"compression.pruning.budget={budget} is of ONNX files: it needs device.engine=onnxruntime and a precision "
            "that has one"
        )
    counted = {
        "parameters": ("embeddings",),
        "gflops": ("embeddings",),
        "size_mb": ("embeddings", "exclude", "max_drop"),
        "latency_ms": ("embeddings", "exclude", "max_drop", "smooth"),
    }
    for key in counted.get(budget, ()):
        if key in (compression if key == "embeddings" else compression["quantization"]):
            where = "compression.embeddings" if key == "embeddings" else f"compression.quantization.{key}"
            return (
                f"compression.pruning.budget={budget} does not count what {where} changes after the cut: leave it out, "
                "or use compression.pruning.ratio"
            )
    return None
