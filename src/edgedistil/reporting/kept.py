"""Trainings kept without their store: what a run left of each cell and its artifact's facts, in a folder that can be
committed and that ``report`` and ``reproduce`` read as they read a run."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from ..errors import UserError
from ..store.files import write_json
from ..store.store import ARTIFACT_FILE
from .outcomes import CELL_FILE, UNREADABLE, Outcome, jobs_folders, outcomes

# What a table asks of a cell. The rest is of the machine that made it: folders, the store, seconds.
_KEPT = ("status", "stage", "step", "label", "fingerprint", "names", "overrides", "roles", "references")


def keep(cells: Sequence[Outcome], output: Path) -> tuple[int, int, list[str]]:
    """Keep the finished trainings among ``cells`` in ``output/0``, ``output/1``, ..., beside those that it has.

    Of each: ``cell.json`` without the folders of its run (what its options name stays), and its ``artifact.json`` byte
    for byte; no weights. A run that another naming of roles has made again is kept for each of them.

    Args:
        cells: with their files checked (:func:`.outcomes.checked`).

    Returns:
        (how many came to it, how many were there already, a line for each cell that can't be read).

    Raises:
        UserError: none is a finished training.
    """
    done = [c for c in cells if c["status"] == "done" and c["stage"] == "train" and c.get("fingerprint")]
    unread = [c["why"] for c in cells if c["status"] == UNREADABLE]
    if not done:
        told = f" ({unread[0]})" if unread else ""
        raise UserError(f"no finished training among {len(cells)} cells{told}; give folders of runs of train.py")
    has = {_identity(c) for c in outcomes(output)}
    # A folder without a cell is what a run left that was killed here.
    there = [n for n, p in jobs_folders(output).items() if (p / CELL_FILE).is_file()]
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


def _identity(cell: Outcome) -> tuple[str, str]:
    return str(cell.get("fingerprint")), json.dumps(cell.get("roles"), sort_keys=True)
