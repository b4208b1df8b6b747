"""Goals that were set beforehand, beside the cells that answer them: met, not met, or not shown.

Each file of ``reporting/goal_tables/*.json`` holds one table of goals: which cells answer a row, and what it asks for.
Cells of several sweeps whose models were trained and compressed in one way are seeds of one figure. A drop is tested
over seeds and sentences (:mod:`edgedistil.measurement.noninferiority`); a ratio of speed is the geometric mean of the
records' ratios, whose intervals are of independent runs; a file has the size that it has, the largest of the seeds'.
"""

import json
import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..measurement.noninferiority import Drop, drop, drop_of_counts
from ..store.files import read_json
from .cells import Measured, eager_ratio
from .rows import timed, valid
from .table import markdown

_FOLDER = Path(__file__).parent / "goal_tables"
MET, NOT_MET = "met", "not met"
# An interval that holds the goal decides nothing; which side the estimate is on is said.
_OPEN = {True: "not shown (estimate meets it)", False: "not shown (estimate misses it)"}


@dataclass(frozen=True)
class Answer:
    """Cells that answer one row of goals: one way of compressing, one or more seeds."""

    goal: dict[str, Any]
    cells: tuple[Measured, ...]


@dataclass(frozen=True)
class Ratio:
    """How many times faster, with a 95 % interval, and each record's own."""

    value: float
    low: float
    high: float
    each: tuple[float, ...]


def available() -> list[str]:
    """Names of the tables of goals."""
    return sorted(p.stem for p in _FOLDER.glob("*.json"))


def answers(goals: dict[str, Any], cells: Sequence[Measured]) -> list[Answer]:
    """For every row of goals its cells, grouped by compression; a row without cells has one empty answer.

    A row with ``keeps`` asks for the smallest file that keeps such a share of the parent's accuracy: the smallest by
    the estimate (on the test part where there is one) is taken, so its own score has been looked at once to choose it.
    """
    found: list[Answer] = []
    for goal in goals["rows"]:
        mine = [cell for cell in cells if _matches(goal.get("cell", {}), cell)]
        groups: dict[str, list[Measured]] = {}
        for cell in mine:
            key = json.dumps([cell.record["names"], cell.record["compression"], cell.recipe()], sort_keys=True)
            groups.setdefault(key, []).append(cell)
        groups = {key: _one_of_each_seed(group) for key, group in groups.items()}
        if "keeps" in goal:
            kept = [g for g in groups.values() if (share := kept_share(g)) is not None and share >= goal["keeps"]]
            groups = {"": min(kept, key=size_mb)} if kept else {}
        found += [Answer(goal, tuple(group)) for group in groups.values()] or [Answer(goal, ())]
    return found


def _one_of_each_seed(group: Sequence[Measured]) -> list[Measured]:
    """Of several records of one seed the last that was timed and is valid, else the last that was timed, else the last:
    a repetition is no further seed."""
    chosen: dict[Any, Measured] = {}
    for cell in group:
        seed = cell.record.get("seed")
        if seed not in chosen or _worth(cell) >= _worth(chosen[seed]):
            chosen[seed] = cell
    return list(chosen.values())


def _worth(cell: Measured) -> tuple[bool, bool]:
    return timed(cell.record), valid(cell.record)


def _matches(wanted: dict[str, Any], cell: Measured) -> bool:
    """Whether each dotted option of the cell's compression is among the values that are wanted (absent is ``none``)."""
    for dotted, allowed in wanted.items():
        value: Any = cell.record["compression"] or {}
        for key in dotted.split("."):
            value = value.get(key, "none") if isinstance(value, dict) else "none"
        if value not in allowed:
            return False
    return True


def size_mb(cells: Sequence[Measured]) -> float:
    """MB of the model's file, the largest of the seeds'."""
    return max(float(cell.record["size"]["model_mb"]) for cell in cells)


def times_smaller(cells: Sequence[Measured], everything: Sequence[Measured]) -> float | None:
    """The parent's FP32 file over the candidate's, the least of the seeds'."""
    ratios = []
    for cell in cells:
        parent = cell.record.get("parent_size") or _dense_size(cell, everything)
        if parent is None:
            return None
        ratios.append(float(parent["model_mb"]) / float(cell.record["size"]["model_mb"]))
    return min(ratios)


def _dense_size(cell: Measured, everything: Sequence[Measured]) -> dict[str, Any] | None:
    """Of records that do not say it: the size of the dense FP32 cell of the same model."""
    return next((o.record["size"] for o in everything if o.rest == cell.rest and not o.parts), None)


