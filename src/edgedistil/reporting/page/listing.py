"""Which cells a page lists when a sweep has more than a page can hold, and what it says of the others.

Cards, fronts, reasons and environment are of all cells. Listed are the cells that those name, then others at even
distances in the order of the jobs, so that every part of a sweep is seen; what is left out is told, with the commands
that show it.
"""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from ..cells import Measured
from ..table import markdown
from .matrix import Problem
from .points import Point, Row, key_of
from .sections import Section

# A page of so many has about 7 MB, and a browser sorts and filters it at once.
MOST_CELLS = 1000
# Of what stands whole in table.md: lines of one table and further tables; reasons; cards, each of a page of a part.
_MOST_LINES, _MOST_TABLES, _MOST_REASONS, _MOST_CARDS = 200, 20, 100, 48
_MOST_PARTS = 40
_ALL = "`--only` takes model, task, compression, device and seed"
Outcome = dict[str, Any]


@dataclass(frozen=True)
class Listed:
    """What a page lists: ``numbers`` of rows, ``keys`` of their cells, and of each kind how many of how many."""

    numbers: list[int]
    keys: set[str]
    kinds: dict[str, tuple[int, int]]

    def of(
        self,
        rows: Sequence[Row],
        points: Sequence[Point],
        measured: Sequence[Measured],
        outcomes: Sequence[Outcome],
    ) -> tuple[list[Row], list[Point], list[Measured], list[Outcome]]:
        """Of each what belongs to the listed rows, and all points of fronts; ``rows`` are of ``outcomes``, each
        fingerprint once."""
        once = _once(outcomes)
        return (
            [rows[n] for n in self.numbers],
            [p for p in points if p["cell"] in self.keys or p["front_speed"] or p["front_size"]],
            [m for m in measured if str(m.record["fingerprint"])[:12] in self.keys],
            [once[n] for n in self.numbers],
        )


def listed(rows: Sequence[Row], points: Sequence[Point], glance: Section) -> Listed | None:
    """The cells that a page lists; None where it lists all of them.

    Args:
        points: of ``rows``, with their fronts.
        glance: the cards; past the most that are read they are left out, which it says.
    """
    if len(rows) <= MOST_CELLS:
        return None
    cards = len(glance.cards)
    if cards > _MOST_CARDS:
        del glance.cards[_MOST_CARDS:]
        glance.lead += f" The first {_MOST_CARDS} of {cards} cards; pages of a part have the others."
    named = {key for card in glance.cards for _, _, key in card["lines"]}
    fronts = {p["cell"] for p in points if p["front_speed"] or p["front_size"]}
    parents = {p["cell"] for p in points if p["parent"]}
    kinds: dict[str, list[int]] = {"named on cards": [], "on a front": [], "FP32 parents": [], "others": []}
    for number, row in enumerate(rows):
        key = key_of(row, number)
        kind = next((k for k, own in zip(kinds, (named, fronts, parents), strict=False) if key in own), "others")
        kinds[kind].append(number)
    rooms = _rooms([len(numbers) for numbers in kinds.values()], MOST_CELLS)
    chosen = sorted(n for numbers, room in zip(kinds.values(), rooms, strict=True) for n in _spread(numbers, room))
    told = {kind: (room, len(numbers)) for (kind, numbers), room in zip(kinds.items(), rooms, strict=True)}
    return Listed(chosen, {key_of(rows[n], n) for n in chosen}, told)


def left_out(rows: Sequence[Row], found: Listed, rendered: Callable[[Sequence[str]], list[Markup]]) -> Section:
    """The section that says what is listed, and how the rest is seen.

    Args:
        rendered: makes HTML of Markdown.
    """
    kinds = ", ".join(f"{own} of {all_of} {kind}" for kind, (own, all_of) in found.kinds.items() if all_of)
    lead = (
        f"{len(found.numbers)} of {len(rows)} cells are listed on this page: {kinds}, at even distances where not all "
        "are. Cards, fronts, reasons and environment are of all cells; matrix, other charts, panels and commands are "
        "of those that are listed, and tables end where they say so. Every cell is in results.csv, results.parquet "
        "and table.md beside this page, and a part of the sweep has a page of its own:"
    )
    return Section("listed", "What is listed", lead, blocks=rendered([_parts(rows, set(found.numbers))]))


def fewer(reasons: list[Problem], found: Listed | None) -> list[Problem]:
    """Reasons on a page that does not list all cells: so many as are read, and how many more there are."""
    if found is None or len(reasons) <= _MOST_REASONS:
        return reasons
    rest = reasons[_MOST_REASONS:]
    cells = sum(len(problem.names) for problem in rest)
    return [*reasons[:_MOST_REASONS], Problem("and", f"{len(rest)} more reasons, of {cells} cells: table.md", [], [])]


def shortened(blocks: Sequence[str], found: Listed | None) -> list[str]:
    """Blocks of Markdown on a page that does not list all cells: tables end after so many lines, and say so."""
    told = [block for block in blocks if block]
    if found is None:
        return told
    kept = [_shortened(block) for block in told[:_MOST_TABLES]]
    rest = len(told) - len(kept)
    return [*kept, *([f"{rest} more tables and notes: table.md."] if rest else [])]


def _shortened(block: str) -> str:
    lines = block.split("\n")
    more = len(lines) - 2 - _MOST_LINES
    if more <= 0 or not lines[0].startswith("|"):
        return block
    return "\n".join(lines[: 2 + _MOST_LINES]) + f"\n\n{more} more lines: table.md."


def _parts(rows: Sequence[Row], numbers: set[int]) -> str:
    """Parts of a sweep, how many of their cells are listed, and the command for each one's own page."""
    for keys in (("task", "device", "model"), ("task", "device"), ("device",)):
        parts: dict[tuple[str, ...], list[int]] = {}
        for number, row in enumerate(rows):
            parts.setdefault(tuple(str(row[k]) for k in keys), []).append(number)
        if len(parts) <= _MOST_PARTS:
            break
    lines = []
    for values, own in list(parts.items())[:_MOST_PARTS]:
        only = " ".join(shlex.quote(f"{k}={v}") for k, v in zip(keys, values, strict=True))
        typed = f"`python -m edgedistil report FOLDER --only {only} --output DIR`"
        lines.append([" · ".join(values), str(len(own)), str(len(numbers.intersection(own))), typed])
    if len(parts) > len(lines):
        lines.append([f"{len(parts) - len(lines)} more", "", "", _ALL])
    return markdown(["part", "cells", "listed", "its own page"], lines)


def _once(outcomes: Sequence[Outcome]) -> list[Outcome]:
    known: set[str] = set()
    found = []
    for outcome in outcomes:
        key = outcome.get("fingerprint")
        if not key or key not in known:
            found.append(outcome)
        known.add(key or "")
    return found


def _rooms(wanted: Sequence[int], room: int) -> list[int]:
    """How many of each kind there is room for: of each up to half of what is left, the last all of it; then what nobody
    has taken, in order."""
    found: list[int] = []
    for place, count in enumerate(wanted):
        left = room - sum(found)
        found.append(min(count, left // 2 if place + 1 < len(wanted) else left))
    for place, count in enumerate(wanted):
        found[place] += min(count - found[place], room - sum(found))
    return found


def _spread(numbers: Sequence[int], room: int) -> list[int]:
    """All of them where there is room, else so many at even distances."""
    if len(numbers) <= room:
        return list(numbers)
    return [numbers[n * len(numbers) // room] for n in range(room)]
