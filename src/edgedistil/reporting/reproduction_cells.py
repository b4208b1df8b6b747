"""The runs that a reproduction report is made of: found in folders, put together by roles and recipes."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from ..store.files import read_json
from .filling import Cell, Outcome, filler
from .glue import NAMES
from .outcomes import CELL_FILE, outcomes, read_outcome, swept
from .roles import role_facts
from .training import Row, training_rows

# Experiments and sweeps of train.py whose cells the report is about.
CHOICES = (
    "experiment=glue_reproduction",
    "experiment=tiny_distilbert",
    "experiment=distilbert_squad",
    "sweep=loss_ablation",
)
# Forms of them that only go through every step: small, on generated texts.
_TRIALS = ("quick=", "offline=embedded")
# Tasks of the paper's Tables 1 and 2.
TASKS = {**NAMES, "imdb": "IMDb", "squad": "SQuAD"}


@dataclass(frozen=True)
class Section:
    """Runs that share a naming of roles: one set of Tables 1 to 3."""

    roles: dict[str, str]
    rows: list[Row]
    """Of finished cells, one recipe for each task and model."""
    left_out: list[str]
    waiting: list[Outcome]
    """Cells that were planned, skipped or failed and that no other run has finished."""
    without_role: list[str]
    """Models of the runs that no role names."""
    fill: Callable[[Cell], str]

    def of(self, task: str, role: str, taught: bool = False) -> list[Row]:
        """The seeds of one cell of a table."""
        return [r for r in self.rows if (r["task"], r["role"], r["taught"]) == (task, role, taught)]


def run_folders(root: Path) -> list[Path]:
    """Folders of runs below ``multirun/`` and ``outputs/`` of ``root`` that hold cells of :data:`CHOICES`, but for
    their quick forms on generated texts."""
    found: dict[Path, None] = {}
    for base in (root / "multirun", root / "outputs"):
        for file in sorted(base.rglob(CELL_FILE)):
            told = read_outcome(file).get("overrides", [])
            if any(o in CHOICES for o in told) and not any(o.lstrip("+").startswith(_TRIALS) for o in told):
                found[file.parents[1] if swept(file.parent) else file.parent] = None
    return list(found)


def cells_of(folders: Sequence[Path], roles: dict[str, str] | None) -> tuple[list[Outcome], list[Path]]:
    """(Outcomes of trainings in ``folders``, the folders that have none); ``roles`` stand in for those of runs, where
    they are given.

    A cell whose model the store has lost counts as failed.

    Raises:
        UserError: there is no such folder, or none of them holds a cell.
    """
    found, empty = [], []
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder} is no folder; give folders under multirun/ or outputs/ of train.py")
        own = [o | ({"roles": roles} if roles else {}) for o in outcomes(folder) if o.get("stage") == "train"]
        # A run that has not ended has no cell yet.
        empty += [] if own else [folder]
        found += own
    if not found:
        names = ", ".join(map(str, folders))
        raise UserError(f"no cell of train.py in {names}; give folders under multirun/ or outputs/")
    for outcome in found:
        if outcome["status"] == "done" and not (Path(outcome["folder"]) / "artifact.json").is_file():
            outcome |= {"status": "failed", "why": "its model is no longer in the store"}
    return found, empty


def sections(cells: Iterable[Outcome]) -> list[Section]:
    """One for each naming of roles among fine-tunings of the paper's tasks, in order of appearance."""
    by_roles: dict[str, list[Outcome]] = {}
    tuned = [c for c in cells if c.get("roles") and c.get("names", {}).get("task") in TASKS]
    for cell in tuned:
        by_roles.setdefault(json.dumps(cell["roles"], sort_keys=True), []).append(cell)
    found = []
    for own in by_roles.values():
        # The full model of one reproduction may be that of another, and is trained once.
        others = [c | {"roles": own[0]["roles"]} for c in tuned if c["roles"] != own[0]["roles"]]
        found.append(_section(own, [c for c in others if role_facts(c)["role"] is not None]))
    return found


def _section(own: list[Outcome], borrowed: list[Outcome]) -> Section:
    cells = [*own, *borrowed]
    done = [r for r in training_rows(cells) if r["status"] == "done"]
    rows = [r for r in done if r.get("role")]
    chosen, left_out = [], []
    for key in dict.fromkeys((r["task"], r["role"], r["taught"]) for r in rows):
        recipes: dict[str, list[Row]] = {}
        for row in (r for r in rows if (r["task"], r["role"], r["taught"]) == key):
            recipes.setdefault(_recipe(row), []).append(row)
        best, *others = sorted(recipes.values(), key=_worth, reverse=True)
        chosen += _by_seed(best)
        if others:
            name = f"{TASKS[key[0]]}, {key[1]}{' (D)' if key[2] else ''}"
            left_out.append(f"{name}: {sum(len(o) for o in others)} run(s) of other recipes")
    finished = {c.get("fingerprint") for c in cells if c["status"] == "done"}
    waiting = [c for c in cells if c["status"] != "done" and c.get("fingerprint") not in finished]
    without = dict.fromkeys(str(r["model"]) for r in done if not r.get("role"))
    return Section(cells[0]["roles"], chosen, left_out, waiting, list(without), filler(cells))


def _recipe(row: Row) -> str:
    options = read_json(Path(row["folder"]) / "artifact.json")["options"]
    return json.dumps({k: v for k, v in options.items() if k != "seed"}, sort_keys=True)


def _worth(rows: list[Row]) -> tuple[float, float, int, float]:
    """Whole splits before samples of them, then more seeds, then the newest: never the score."""
    first = rows[0]
    shares = [first.get(f"samples_{s}_rows", 1) / (first.get(f"samples_{s}_of") or 1) for s in ("validation", "train")]
    made = max(read_json(Path(r["folder"]) / "artifact.json").get("created_unix_s", 0) for r in rows)
    return shares[0], shares[1], len({r["seed"] for r in rows}), made


def _by_seed(rows: list[Row]) -> list[Row]:
    return sorted({r["seed"]: r for r in rows}.values(), key=lambda r: r["seed"])