def drop_of(cells: Sequence[Measured], test: bool = False) -> Drop | None:
    """The drop over the seeds; of one record whose answers are no longer in the store by its counts."""
    prefix, part = ("test_", "test_quality") if test else ("", "quality")
    differences = []
    for cell in cells:
        own, parent = cell.right(f"{prefix}predictions"), cell.right(f"{prefix}parent_predictions")
        if own is not None and parent is not None:
            differences.append((parent.astype(int) - own.astype(int)).tolist())
    if differences and len(differences) == len(cells) and len({len(d) for d in differences}) == 1:
        sentences = cells[0].sentences(f"{prefix}predictions")
        return drop(differences, None if sentences is None else sentences.tolist())
    paired = (cells[0].record.get(part) or {}).get("against_parent")
    if len(cells) == 1 and paired and "mcnemar_p" in paired:
        return drop_of_counts(paired["lost"], paired["gained"], cells[0].record[part]["n"])
    return None


def kept_share(cells: Sequence[Measured]) -> float | None:
    """The candidates' accuracy over their parents', in the mean of the seeds; of the test part where all have one."""
    part = "test_quality" if all("test_quality" in c.record for c in cells) else "quality"
    shares = []
    for cell in cells:
        quality = cell.record.get(part) or {}
        points = quality.get("against_parent", {}).get("accuracy_points")
        if points is None:
            return None
        shares.append(quality["accuracy"] / (quality["accuracy"] - points / 100))
    return math.fsum(shares) / len(shares)


def speed_of(cells: Sequence[Measured], baseline: str, scenario: str) -> Ratio | None:
    """How many times faster than a baseline; None where a record has no such ratio."""
    ratios = [eager_ratio(cell.record, baseline, scenario) for cell in cells]
    if not all(ratios):
        return None
    logs = [math.log(r["ratio"]) for r in ratios]
    widths = [(math.log(r["ci95_high"]) - math.log(r["ci95_low"])) / 2 for r in ratios]
    mean, half = math.fsum(logs) / len(logs), math.sqrt(math.fsum(w * w for w in widths)) / len(logs)
    return Ratio(math.exp(mean), math.exp(mean - half), math.exp(mean + half), tuple(r["ratio"] for r in ratios))


def verdict_of_drop(found: Drop | None, at_most: float) -> str:
    """``met`` when the one-sided test at 5 % shows that the drop is at most so much, ``not met`` when it shows more."""
    if found is None:
        return "not measured"
    if found.p_at_most(at_most) < 0.05:
        return MET
    return NOT_MET if found.p_above(at_most) < 0.05 else _OPEN[found.points <= at_most]


def verdict_of_speed(found: Ratio | None, at_least: float) -> str:
    """``met`` when the whole interval is there, ``not met`` when none of it is."""
    if found is None:
        return "not measured"
    if found.low >= at_least:
        return MET
    return NOT_MET if found.high < at_least else _OPEN[found.value >= at_least]


def goals_report(name: str, cells: Sequence[Measured]) -> str:
    """The table of goals with what was measured beside each, a note, and the command of every row.

    Raises:
        UserError: there is no such table.
    """
    if name not in available():
        raise UserError(f"--goals={name!r} is no table of goals; allowed: {', '.join(available())}")
    goals = read_json(_FOLDER / f"{name}.json")
    found = answers(goals, cells)
    tested = any("test_quality" in cell.record for a in found for cell in a.cells)
    head = ["goal", "cell", "seeds", "drop: goal", "measured [95 %]", "at most, shown", "verdict"]
    head += ["test drop [95 %]", "at most, shown", "verdict"] if tested else []
    head += ["file: goal", "measured", "verdict", "× eager FP32 at 32: goal", "measured [95 %]", "verdict"]
    body = [_line(a, cells, goals, tested) if a.cells else _nothing(a, len(head)) for a in found]
    commands = [f"- {a.goal['name']}: {c}" for a in found for c in _commands(a.cells)]
    parts = [
        f"### {goals['title']}",
        markdown(head, body),
        goals["note"],
        *_seeds(found),
        *_times(found),
        "\n".join(commands),
    ]
    return "\n\n".join(part for part in parts if part)


