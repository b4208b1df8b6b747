"""The matrix of a page: compressions down, devices and their figures across; of a cell without figures, why."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..table import TIMES, Column, columns
from .points import Row, key_of, precision_of, threads_of

# Told by the row's head, or by a mark of its own.
_ELSEWHERE = ("compression", "front")


@dataclass(frozen=True)
class Device:
    """Columns of one device. ``width`` is their number; 1 where nothing was measured."""

    name: str
    emulated: bool
    heads: list[str]

    @property
    def width(self) -> int:
        """How many columns of the table it takes."""
        return max(1, len(self.heads))


@dataclass(frozen=True)
class Cell:
    """``figures`` of a done cell, with what its record is called and where it lies; else ``why`` there are none.
    ``unquoted`` are those of its figures that are times of an INVALID run."""

    device: str
    key: str
    precision: str
    status: str
    figures: list[str]
    unquoted: list[bool]
    why: str
    record: str | None


@dataclass(frozen=True)
class Line:
    """One compression of one model on one task, with a cell for each device, or None where none was asked for."""

    name: str
    model: str
    task: str
    seed: str
    threads: str
    cells: list[Cell | None]


def devices_of(rows: Sequence[Row]) -> list[Device]:
    """The devices in the order of the rows."""
    found = []
    for name in dict.fromkeys(str(r["device"]) for r in rows):
        own = [r for r in rows if str(r["device"]) == name]
        done = [r for r in own if r["status"] == "done"]
        heads = [head for head, _ in _told(own)] if done else []
        found.append(Device(name, any(r.get("emulated") for r in done), heads))
    return found


def lines_of(rows: Sequence[Row]) -> list[Line]:
    """The matrix's lines in the order of the rows; a compression that was measured twice on a device has two."""
    told = {d.name: _told([r for r in rows if str(r["device"]) == d.name]) for d in devices_of(rows)}
    order = list(told)
    lines: dict[tuple[str, ...], Line] = {}
    for number, (row, threads) in enumerate(zip(rows, threads_of(rows), strict=True)):
        apart = (str(row["seed"]) if row.get("seed") is not None else "", threads)
        identity = (str(row["model"]), str(row["task"]), str(row["compression"] or "-"))
        line = _place(lines, identity, apart, order.index(str(row["device"])), len(order))
        line.cells[order.index(str(row["device"]))] = _cell(row, number, told[str(row["device"])])
    return list(lines.values())


def _place(
    lines: dict[tuple[str, ...], Line], identity: tuple[str, ...], apart: tuple[str, str], column: int, width: int
) -> Line:
    """The first line of this compression whose place is free, and which is of this seed and count of threads
    (``apart``) or of cells without one."""
    for turn in range(len(lines) + 1):
        key = (*identity, str(turn))
        line = lines.get(key)
        told = (line.seed, line.threads) if line else ("", "")
        alike = all(not own or known in ("", own) for own, known in zip(apart, told, strict=True))
        if line is None or (line.cells[column] is None and alike):
            model, task, name = identity
            seed, threads = (own or known for own, known in zip(apart, told, strict=True))
            cells: list[Cell | None] = line.cells if line else [None] * width
            lines[key] = Line(name, model, task, seed, threads, cells)
            return lines[key]
    raise AssertionError("a new line has room")


def _told(rows: Sequence[Row]) -> list[Column]:
    return [column for column in columns(list(rows)) if column[0] not in _ELSEWHERE]


def _cell(row: Row, number: int, told: Sequence[Column]) -> Cell:
    done = row["status"] == "done"
    record = Path(str(row["record"])).absolute().as_uri() if done and row.get("record") else None
    return Cell(
        device=str(row["device"]),
        key=key_of(row, number),
        precision=precision_of(row),
        status=str(row["status"]),
        figures=[say(row) for _, say in told] if done else [],
        unquoted=[head in TIMES and row.get("valid") is False for head, _ in told] if done else [],
        why="" if done else str(row.get("why") or row["status"]),
        record=record,
    )


@dataclass
class Problem:
    """Cells without figures for one reason."""

    status: str
    why: str
    devices: list[str]
    names: list[str]


def problems(rows: Sequence[Row]) -> list[Problem]:
    """Why cells have no figures, those that went wrong before those that can't be."""
    rank = {"failed": 0, "unreadable": 1, "unfinished": 2, "skipped": 3}
    found: dict[tuple[str, str], Problem] = {}
    for row in rows:
        if row["status"] == "done":
            continue
        key = (str(row["status"]), str(row.get("why") or "no reason was left"))
        problem = found.setdefault(key, Problem(*key, [], []))
        for told, name in ((problem.devices, row["device"]), (problem.names, row["compression"])):
            if name and str(name) not in told:
                told.append(str(name))
    return sorted(found.values(), key=lambda p: rank.get(p.status, 9))
