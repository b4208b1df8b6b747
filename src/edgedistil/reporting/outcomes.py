"""What a run leaves of its cells in its folder under ``multirun/`` or ``outputs/``."""

import gc
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..errors import first_line
from ..store.files import read_json
from ..store.store import ARTIFACT_FILE
from .forms import named, texts, wrong_form
from .records import RecordError, read_record, whole
from .rows import READ, read_cell, row

MANIFEST_FILE = "sweep.json"
CELL_FILE = "cell.json"
# What a job that computes leaves when it starts, and the lock that a sweep, or such a job, holds while it goes on.
BEGUN_FILE = "begun.json"
LOCK_FILE = "running.lock"
# Statuses that only reading gives: a file that can't be used, a job that left nothing.
UNREADABLE, UNFINISHED = "unreadable", "unfinished"
# In a cell whose record can't be used: what the run left of it.
AS_LEFT = "as_left"
# What lies beside a record, and is none.
BESIDE_RECORDS = ("artifact.json", "samples.json", "sweep.json", "cell.json", "begun.json")
_STATUSES = ("done", "failed", "skipped", "planned")
_NAMES = ("model", "task", "compression", "device")

Outcome = dict[str, Any]


def outcomes(folder: Path) -> list[Outcome]:
    """The cells of a sweep or of a single run, in the order of their jobs.

    A file that can't be used (truncated, of another project) is a cell with the status ``unreadable``, a job of the
    manifest that left no file one with the status ``unfinished``; both have a ``why``.
    """
    single = folder / CELL_FILE
    if single.is_file():
        return [read_outcome(single)]
    jobs = _jobs(folder)
    found = {n: read_outcome(p / CELL_FILE) for n, p in jobs_folders(folder).items() if (p / CELL_FILE).is_file()}
    if not found:
        return []
    missing = {n: _unfinished(n, overrides) for n, overrides in enumerate(jobs or []) if n not in found}
    return [cell for _, cell in sorted({**found, **missing}.items())]


def jobs_folders(folder: Path) -> dict[int, Path]:
    """The folders of a sweep's jobs by their numbers, in order."""
    # Python takes ² for a digit, and int() does not.
    found = [p for p in folder.iterdir() if p.name.isascii() and p.name.isdigit()] if folder.is_dir() else []
    return {n: p for n, p in sorted((int(p.name), p) for p in found) if p.is_dir()}


def published(folder: Path) -> list[Outcome]:
    """Cells of records that were kept without their run: ``*.json`` and ``records*/*.json`` of a folder of results.

    A file that is no record is ``unreadable``, once there is a record beside it.
    """
    cells = []
    files = sorted(f for pattern in ("*.json", "records*/*.json") for f in folder.glob(pattern))
    for file in [f for f in files if f.name not in BESIDE_RECORDS]:
        try:
            record = read_record(file)
        except RecordError as error:
            cells.append(_unreadable(file, str(error)))
            continue
        told = {"names": record["names"], "label": " · ".join(map(str, record["names"].values()))}
        told |= {"fingerprint": record["fingerprint"], "folder": str(file)}
        cells.append({"status": "done", "stage": "bench", "step": "bench", **told})
    return cells if any(cell["status"] == "done" for cell in cells) else []


def checked(cells: Iterable[Outcome]) -> list[Outcome]:
    """The same cells, those whose record can't be used as ``unreadable`` with the reason; the others keep what was read
    (:func:`.rows.read_cell`)."""
    collecting = gc.isenabled()
    # Records are trees of plain values: the collector would walk through all of them again and again for nothing.
    gc.disable()
    try:
        found = [_checked(cell) for cell in cells]
        # Of one cell at least; the others are as they were.
        return [_tellable(cell) for cell in found] if _untellable(found) else found
    finally:
        if collecting:
            gc.enable()


def told(cells: Iterable[Outcome], key: str, default: Any) -> Any:
    """What the first cell that says anything of ``key`` says: cells of one run share it."""
    return next((cell[key] for cell in cells if key in cell), default)


