"""Cells of a run, of a folder of records or of a table of results, in one form; what can't be used is a line."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError
from .cells import Measured
from .filling import command
from .outcomes import BESIDE_RECORDS, UNFINISHED, UNREADABLE, checked, outcomes
from .records import RECORD_FILE, RecordError, read_record_file
from .rows import read_cell, record_row, row

Row = dict[str, Any]
CSV_FILE = "results.csv"
# What a record of another version may lack, or have in another form.
_ODD = (KeyError, TypeError, AttributeError, ValueError, IndexError)


@dataclass(frozen=True)
class Cell:
    """One cell as far as it is known.

    Attributes:
        row: as in ``results.csv``; ``status`` says what it is.
        measured: its record; None of a table's row, and of a cell that is not done.
        command: what makes it again; None where nobody noted it.
        place: where its record is, or what it was read from.
    """

    row: Row
    place: str
    measured: Measured | None = None
    command: str | None = None

    @property
    def label(self) -> str:
        """``model · task · compression · device``, with the seed where it is known."""
        names = " · ".join(str(self.row.get(k) or "-") for k in ("model", "task", "compression", "device"))
        return names + (f" · seed {self.row['seed']}" if self.row.get("seed") is not None else "")


def gather(folder: Path) -> tuple[list[Cell], list[str]]:
    """The cells of a run's folder, of a folder with records (``*.json``, ``records/*.json``), of ``results.csv``, or
    of one such file; and a line for each file and cell that can't be used.

    Raises:
        UserError: there is nothing of that kind.
    """
    folder = Path(folder)
    if not folder.exists():
        raise UserError(f"{folder} is not there; give a sweep's folder, a folder of records or a results.csv")
    problems: list[str] = []
    if folder.is_file():
        cells = list(_table(folder) if folder.suffix == ".csv" else _records([folder], problems))
    elif ran := checked(outcomes(folder)):
        cells = list(_ran(ran, problems))
    else:
        files = sorted(f for pattern in ("*.json", "records*/*.json") for f in folder.glob(pattern))
        cells = list(_records([f for f in files if f.name not in BESIDE_RECORDS], problems))
        if not cells and (folder / CSV_FILE).is_file():
            cells = list(_table(folder / CSV_FILE))
    seen: set[str] = set()
    once = []
    for cell in cells:
        key = cell.row.get("fingerprint")
        if not key or key not in seen:
            once.append(cell)
        seen.add(str(key))
    if not once:
        told = f": {problems[0]}" if problems else ""
        raise UserError(f"{folder} holds no cells{told}; give a sweep's folder, a folder of records or a results.csv")
    return once, problems


def not_done(cells: Sequence[Cell]) -> list[str]:
    """A line for the cells that are not done for one reason."""
    why: dict[tuple[Any, Any], list[Cell]] = {}
    for cell in cells:
        if cell.row["status"] != "done":
            # Of unfinished jobs each says its own number.
            unfinished = cell.row["status"] == UNFINISHED
            reason = "no outcome: running still, or stopped before" if unfinished else cell.row.get("why")
            why.setdefault((cell.row["status"], reason), []).append(cell)
    return [
        f"{of[0].label}{f' and {len(of) - 1} more' if len(of) > 1 else ''}: {status}: {reason}"
        for (status, reason), of in why.items()
    ]


def _ran(cells: list[dict[str, Any]], problems: list[str]) -> Iterator[Cell]:
    for outcome in cells:
        if outcome["status"] == UNREADABLE:
            problems.append(str(outcome.get("why")))
            continue
        typed = command(outcome) if "overrides" in outcome and "stage" in outcome else None
        place = str(outcome.get("folder") or outcome.get("output_dir") or outcome.get("label"))
        if outcome["status"] != "done" or outcome.get("step") != "bench":
            names = {k: outcome.get("names", {}).get(k) for k in ("model", "task", "compression", "device")}
            why = outcome.get("why") or (None if outcome["status"] != "done" else "it has no record: not of bench.py")
            status = "unmeasured" if outcome["status"] == "done" else outcome["status"]
            told = dict(o.split("=", 1) for o in outcome.get("overrides", []) if "=" in o).get("seed", "")
            seed = int(told) if told.isdecimal() else None
            yield Cell({**names, "status": status, "why": why, "seed": seed}, place, command=typed)
            continue
        try:
            read = read_cell(outcome)
            measured = Measured(Path(outcome["folder"]), read.record) if read else None
            yield Cell(row(outcome), place, measured, typed)
        except _ODD as error:
            problems.append(f"{place}: a record without {error}: {type(error).__name__}; of another version?")


def _records(files: list[Path], problems: list[str]) -> Iterator[Cell]:
    for file in files:
        try:
            record = read_record_file(file)
            folder = file.parent if file.name == RECORD_FILE else file
            yield Cell(record_row(record, file), str(file), Measured(folder, record))
        except RecordError as error:
            problems.append(str(error))
        except _ODD as error:
            problems.append(f"{file}: a record without {error}: {type(error).__name__}; of another version?")


def _table(file: Path) -> Iterator[Cell]:
    """Rows of ``results.csv``.

    Raises:
        UserError: it is another table.
    """
    try:
        with open(file, newline="", encoding="utf-8") as stream:
            read = list(csv.DictReader(stream))
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{file} can't be read: {error}") from error
    wanted = {"status", "model", "task", "compression"}
    # A line that ends early has no value at all, one of ours a status.
    if not read or not all(wanted <= {k for k, v in line.items() if v is not None} and line["status"] for line in read):
        raise UserError(
            f"{file} is no table of results of bench.py (it has no column status, model, task, compression)"
        )
    for line in read:
        found = {k: _value(v) for k, v in line.items() if k and v not in ("", None)}
        yield Cell({"device": None, **found}, str(file))


def _value(text: str) -> Any:
    if text in ("True", "False"):
        return text == "True"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
