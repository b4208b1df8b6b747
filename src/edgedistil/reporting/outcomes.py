"""What a run leaves of its cells in its folder under ``multirun/`` or ``outputs/``."""

from pathlib import Path
from typing import Any

from ..store.files import read_json

MANIFEST_FILE = "sweep.json"
CELL_FILE = "cell.json"


def outcomes(folder: Path) -> list[dict[str, Any]]:
    """The cells of a sweep or of a single run, in the order of their jobs."""
    single = folder / CELL_FILE
    if single.is_file():
        return [read_json(single)]
    found = [p for p in folder.glob(f"*/{CELL_FILE}") if p.parent.name.isdigit()]
    return [read_json(p) for p in sorted(found, key=lambda p: int(p.parent.name))]


def swept(folder: Path) -> bool:
    """Whether a cell's folder is one of a sweep's."""
    return folder.name.isdigit() and (folder.parent / MANIFEST_FILE).is_file()
