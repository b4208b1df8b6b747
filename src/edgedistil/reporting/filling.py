"""The command that fills a cell which a table lacks, from what the runs beside it were told."""

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .glue import WHOLE
from .outcomes import shared_overrides, swept, told
from .roles import role_facts

Outcome = dict[str, Any]
Cell = dict[str, Any]
# What a published row asks of a bench cell, and the option that gives it.
_OPTIONS = {
    "pruning": "compression/pruning",
    "pruning_ratio": "compression.pruning.ratio",
    "quantization": "compression/quantization",
    "recovery": "compression/recovery",
    "kind": "device",
    "model": "model",
    "task": "task",
}

# Of a run, not of what it makes.
_NOT_OF_A_CELL = ("plan", "hydra.mode", "report.references", "report.frontier")

# What an experiment makes a sweep of: each cell has been told its own.
_OF_SWEEPS = "matrix."


def command(outcome: Outcome) -> str:
    """What makes one cell, alone, as a user types it."""
    kept = [
        o for o in outcome.get("overrides", []) if _key(o) not in _NOT_OF_A_CELL and not _key(o).startswith(_OF_SWEEPS)
    ]
    return _typed(outcome, kept)


def filler(outcomes: Sequence[Outcome]) -> Callable[[Cell], str]:
    """``fill(cell)`` says what a missing cell lacks: the command that makes it, or what has to be said first."""

    def fill(cell: Cell) -> str:
        role = cell.get("role")
        roles: dict[str, str] = next((o["roles"] for o in outcomes if o.get("roles")), {})
        if role is not None and role not in roles:
            return f"no model has the role {role} (report.roles.{role}=MODEL)"
        if cell.get("task") == WHOLE:
            return "it needs all nine tasks"
        if cell.get("task") and any("offline=embedded" in o.get("overrides", []) for o in outcomes):
            return "offline=embedded learns generated tasks alone"
        waiting = [o for o in outcomes if o["status"] != "done" and asks_for(o, cell)]
        for outcome in sorted(waiting, key=lambda o: o["status"] == "skipped"):
            why = "" if outcome["status"] == "planned" else f"{outcome['status']}: {outcome.get('why')}; "
            return f"{why}`{command(outcome)}`"
        trained = told(outcomes, "stage", "bench") == "train"
        return f"`{_train(outcomes, cell, roles) if trained else _bench(outcomes, cell, roles)}`"

    return fill


def asks_for(outcome: Outcome, cell: Cell) -> bool:
    """Whether a cell's outcome of a training is of the task and the model that a published row asks for."""
    told = {"task": outcome.get("names", {}).get("task"), **role_facts(outcome)}
    return outcome.get("stage") == "train" and all(told.get(k) == v for k, v in cell.items())


def _train(outcomes: Sequence[Outcome], cell: Cell, roles: dict[str, str]) -> str:
    """As the nearest run: of the same task for another model, else of another task for the same model."""
    task, role = cell.get("task"), str(cell.get("role"))
    if cell.get("taught"):
        teacher = [f"model@teacher={roles['full']}"] if "full" in roles else []
        parts = [f"report.roles.{name}={model}" for name, model in roles.items()]
        chosen = ["experiment=distilbert_squad", f"task={task}", f"model={roles[role]}", *teacher, *parts]
        return _typed({"stage": "train"}, chosen)
    plain = [o for o in outcomes if not role_facts(o).get("taught")] or list(outcomes)
    alike = [o for o in plain if o.get("names", {}).get("task") == task]
    # What runs of other tasks share is about training; what is theirs alone is not.
    near = (alike or [o for o in plain if role_facts(o).get("role") == role] or plain)[0]
    like = [o for o in plain if _experiment(o) == _experiment(near) and role_facts(o) == role_facts(near)]
    shared = set.intersection(*(set(o.get("overrides", [])) for o in like))
    kept = [o for o in near.get("overrides", []) if alike or (o in shared and not _key(o).startswith("task."))]
    dropped = (*_NOT_OF_A_CELL, "model", "task", "seed")
    kept = [o for o in kept if _key(o) not in dropped and not _key(o).startswith(("model.", _OF_SWEEPS))]
    model = [f"model={roles[role]}"] if role in roles else []
    return _typed(near, [*kept, f"task={task}", *model])


def _bench(outcomes: Sequence[Outcome], cell: Cell, roles: dict[str, str]) -> str:
    """What all cells beside it share, and what the row asks for."""
    asked = {_OPTIONS[k]: v for k, v in cell.items() if k in _OPTIONS}
    if asked.get("compression/pruning", "none") == "none":
        asked.pop("compression.pruning.ratio", None)
    if cell.get("role") in roles:
        asked["model"] = roles[cell["role"]]
    if cell.get("head") == "vocabulary":
        asked["compression/graph"] = "vocabulary_head"
    common = shared_overrides(outcomes)
    dropped = {*_NOT_OF_A_CELL, "compression", *asked}
    kept = [
        o
        for o in told(outcomes, "overrides", [])
        if o in common and _key(o) not in dropped and not _key(o).startswith(_OF_SWEEPS)
    ]
    return _typed(outcomes[0], [*kept, *(f"{k}={v}" for k, v in asked.items())])


def _typed(outcome: Outcome, overrides: list[str]) -> str:
    # A sweep's own options would make a cell's command the whole sweep again; an experiment may be one.
    output = outcome.get("output_dir")
    alone = bool(output) and swept(Path(str(output)))
    alone |= any(_key(o) in ("sweep", "experiment") for o in overrides)
    return shlex.join(
        ["python", f"{outcome.get('stage', 'train')}.py", *overrides, *(["hydra.mode=RUN"] if alone else [])]
    )


def _experiment(outcome: Outcome) -> str | None:
    return next((o for o in outcome.get("overrides", []) if _key(o) == "experiment"), None)


def _key(override: str) -> str:
    return override.split("=", 1)[0].lstrip("+~")
