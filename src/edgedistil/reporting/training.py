"""Training runs to flat rows: what their artifacts say, and how far each is from the run with nothing removed."""

from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..store.files import read_json
from .glue import glue_score
from .outcomes import shared_overrides
from .roles import role_facts

Row = dict[str, Any]
# The parts of DistilBERT's triple loss in the order of the paper's formula: weight in the objective, measured loss.
_LOSSES = {
    "soft_target_weight": "soft_target_loss",
    "masked_token_weight": "mlm_loss",  # a token of text  # nosec B105
    "cosine_weight": "cosine_loss",
}
# Not a loss: what the student starts from.
START = "teacher_layers"
# Between the overrides in ``run``.
BETWEEN = " · "
# Overrides that change the losses or the start of a student; runs that differ in these alone are compared.
_ABLATED = ("ablation", "student", "student.*", "objective.*_weight")


def training_rows(outcomes: list[dict[str, Any]]) -> list[Row]:
    """One flat row a run, each run once: names, the overrides that make it differ, every figure of its facts.

    ``removed`` is ``""`` for the whole triple loss, else the names of what was left out joined by ``+``
    (``soft_target_loss``, ``mlm_loss``, ``cosine_loss``, ``teacher_layers``), and None where there is no triple loss.
    ``mlm_loss_difference`` is against the run with the same other overrides and seed that nothing was removed from.

    Raises:
        UserError: an artifact is no longer in the store.
    """
    common = shared_overrides(outcomes)
    seen: set[str] = set()
    found = []
    for outcome in outcomes:
        key = outcome.get("fingerprint")
        if key in seen:
            continue
        if key:
            seen.add(key)
        found.append(_row(outcome, common))
    whole: dict[tuple[Any, ...], Row] = {}
    for row in found:
        if row.get("removed") == "":
            whole.setdefault(_likeness(row), row)
    for row in found:
        base = whole.get(_likeness(row)) if whole else None
        if row.get("removed") is not None and base and "validation_mlm_loss" in row and "validation_mlm_loss" in base:
            row["mlm_loss_difference"] = round(row["validation_mlm_loss"] - base["validation_mlm_loss"], 6)
    return found


def _row(outcome: dict[str, Any], common: set[str]) -> Row:
    names = outcome.get("names", {})
    flat: Row = {k: names.get(k) for k in ("model", "task")}
    own = [o for o in outcome.get("overrides", []) if o not in common and option(o) != "seed"]
    flat |= {"run": BETWEEN.join(own), "status": outcome["status"], "why": outcome.get("why")}
    flat |= {"step": outcome.get("step"), "fingerprint": outcome.get("fingerprint")} | role_facts(outcome)
    if outcome["status"] != "done":
        return flat
    file = Path(outcome["folder"]) / "artifact.json"
    if not file.is_file():
        raise UserError(f"the model {outcome['folder']} is no longer in the store; run the sweep again")
    artifact = read_json(file)
    flat |= {"seed": artifact["options"].get("seed"), "removed": removed(artifact["options"])}
    flat |= _figures(artifact["facts"]) | {"folder": outcome["folder"]}
    score = glue_score(flat)
    # With a single metric it is that metric again.
    return flat if score is None or not flat.get("role") else flat | {"glue_score": round(score, 6)}


def removed(options: dict[str, Any]) -> str | None:
    """What of the triple loss a run's options leave out: see :func:`training_rows`."""
    objective = options.get("objective") or {}
    if not set(_LOSSES) <= set(objective):
        return None
    parts = [loss for weight, loss in _LOSSES.items() if not objective[weight]]
    if (options.get("student") or {}).get("init") == "random":
        parts.append(START)
    return "+".join(parts)


def option(override: str) -> str:
    """The name that an override sets: ``seed`` of ``seed=3``."""
    return override.split("=", 1)[0].lstrip("+~")


def _likeness(row: Row) -> tuple[Any, ...]:
    other = [o for o in row["run"].split(BETWEEN) if not any(fnmatch(option(o), p) for p in _ABLATED)]
    return row["model"], row["task"], row.get("seed"), *other


def _figures(facts: dict[str, Any], prefix: str = "") -> Row:
    flat: Row = {}
    for name, value in facts.items():
        if name == "from" and isinstance(value, str):
            # Which split the rows of a sample are of.
            flat[prefix + name] = value
        elif isinstance(value, dict):
            flat |= _figures(value, f"{prefix}{name}_")
        elif isinstance(value, (bool, int, float)):
            flat[f"{prefix}{name}"] = value
    return flat
