"""How far a step is, told by its process in a file beside its request, for whoever looks."""

import json
import os
import time
from pathlib import Path
from typing import Any

from .files import read_json

PROGRESS_FILE = "progress.json"
_EVERY_S = 1.0
# Of the step that this process computes.
_mine: dict[str, Any] = {}


def begin(work: Path) -> None:
    """This process computes the step with the work folder ``work``: :func:`tell` writes there from now on."""
    _mine.update(file=Path(work) / PROGRESS_FILE, next=0.0)


def tell(done: int, total: int, unit: str) -> None:
    """Say that ``done`` of ``total`` units are done; written at most once a second, and nowhere before :func:`begin`.

    Not flushed to disk: it is worth nothing after a crash, and training must not wait for it.
    """
    now = time.monotonic()
    if not _mine or (now < _mine["next"] and done < total):
        return
    _mine["next"] = now + _EVERY_S
    file: Path = _mine["file"]
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        beside.write_text(json.dumps({"done": done, "total": total, "unit": unit}), encoding="utf-8")
        os.replace(beside, file)
    except OSError:
        # A full disk stops what matters soon enough.
        return


def told(work: Path) -> dict[str, Any] | None:
    """What the step with the work folder ``work`` last said: ``done``, ``total``, ``unit``; None when nothing."""
    try:
        found = read_json(Path(work) / PROGRESS_FILE)
        done, total = int(found["done"]), int(found["total"])
        return {"done": done, "total": total, "unit": str(found["unit"])} if 0 <= done <= total < 1 << 63 else None
    except (OSError, ValueError, TypeError, KeyError, OverflowError):
        return None