def _line(a: Answer, everything: Sequence[Measured], goals: dict[str, Any], tested: bool) -> list[str]:
    goal, cells = a.goal, a.cells
    line = [goal["name"], cells[0].label, str(len(cells))]
    for test in (False, True)[: 2 if tested else 1]:
        asked = [] if test else [_asked_drop(goal)]
        line += [*asked, *_drop_columns(goal, cells, test)]
    smaller = times_smaller(cells, everything)
    line += _size_columns(goal, cells, smaller)
    clocked = [cell for cell in cells if timed(cell.record)]
    speed = speed_of(clocked, goals["baseline"], goals["scenario"]) if clocked else None
    shown = f"{speed.value:.2f} [{speed.low:.2f}, {speed.high:.2f}]" if speed else "-"
    shown += f" ({len(clocked)} of {len(cells)} seeds)" if speed and len(clocked) < len(cells) else ""
    invalid = sum(not valid(cell.record) for cell in clocked)
    verdict = verdict_of_speed(speed, goal["faster"])
    if speed and invalid:
        verdict = f"not to be quoted: {invalid} of {len(clocked)} runs INVALID"
    return [*line, f"≥ {goal['faster']:g}", shown, verdict]


def _nothing(a: Answer, width: int) -> list[str]:
    return [a.goal["name"], "no cell of these sweeps", *[""] * (width - 3), "not measured"]


def _asked_drop(goal: dict[str, Any]) -> str:
    return f"keeps {100 * goal['keeps']:g} %" if "keeps" in goal else f"≤ {goal['drop']:g}"


def _drop_columns(goal: dict[str, Any], cells: Sequence[Measured], test: bool) -> list[str]:
    found = drop_of(cells, test)
    if found is None:
        return ["-", "-", "not measured"]
    low, high = found.interval()
    figures = [f"{found.points:+.2f} [{low:+.2f}, {high:+.2f}]", f"{found.bound():.2f}"]
    at_most = goal.get("drop")
    if at_most is None:
        part = "test_quality" if test else "quality"
        parents = [_parent_accuracy(cell.record[part]) for cell in cells]
        at_most = 100 * (1 - goal["keeps"]) * math.fsum(parents) / len(parents)
    if test and not all(cell.record["test_quality"].get("kept_from_training", True) for cell in cells):
        return [*figures, "not to be quoted: the model came fine-tuned, and may have learnt from these texts"]
    return [*figures, verdict_of_drop(found, at_most)]


def _parent_accuracy(quality: dict[str, Any]) -> float:
    return float(quality["accuracy"]) - float(quality["against_parent"]["accuracy_points"]) / 100


def _size_columns(goal: dict[str, Any], cells: Sequence[Measured], smaller: float | None) -> list[str]:
    size = size_mb(cells)
    times = f"{smaller:.2f}× smaller, " if smaller else ""
    shown = f"{times}{size:.2f} MB"
    if "megabytes" in goal:
        return [f"< {goal['megabytes']:g} MB", shown, MET if size < goal["megabytes"] else NOT_MET]
    if smaller is None:
        return [f"≥ {goal['smaller']:g}×", shown, "not measured"]
    return [f"≥ {goal['smaller']:g}×", shown, MET if smaller >= goal["smaller"] else NOT_MET]


def _seeds(found: Sequence[Answer]) -> list[str]:
    """What each seed alone says, where there are several."""
    lines = []
    for a in found:
        if len(a.cells) < 2:
            continue
        said = []
        for name, test in (("drop", False), ("test drop", True)):
            own = drop_of(a.cells, test)
            said += [f"{name} {', '.join(f'{p:+.2f}' for p in own.seeds)}"] if own else []
        if said:
            lines.append(f"- {a.goal['name']}, {a.cells[0].label}: {'; '.join(said)}")
    return ["Seed by seed:\n\n" + "\n".join(lines)] if lines else []


def _times(found: Sequence[Answer]) -> list[str]:
    """How long compressing took, where the store still has the steps."""
    lines = []
    for a in found:
        steps = [", ".join(f"{step} {s:.0f}" for step, s in cell.seconds().items()) for cell in a.cells]
        if any(steps):
            lines.append(f"- {a.goal['name']}, {a.cells[0].label}: {'; '.join(steps)}")
    return ["Seconds that the steps took on this machine, seed by seed:\n\n" + "\n".join(lines)] if lines else []


def _commands(cells: Sequence[Measured]) -> list[str]:
    # Of records that were kept without their run nobody knows it.
    return [f"`python bench.py {shlex.join(cell.overrides)}`" for cell in cells if cell.overrides]
