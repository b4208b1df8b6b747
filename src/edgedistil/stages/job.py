"""One Hydra job: validate, plan, make the steps, leave the outcome where the sweep finds it."""

import logging
import os
import shutil
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from .. import credentials
from ..config.overrides import told_overrides
from ..config.places import store_root
from ..config.tracking import wandb_node
from ..config.validation import check_groups, validate
from ..errors import StepError, UserError
from ..reporting.outcomes import CELL_FILE
from ..reporting.references import check as check_references
from ..reporting.roles import check as check_roles
from ..reporting.wandb_session import settle, unharmed
from ..store.files import write_json
from ..store.store import ARTIFACT_FILE, Store
from .begun import begun, steps_of
from .chain import Cell, Planner
from .runner import ensure
from .screen import following
from .sweep import remove_with_empty_parents, sweep_name

log = logging.getLogger("edgedistil")
# Steps that draw a bar of their own, in a terminal and in a run of one cell.
_OWN_BARS = ("pretrain", "train", "recover", "qat", "prune_gradually")
# The step whose artifact a stage is asked for.
_GOAL = {"train": ("model",), "compress": ("exported", "compressed"), "bench": ("record",)}


def run_job(stage: str, cfg: DictConfig) -> dict[str, Any]:
    """Run ``stage`` for one composed config and return the outcome, which is also left as ``cell.json``.

    In a multirun nothing is raised: a cell that can't be finished is an outcome (``failed``) like any other.

    Raises:
        UserError: in a single run, when the input is wrong; Hydra's output folder is removed again.
    """
    # Until the outcome is written, so that nobody takes the job for one that was killed.
    with ExitStack() as told:
        return _run_job(stage, cfg, told)


def _run_job(stage: str, cfg: DictConfig, told: ExitStack) -> dict[str, Any]:
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    multirun = hydra.mode == RunMode.MULTIRUN
    sweep = sweep_name(Path(hydra.sweep.dir)) if multirun else None
    names = {"model": "-", "task": "-"}
    try:
        _refuse_credentials(OmegaConf.to_container(cfg, resolve=False), folder)
        check_groups(cfg, stage, told_overrides(hydra.overrides.task))
        plain = validate(cfg)
        _refuse_credentials(plain, folder)
        check_references((plain.get("report") or {}).get("references") or [])
        check_roles((plain.get("report") or {}).get("roles"))
        store = Store(store_root(plain["store"]["root"]))
        # Of a sweep the process that started it draws all bars.
        bars = sys.stderr.isatty() and not multirun
        cell = _planned(Planner(plain, store, stage, dict(hydra.runtime.choices), sweep, bars))
        names = cell.names
        if not plain["plan"] and not cell.impossible:
            told.enter_context(begun(folder, cell, _goal(stage, cell), store))
            if bars:
                told.enter_context(following(folder, _OWN_BARS))
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
        "overrides": told_overrides(hydra.overrides.task),
        "output_dir": str(folder),
        "store": str(store_root(cfg.store.root)),
        "references": list(cfg.get("report", {}).get("references") or []),
        **_roles(cfg),
        **({"frontier": True} if cfg.get("report", {}).get("frontier") else {}),
    }
    write_json(folder / CELL_FILE, outcome)
    return outcome


def _planned(planner: Planner) -> Cell:
    """The cell, for which the user's files and folders are looked at.

    Raises:
        UserError: also of one that can't be read.
    """
    try:
        return planner.cell()
    except OSError as error:
        if error.filename is None:
            raise
        raise UserError(
            f"{error.filename} can't be read: {error.strerror}; see its path and its permissions"
        ) from error


def _refuse_credentials(options: Any, folder: Path) -> None:
    """See that no option holds a credential, as written or as resolved (``${oc.env:HF_TOKEN}``).

    Raises:
        UserError: one does; what Hydra has written of it is removed.
    """
    found = credentials.in_options(options)
    if found:
        shutil.rmtree(folder / ".hydra", ignore_errors=True)
        raise UserError(credentials.refusal(*found))


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
    before = _published(goal, store)
    node = wandb_node(plain["logger"])
    tracked = node is not None and settle(node) != "disabled"
    started = time.monotonic()
    try:
        folder = ensure(goal, store, plain["store"]["repair"])
    except StepError as error:
        log.error("failed: %s: %s", cell.label, error)
        log.debug("%s", error.detail)
        return {**base, "status": "failed", "why": str(error), "kind": "step"}
    if node and tracked:
        _log_runs(goal, store, node, sweep)
    return {
        **base,
        **({"wandb": {**node, "group": sweep}} if node and tracked else {}),
        "status": "done",
        "cached": before is not None and before == _published(goal, store),
        "folder": str(folder),
        "seconds": round(time.monotonic() - started, 2),
    }


def _published(goal: Any, store: Store) -> tuple[int, int] | None:
    """What tells one making of ``goal``'s artifact from another; None when there is none."""
    try:
        manifest = os.stat(store.path(goal.name, goal.fingerprint) / ARTIFACT_FILE)
    except OSError:
        return None
    return manifest.st_ino, manifest.st_mtime_ns


def _log_runs(goal: Any, store: Store, node: dict[str, Any], sweep: str | None) -> None:
    """With ``logger=wandb``: a run for this cell and for each step behind it that has none yet."""
    from ..reporting.wandb_log import log_steps

    found = [store.find(s.name, s.fingerprint) for s in goal.ancestry()]
    with unharmed("this cell"):
        log_steps([folder for folder in found if folder], node, store.root, sweep)


def _list(stage: str, cell: Cell, store: Store) -> dict[str, Any]:
    """What ``plan=true`` says of a cell: which steps are there, which would be computed."""
    base: dict[str, Any] = {"names": cell.names, "label": cell.label}
    if cell.impossible:
        return {**base, "status": "skipped", "why": cell.impossible}
    goal = _goal(stage, cell)
    steps = steps_of(goal, store)
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
