"""What a job leaves in its folder when it starts to compute, for whoever looks at the sweep meanwhile."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..reporting.outcomes import BEGUN_FILE, LOCK_FILE
from ..store.files import write_json
from ..store.lock import locked
from ..store.store import Store
from .chain import Cell
from .step import Step


def steps_of(goal: Step, store: Store) -> list[dict[str, Any]]:
    """Every step that ``goal`` needs, inputs before their users, and whether the store has it."""
    return [
        {
            "step": step.name,
            "label": step.label,
            "fingerprint": step.fingerprint,
            "cached": store.find(step.name, step.fingerprint) is not None,
        }
        for step in goal.ancestry()
    ]


@contextmanager
def begun(folder: Path, cell: Cell, goal: Step, store: Store) -> Iterator[None]:
    """Leave ``begun.json`` in a job's folder and hold its lock, which a kill frees; nothing for a cell that is only
    read from the store."""
    if store.find(goal.name, goal.fingerprint):
        yield
        return
    lock = folder / LOCK_FILE
    with locked(lock):
        try:
            write_json(
                folder / BEGUN_FILE,
                {
                    "schema_version": 1,
                    "names": cell.names,
                    "label": cell.label,
                    "step": goal.name,
                    "fingerprint": goal.fingerprint,
                    "steps": steps_of(goal, store),
                    "store": str(store.root),
                    "command": sys.argv,
                    "directory": os.getcwd(),
                    "process": os.getpid(),
                    "host": os.uname().nodename,
                    "started_unix_s": round(time.time(), 3),
                },
            )
            yield
        finally:
            lock.unlink(missing_ok=True)
