"""What the reproduction report works out of claimed and measured scores; all in points."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from .glue import NAMES, macro_score
from .references import published
from .reproduction_cells import Section
from .score_error import Z95, standard_error
from .training import Row

# (task, role, taught) -> figures of a published table, by what they are.
Claims = dict[tuple[str, str, bool], list[dict[str, Any]]]


@dataclass(frozen=True)
class Difference:
    """The small model's score less the full one's, with the half width of its 95 % interval for one run each."""

    points: float
    half: float | None

    @property
    def verdict(self) -> str:
        """Whether one run each could tell the two apart."""
        if self.half is None:
            return "no interval"
        return "within noise" if abs(self.points) <= self.half else "more than noise"


def claims(name: str) -> Claims:
    """A published table by task, role and whether a teacher stood by."""
    found: Claims = {}
    for entry in published(name)["rows"]:
        cell = entry["cell"] or {}
        if "task" in cell:
            key = (cell["task"], cell["role"], bool(cell.get("taught")))
            found.setdefault(key, []).extend(entry["figures"])
    return found


def number(figure: dict[str, Any]) -> float:
    """A claimed score; of a misprint what was meant."""
    return float(figure.get("meant", figure["claimed"]))


def scores(table: Claims, role: str) -> dict[str, float]:
    """What a table claims of the nine tasks for one role."""
    return {t: number(table[t, role, False][0]) for t in NAMES if (t, role, False) in table}


def points(rows: Sequence[Row], column: str = "glue_score") -> float | None:
    """The median over seeds, in points."""
    values = [100 * r[column] for r in rows if r.get(column) is not None]
    return median(values) if values else None


def medians(section: Section, role: str) -> dict[str, float]:
    """Ours, for the tasks that are there."""
    found = {t: points(section.of(t, role)) for t in NAMES}
    return {t: v for t, v in found.items() if v is not None}


def difference(full: Sequence[Row], small: Sequence[Row], column: str = "glue_score") -> Difference | None:
    """Between the medians; None while one of them is missing. The interval takes the two runs for independent, which
    those of the same sentences are not: it is too wide rather than too narrow."""
    theirs, ours = points(full, column), points(small, column)
    if theirs is None or ours is None:
        return None
    errors = [_typical_error(rows, column) for rows in (full, small)]
    if None in errors:
        return Difference(ours - theirs, None)
    return Difference(ours - theirs, Z95 * 100 * sum(e * e for e in errors if e is not None) ** 0.5)


def mean_difference(section: Section, tasks: Sequence[str]) -> Difference | None:
    """Between the means over ``tasks``, whose errors are independent; None while a task is missing."""
    found = [difference(section.of(t, "full"), section.of(t, "small")) for t in tasks]
    each = [d for d in found if d is not None]
    if not tasks or len(each) < len(found):
        return None
    gap = sum(d.points for d in each) / len(each)
    if any(d.half is None for d in each):
        return Difference(gap, None)
    return Difference(gap, sum((d.half or 0) ** 2 for d in each) ** 0.5 / len(each))


def _typical_error(rows: Sequence[Row], column: str) -> float | None:
    """The standard error of one run: the mean of the runs' own."""
    found = [e for r in rows if r.get(column) is not None and (e := standard_error(r, column)) is not None]
    return sum(found) / len(found) if found else None


def retention(small: float | None, full: float | None) -> float | None:
    """What of the full model's score the small one keeps, in per cent; None without a positive full score."""
    return None if small is None or full is None or full <= 0 else 100 * small / full


def whole(section: Section, role: str) -> float | None:
    """The mean of our nine medians; None while a task is missing."""
    return macro_score(medians(section, role))


def shared(section: Section) -> list[str]:
    """Tasks of GLUE that both models have."""
    full, small = (medians(section, role) for role in ("full", "small"))
    return [t for t in NAMES if t in full and t in small]


def mean_over(values: dict[str, float], tasks: Sequence[str]) -> float | None:
    """The unweighted mean over some of the tasks; None when one of them is missing or there is none."""
    return sum(values[t] for t in tasks) / len(tasks) if tasks and all(t in values for t in tasks) else None