def shared_overrides(cells: Iterable[Outcome]) -> set[str]:
    """What all cells that could be read were told."""
    known = [set(cell["overrides"]) for cell in cells if "overrides" in cell]
    return set.intersection(*known) if known else set()


def swept(folder: Path) -> bool:
    """Whether a cell's folder is one of a sweep's."""
    return folder.name.isdigit() and (folder.parent / MANIFEST_FILE).is_file()


def read_outcome(file: Path) -> Outcome:
    """The outcome in a ``cell.json``; ``unreadable`` with a ``why`` where there is none of ours."""
    try:
        cell = read_json(file)
    except (OSError, ValueError) as error:
        return _unreadable(file, f"{type(error).__name__}: {error}")
    if not isinstance(cell, dict) or cell.get("status") not in _STATUSES or "stage" not in cell:
        return _unreadable(file, "it is no outcome of this project (no status or stage of ours)")
    if not named(cell.get("names", {})):
        return _unreadable(file, "its names are no names")
    wrong = wrong_form(cell)
    if wrong:
        return _unreadable(file, wrong)
    if "folder" in cell:
        # Of a training that was kept without its store its facts lie beside it; a run's own path is absolute.
        cell["folder"] = str((file.parent / cell["folder"]).absolute())
    return cell


def _jobs(folder: Path) -> list[list[str]] | None:
    try:
        manifest = read_json(folder / MANIFEST_FILE)
    except (OSError, ValueError):
        return None
    jobs = manifest.get("jobs") if isinstance(manifest, dict) else None
    return jobs if isinstance(jobs, list) and all(map(texts, jobs)) else None


def _unfinished(number: int, overrides: list[str]) -> Outcome:
    options = dict(o.split("=", 1) for o in overrides if "=" in o)
    return {
        "status": UNFINISHED,
        "why": f"job {number} left no outcome: it is still running, or the sweep was stopped before it ended",
        "names": {name: options.get(name, "-") for name in _NAMES},
        "label": " ".join(overrides),
        "overrides": overrides,
    }


def _unreadable(file: Path, why: str) -> Outcome:
    return {"status": UNREADABLE, "why": f"{file}: {why}", "names": dict.fromkeys(_NAMES, "-"), "label": str(file)}


def _checked(cell: Outcome) -> Outcome:
    left = cell
    if cell["status"] != "done":
        return cell
    folder = Path(str(cell.get("folder")))
    try:
        if cell.get("step") == "bench":
            # Its columns too: what they need may be of another form.
            row(cell := {**cell, READ: read_cell(cell)})
            return cell
        if not isinstance(read_json(folder / ARTIFACT_FILE), dict):
            raise ValueError(f"{folder / ARTIFACT_FILE} is no JSON object")
        whole(folder / ARTIFACT_FILE)
    except KeyError as error:
        why = f"{cell.get('folder', 'a done cell')}: a record without {error}"
    except (FileNotFoundError, NotADirectoryError):
        why = f"the model {folder} is no longer in the store; run it again"
    except (RecordError, OSError, ValueError) as error:
        why = str(error)
    except (TypeError, AttributeError, IndexError) as error:
        why = (
            f"the record in {folder} has a part of another form ({type(error).__name__}: {error}); of another version?"
        )
    else:
        return cell
    return {**left, "status": UNREADABLE, "why": why, AS_LEFT: left}


def _tellable(cell: Outcome) -> Outcome:
    wrong = _untellable([cell])
    if wrong is None:
        return cell
    left = {key: value for key, value in cell.items() if key != READ}
    what = f"the record {cell[READ].file} has a figure that can't be told ({wrong})"
    why = f"{what}: it is of another version, or was edited"
    return {**left, "status": UNREADABLE, "why": why, AS_LEFT: left}


def _untellable(cells: list[Outcome]) -> str | None:
    """Why the records of these cells can't be told, None when they can: what a table can't say (a missing figure, a
    text in the place of one), no report can."""
    from .table import matrix, notes

    flat = [row(cell) for cell in cells if READ in cell]
    if not flat:
        return None
    try:
        "\n".join([matrix(flat), *notes(flat)]).encode()
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        return first_line(error)
    return None
