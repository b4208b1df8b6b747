"""The runs that a reproduction report is made of: found in folders, put together by roles and recipes."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..store.files import read_json
from .filling import Cell, Outcome, filler
from .glue import NAMES
from .training import Row, training_rows

# Experiments and sweeps of train.py whose cells the report is about.
CHOICES = ("experiment=glue_reproduction", "experiment=tiny_distilbert", "sweep=loss_ablation")
# Tasks of the paper's Tables 1 and 2.
TASKS = (*NAMES, "imdb", "squad")


@dataclass(frozen=True)
class Section:
    """Runs that share a naming of roles: one set of Tables 1 to 3."""

    roles: dict[str, str]
    rows: list[Row]
    """Of finished cells, one recipe for each task and model."""
    left_out: list[str]
    fill: Callable[[Cell], str]

    def of(self, task: str, role: str, taught: bool = False) -> list[Row]:
        """The seeds of one cell of a table."""
        return [r for r in self.rows if (r["task"], r["role"], r["taught"]) == (task, role, taught)]


def run_folders(root: Path) -> list[Path]:
    """Folders of runs below ``multirun/`` and ``outputs/`` of ``root`` that hold cells of :data:`CHOICES`."""
    from ..stages.sweep import CELL_FILE

    found: dict[Path, None] = {}
    for base in (root / "multirun", root / "outputs"):
        for file in sorted(base.rglob(CELL_FILE)):
            if any(o in CHOICES for o in read_json(file).get("overrides", [])):
                sweep = file.parent.name.isdigit() and (file.parents[1] / "sweep.json").is_file()
                found[file.parents[1] if sweep else file.parent] = None
    return list(found)


def cells_of(folders: Sequence[Path], roles: dict[str, str] | None) -> list[Outcome]:
    """The outcomes of trainings in ``folders``; ``roles`` stand in for those of runs, where they are given.

    A cell whose model the store has lost counts as failed.

    Raises:
        UserError: a folder holds no cells.
    """
    from ..stages.sweep import outcomes

    found = []
    for folder in folders:
        own = outcomes(folder) if folder.is_dir() else []
        if not own:
            raise UserError(f"{folder} holds no cells; give folders under multirun/ or outputs/ of train.py")
        found += [o | ({"roles": roles} if roles else {}) for o in own if o.get("stage") == "train"]
    for outcome in found:
        if outcome["status"] == "done" and not (Path(outcome["folder"]) / "artifact.json").is_file():
            outcome |= {"status": "failed", "why": "its model is no longer in the store"}
    return found


def sections(cells: Iterable[Outcome]) -> list[Section]:
    """One for each naming of roles among fine-tunings of the paper's tasks, in order of appearance."""
    by_roles: dict[str, list[Outcome]] = {}
    for cell in cells:
        if cell.get("roles") and cell.get("names", {}).get("task") in TASKS:
            by_roles.setdefault(json.dumps(cell["roles"], sort_keys=True), []).append(cell)
    return [_section(own) for own in by_roles.values()]


def _section(cells: list[Outcome]) -> Section:
    rows = [r for r in training_rows(cells) if r["status"] == "done" and r.get("role")]
    chosen, left_out = [], []
    for key in dict.fromkeys((r["task"], r["role"], r["taught"]) for r in rows):
        recipes: dict[str, list[Row]] = {}
        for row in (r for r in rows if (r["task"], r["role"], r["taught"]) == key):
            recipes.setdefault(_recipe(row), []).append(row)
        best, *others = sorted(recipes.values(), key=_worth, reverse=True)
        chosen += _by_seed(best)
        if others:
            name = f"{key[0]}, {key[1]}{' (D)' if key[2] else ''}"
            left_out.append(f"{name}: {sum(len(o) for o in others)} run(s) of other recipes")
    return Section(cells[0]["roles"], chosen, left_out, filler(cells))


def _recipe(row: Row) -> str:
    options = read_json(Path(row["folder"]) / "artifact.json")["options"]
    return json.dumps({k: v for k, v in options.items() if k != "seed"}, sort_keys=True)


def _worth(rows: list[Row]) -> tuple[float, float, int, float]:
    """Whole splits before samples of them, then more seeds, then the newest: never the score."""
    first = rows[0]
    shares = [
        first.get(f"samples_{s}_rows", 1) / (first.get(f"samples_{s}_of") or 1) for s in ("validation", "train")
    ]
    made = max(read_json(Path(r["folder"]) / "artifact.json").get("created_unix_s", 0) for r in rows)
    return shares[0], shares[1], len({r["seed"] for r in rows}), made


def _by_seed(rows: list[Row]) -> list[Row]:
    return sorted({r["seed"]: r for r in rows}.values(), key=lambda r: r["seed"])
