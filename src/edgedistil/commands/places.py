"""What several commands ask of their arguments."""

from pathlib import Path
from typing import Any

from ..errors import UserError
from ..reporting.rows import read_cell

# Where Hydra puts sweeps, from the folder that one is in.
SWEEPS = Path("multirun")
_NAMES = ("model", "task", "compression", "device", "seed")


def cells_of(folder: Path) -> list[dict[str, Any]]:
    """The cells of a run's folder, or of a folder with records.

    Those whose record can't be used are ``unreadable`` with a reason.

    Raises:
        UserError: it holds none.
    """
    from ..reporting.outcomes import checked

    return checked(cells_left(folder))


def cells_left(folder: Path) -> list[dict[str, Any]]:
    """The same, their records not looked at.

    Raises:
        UserError: it holds none.
    """
    from ..reporting.outcomes import outcomes, published

    cells = outcomes(folder) or published(folder) if folder.is_dir() else []
    if not cells:
        raise UserError(
            f"{folder} holds no cells; give a run's folder under multirun/ or outputs/, or one of records"
        )
    return cells


def check_output(output: Path | None) -> None:
    """See that a file can be written at ``output``.

    Raises:
        UserError: its folder is not there.
    """
    if output is not None and not output.absolute().parent.is_dir():
        raise UserError(f"--output={str(output)!r}: its folder is not there; make it first")


def only(cells: list[dict[str, Any]], words: list[str]) -> list[dict[str, Any]]:
    """The cells whose names are those of ``NAME=VALUE`` words; of several values of one name any will do.

    Raises:
        UserError: a word is none, or no cell is left.
    """
    wanted: dict[str, set[str]] = {}
    for word in words:
        name, _, value = word.partition("=")
        if name not in _NAMES or not value:
            raise UserError(f"--only holds {word!r}; give NAME=VALUE with one of {', '.join(_NAMES)}")
        wanted.setdefault(name, set()).add(value)
    for name, values in wanted.items():
        there = sorted({_told(cell, name) for cell in cells})
        cells = [cell for cell in cells if _told(cell, name) in values]
        if not cells:
            shown = ", ".join(there[:20]) + (f" and {len(there) - 20} more" if len(there) > 20 else "")
            raise UserError(f"--only {name}={', '.join(sorted(values))}: no cell is of it; there are: {shown}")
    return cells


def _told(cell: dict[str, Any], name: str) -> str:
    """What a cell is called; the seed is its record's, of a cell without one that of its overrides."""
    if name != "seed":
        return str(cell.get("names", {}).get(name))
    read = read_cell(cell)
    if read is not None:
        return str(read.record.get("seed"))
    return next((o.split("=", 1)[1] for o in cell.get("overrides", []) if o.startswith("seed=")), "-")
