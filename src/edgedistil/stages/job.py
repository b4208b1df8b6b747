"""One Hydra job: validate, plan, make the steps, leave the outcome where the sweep finds it."""

import logging
import sys
import time
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ..config.places import store_root
from ..config.validation import validate
from ..errors import StepError, UserError
from ..reporting.outcomes import CELL_FILE
from ..reporting.references import check as check_references
from ..reporting.roles import check as check_roles
from ..store.files import write_json
from ..store.store import Store
from .chain import Cell, Planner
from .runner import ensure
from .sweep import remove_with_empty_parents

log = logging.getLogger("edgedistil")
# The step whose artifact a stage is asked for.
_GOAL = {"train": ("model",), "compress": ("exported", "compressed"), "bench": ("record",)}


def run_job(stage: str, cfg: DictConfig) -> dict[str, Any]:
    """Run ``stage`` for one composed config and return the outcome, which is also left as ``cell.json``.

    In a multirun nothing is raised: a cell that can't be finished is an outcome (``failed``) like any other.

    Raises:
        UserError: in a single run, when the input is wrong; Hydra's output folder is removed again.
    """
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    multirun = hydra.mode == RunMode.MULTIRUN
    sweep = Path(hydra.sweep.dir).name if multirun else None
    names = {"model": "-", "task": "-"}
    try:
        plain = validate(cfg)
        check_references(plain.get("report", {}).get("references") or [])
        check_roles(plain.get("report", {}).get("roles"))
        store = Store(store_root(plain["store"]["root"]))
        cell = Planner(plain, store, stage, dict(hydra.runtime.choices), sweep, sys.stderr.isatty()).cell()
        names = cell.names
        outcome = _list(stage, cell, store) if plain["plan"] else _make(stage, cell, store, plain, sweep)
    except UserError as error:
        if not multirun:
            logging.shutdown()
            remove_with_empty_parents(folder)
            raise
        log.error("%s", error)
        outcome = {
            "status": "failed",
            "why": str(error),
            "names": names,
            "kind": "user",
            "label": "-",
        }
    outcome |= {
        "stage": stage,
        "overrides": list(hydra.overrides.task),
        "output_dir": str(folder),
        "store": str(store_root(cfg.store.root)),
        "references": list(cfg.get("report", {}).get("references") or []),
        **_roles(cfg),
        **({"frontier": True} if cfg.get("report", {}).get("frontier") else {}),
    }
    write_json(folder / CELL_FILE, outcome)
    return outcome


def _roles(cfg: DictConfig) -> dict[str, Any]:
    roles = cfg.get("report", {}).get("roles")
    found = check_roles(OmegaConf.to_container(roles, resolve=True)) if OmegaConf.is_dict(roles) else {}
    return {"roles": found} if found else {}


def _make(stage: str, cell: Cell, store: Store, plain: dict[str, Any], sweep: str | None) -> dict[str, Any]:
    base: dict[str, Any] = {"names": cell.names, "label": cell.label}
    if cell.impossible:
        log.info("skipped: %s: %s", cell.label, cell.impossible)
        return {**base, "status": "skipped", "why": cell.impossible}
    goal = _goal(stage, cell)
    base |= {"step": goal.name, "fingerprint": goal.fingerprint}
    cached = store.find(goal.name, goal.fingerprint) is not None
    started = time.monotonic()
    try:
        folder = ensure(goal, store)
    except StepError as error:
        log.error("failed: %s: %s", cell.label, error)
        log.debug("%s", error.detail)
        return {**base, "status": "failed", "why": str(error), "kind": "step"}
    _log_runs(goal, store, plain, sweep)
    return {
        **base,
        "status": "done",
        "cached": cached,
        "folder": str(folder),
        "seconds": round(time.monotonic() - started, 2),
    }


def _log_runs(goal: Any, store: Store, plain: dict[str, Any], sweep: str | None) -> None:
    """With ``logger=wandb``: a run for this cell and for each step behind it that has none yet."""
    from ..reporting.wandb_log import log_artifacts, wandb_node

    node = wandb_node(plain["logger"])
    if node:
        found = [store.find(s.name, s.fingerprint) for s in goal.ancestry()]
        log_artifacts([folder for folder in found if folder], node, store.root, sweep)


def _list(stage: str, cell: Cell, store: Store) -> dict[str, Any]:
    """What ``plan=true`` says of a cell: which steps are there, which would be computed."""
    base: dict[str, Any] = {"names": cell.names, "label": cell.label}
    if cell.impossible:
        return {**base, "status": "skipped", "why": cell.impossible}
    goal = _goal(stage, cell)
    steps = [
        {
            "step": s.name,
            "label": s.label,
            "fingerprint": s.fingerprint,
            "cached": store.find(s.name, s.fingerprint) is not None,
        }
        for s in goal.ancestry()
    ]
    return {
        **base,
        "status": "planned",
        "step": goal.name,
        "fingerprint": goal.fingerprint,
        "steps": steps,
        "cached": steps[-1]["cached"],
    }


def _goal(stage: str, cell: Cell) -> Any:
    return next(cell.steps[name] for name in _GOAL[stage] if name in cell.steps)
