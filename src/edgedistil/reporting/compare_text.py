"""A comparison of two runs for people and for scripts."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .compare import BETTER, NO_INTERVAL, NOISE, OPEN, WORSE, Difference, could_be
from .gather import Cell
from .intervals import turned
from .table import markdown
from .tolerance import Tolerance

_VERDICTS = (WORSE, BETTER, NOISE, NO_INTERVAL, OPEN)
_DIGITS = {"speed": 2, "latency": 3, "size": 2, "memory": 0, "cold_start": 0, "mlm_loss": 4}
_UNITS = {"speed": "×", "latency": "ms", "size": "MB", "memory": "MB", "cold_start": "ms", "mlm_loss": "nats"}
# What decides whether two runs are of one kind.
_ENVIRONMENT = ("host", "cpu", "cores", "isa", "engine")


@dataclass
class Comparison:
    """Cells in both runs with their differences, cells in one alone, and what a gate says."""

    pairs: list[tuple[Cell, Cell, list[Difference]]]
    only_first: list[Cell]
    only_second: list[Cell]
    lost: list[Cell]
    problems: list[str]
    tolerances: list[Tolerance] = field(default_factory=list)
    strict: bool = False
    allow_missing: bool = False
    unreadable: list[str] = field(default_factory=list)

    def past(self) -> list[str]:
        """What goes past a tolerance, a line each. What the second run lost goes past any, and so does a figure that
        can't be judged: a gate that looked at nothing is not open. ``allow_missing`` lets both pass."""
        found = [
            f"{a.label}: {d.figure} {_values(d)}, {_natural(d)}: past {t.text}"
            for a, _, differences in self.pairs
            for d in differences
            for t in self.tolerances
            if t.closes(d, self.strict)
        ]
        return found if self.allow_missing or not self.tolerances else [*found, *self._missing()]

    def _missing(self) -> list[str]:
        found = [
            f"{c.label}: done in the first run, {c.row['status']} in the second: {c.row.get('why')}" for c in self.lost
        ]
        gone = [c for c in self.only_first if not any(could_be(lost, c) for lost in self.lost)]
        found += [f"{c.label}: only in the first run" for c in gone]
        found += [f"of the second run: {problem}" for problem in self.unreadable]
        for a, _, differences in self.pairs:
            for t in self.tolerances:
                if t.judged(differences):
                    continue
                why = next((d.how for d in differences if t.about(d)), "it is not in both")
                found.append(f"{a.label}: {t.figure} could not be judged ({why}), so {t.text} is not shown to hold")
        return found


def lines(found: Comparison) -> list[str]:
    """What ``python -m edgedistil compare`` prints."""
    said = _other_environment(found)
    head = ["cell", "figure", "first", "second", "difference [95 %]", "verdict", "how"]
    body = [
        [_name(a, b, found) if n == 0 else "", d.figure, *_values(d).split(" → "), _natural(d), d.verdict, d.how]
        for a, b, differences in found.pairs
        for n, d in enumerate(differences)
    ]
    said += [markdown(head, body)] if body else []
    counts = {v: sum(d.verdict == v for _, _, ds in found.pairs for d in ds) for v in _VERDICTS}
    cells = f"{len(found.pairs)} cell{'s' if len(found.pairs) != 1 else ''} in both"
    said.append(f"{cells}: {', '.join(f'{n} {v}' for v, n in counts.items() if n) or 'no figure in both'}")
    for which, cells_of in (("first", found.only_first), ("second", found.only_second)):
        said += [f"only in the {which}: {c.label}" for c in cells_of]
    said += [f"lost: {c.label}: {c.row['status']}: {c.row.get('why')}" for c in found.lost]
    past = found.past()
    if found.tolerances:
        told = ", ".join(t.text for t in found.tolerances)
        said += [f"past its tolerance: {line}" for line in past] or [f"within all tolerances ({told})"]
    return said


def as_json(found: Comparison) -> dict[str, Any]:
    """The same as an object for scripts."""
    return {
        "cells": [
            {
                "cell": a.label,
                "first": a.place,
                "second": b.place,
                "differences": [_object(d) for d in differences],
            }
            for a, b, differences in found.pairs
        ],
        "only_first": [c.label for c in found.only_first],
        "only_second": [c.label for c in found.only_second],
        "lost": [c.label for c in found.lost],
        "tolerances": [t.text for t in found.tolerances],
        "past": found.past(),
        "problems": found.problems,
    }


def _object(d: Difference) -> dict[str, Any]:
    return {
        "figure": d.figure,
        "first": d.first,
        "second": d.second,
        "worse_by": d.change.value,
        "worse_by_ci95": [d.change.low, d.change.high],
        "share_of_first": d.relative,
        "verdict": d.verdict,
        "how": d.how,
    }


def _values(d: Difference) -> str:
    digits, unit = _DIGITS.get(d.figure, 2), _UNITS.get(d.figure, "%")
    return f"{d.first:.{digits}f} {unit} → {d.second:.{digits}f} {unit}"


def _natural(d: Difference) -> str:
    """The second less the first, as the figure itself goes: more speed and more accuracy are above 0."""
    change = d.change
    if d.figure == "speed" or d.figure.endswith("_points"):
        change = turned(change)
    by, digits, unit = (100, 1, " %") if d.relative else (1, 2, "")
    digits = 4 if d.figure == "mlm_loss" else digits
    # No minus before a zero.
    value, low, high = (None if v is None else by * v + 0.0 for v in (change.value, change.low, change.high))
    bounds = "" if low is None or high is None else f" [{low:+.{digits}f}, {high:+.{digits}f}]"
    return f"{value:+.{digits}f}{bounds}{unit}"


def _name(a: Cell, b: Cell, found: Comparison) -> str:
    """As short as tells the cells apart."""
    varied = [k for k in ("model", "task", "device") if len({c.row.get(k) for c, _, _ in found.pairs}) > 1]
    seeds = (a.row.get("seed"), b.row.get("seed"))
    many = len({c.row.get("seed") for c, _, _ in found.pairs}) > 1
    tail = (
        [f"seeds {seeds[0]} and {seeds[1]}"]
        if seeds[0] != seeds[1] and None not in seeds
        else [f"seed {seeds[0]}"]
        if many
        else []
    )
    return " · ".join([*(str(a.row.get(k)) for k in varied), str(a.row.get("compression")), *tail])


def _other_environment(found: Comparison) -> list[str]:
    """What differs between the machines of the two runs, as their records say it."""
    said: dict[str, None] = {}
    for a, b, _ in found.pairs:
        if a.measured is None or b.measured is None:
            continue
        one, two = (c.measured.record["environment"] for c in (a, b) if c.measured)
        for key in _ENVIRONMENT:
            if one.get(key) != two.get(key):
                said[f"other {key}: {_short(one.get(key))} → {_short(two.get(key))}"] = None
    return list(said)


def _short(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("versions", value)
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def compared(
    pairs: Sequence[tuple[Cell, Cell]],
    rest: tuple[list[Cell], list[Cell]],
    lost: list[Cell],
    problems: list[str],
    differ: Any,
) -> Comparison:
    """A comparison of pairs by ``differ(first, second) -> list of differences``; a pair whose records are of odd forms
    is a problem, and no crash."""
    found = Comparison([], *rest, lost, problems)
    for a, b in pairs:
        try:
            found.pairs.append((a, b, differ(a, b)))
        except (KeyError, TypeError, AttributeError, ValueError, OSError) as error:
            problems.append(f"{a.label}: can't be compared: {type(error).__name__}: {error}")
    return found
