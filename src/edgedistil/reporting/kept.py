"""Trainings kept without their store: what a run left of each cell and its artifact's facts, in a folder that can be
committed and that ``report`` and ``reproduce`` read as they read a run."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from ..errors import UserError
from ..store.files import write_json
from ..store.store import ARTIFACT_FILE
from .outcomes import CELL_FILE, checked, jobs_folders, outcomes

# What a table asks of a cell. The rest is of the machine that made it: folders, the store, seconds.
_KEPT = ("status", "stage", "step", "label", "fingerprint", "names", "overrides", "roles", "references")


def keep(runs: Sequence[Path], output: Path) -> tuple[int, int, list[str]]:
    """Keep the finished trainings of ``runs`` in ``output/0``, ``output/1``, ..., beside those that it has.

    Of each: ``cell.json`` without the folders of its run (what its options name stays), and its ``artifact.json`` byte
    for byte; no weights. A run that another naming of roles has made again is kept for each of them.

    Returns:
        (how many came to it, how many were there already, a line for each cell that can't be read).

    Raises:
        UserError: there is no such run, or none with a finished training.
    """
    cells = checked(cell for run in runs for cell in _cells(run))
    done = [c for c in cells if c["status"] == "done" and c["stage"] == "train" and c.get("fingerprint")]
    unread = [c["why"] for c in cells if c["status"] == "unreadable"]
    if not done:
        told = f"; {unread[0]}" if unread else ""
        raise UserError(f"no finished training in {', '.join(map(str, runs))}{told}; give folders of runs of train.py")
    kept = outcomes(output) if output.is_dir() else []
    has = {_identity(c) for c in kept}
    # A folder without a cell is what a run left that was killed here.
    there = [n for n, p in jobs_folders(output).items() if (p / CELL_FILE).is_file()] if kept else []
    number, added = max(there, default=-1) + 1, 0
    for cell in done:
        if _identity(cell) in has:
            continue
        has.add(_identity(cell))
        place = output / str(number + added)
        place.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(Path(cell["folder"]) / ARTIFACT_FILE, place / ARTIFACT_FILE)
        # Last: a folder without it is no cell.
        write_json(place / CELL_FILE, {k: cell[k] for k in _KEPT if k in cell} | {"folder": "."})
        added += 1
    return added, len(done) - added, unread


def _identity(cell: dict[str, object]) -> tuple[str, str]:
    return str(cell.get("fingerprint")), json.dumps(cell.get("roles"), sort_keys=True)


def _cells(run: Path) -> list[dict[str, object]]:
    found = outcomes(run) if run.is_dir() else []
    if not found:
        raise UserError(f"{run} holds no cells; give a folder under multirun/ or outputs/ of a run of train.py")
    return found
