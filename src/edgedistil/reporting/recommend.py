"""Which cell to ship within limits: the best, the runner-up, what the limits cost, or what the nearest miss lacked."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .candidates import BASELINES, TIMES, UNITS, Asked, Candidate
from .gather import Cell
from .intervals import Figure
from .quality import LOSS

PREFERENCES = ("quality", "latency", "size")


@dataclass(frozen=True)
class Limit:
    """``figure`` at most ``value``, or at least; ``option`` is how it was asked."""

    figure: str
    value: float
    option: str
    at_least: bool = False

    def worst(self, figure: Figure, cautious: bool) -> float:
        """What of a figure is held against the limit."""
        return figure.worst(not self.at_least) if cautious else figure.value

    def meets(self, value: float) -> bool:
        """Whether a value is within the limit."""
        return value >= self.value if self.at_least else value <= self.value

    def excess(self, value: float) -> float:
        """By how much of itself the limit is missed; 0 where it is met."""
        missed = self.value - value if self.at_least else value - self.value
        return max(0.0, missed) / max(abs(self.value), 1e-9)


@dataclass(frozen=True)
class Miss:
    """Why a candidate does not qualify; ``excess`` is infinite where a figure is missing."""

    limit: Limit | None
    text: str
    excess: float


@dataclass(frozen=True)
class Choice:
    """The outcome: qualifying candidates, best first; the others with what they lack, the nearest first."""

    ranked: list[Candidate]
    missed: list[tuple[Candidate, list[Miss]]]
    limits: list[Limit]
    prefer: str
    cautious: bool

    def binding(self) -> list[tuple[Limit, Candidate]]:
        """Limits without which another cell would be the best, with that cell."""
        found = []
        for limit in self.limits:
            rest = [other for other in self.limits if other is not limit]
            everybody = [*self.ranked, *(c for c, _ in self.missed)]
            best = choose(everybody, rest, self.prefer, self.cautious).ranked[:1]
            if best and (not self.ranked or best[0] is not self.ranked[0]):
                found.append((limit, best[0]))
        return found


def choose(found: Sequence[Candidate], limits: Sequence[Limit], prefer: str, cautious: bool) -> Choice:
    """Judge and rank.

    Args:
        prefer: what is to be as good as it can be: ``quality``, ``latency`` or ``size``.
        cautious: the 95 % interval's unfavourable end is held against a limit, not the estimate.
    """
    ranked, missed = [], []
    for candidate in found:
        misses = [m for limit in limits if (m := _miss(candidate, limit, cautious))]
        misses += [m] if (m := _lacks_what_is_preferred(candidate, prefer, misses)) else []
        if misses:
            missed.append((candidate, misses))
        else:
            ranked.append(candidate)
    ranked.sort(key=lambda c: _rank(c, prefer))
    missed.sort(key=lambda pair: (len([m for m in pair[1] if math.isinf(m.excess)]), sum(m.excess for m in pair[1])))
    return Choice(ranked, missed, list(limits), prefer, cautious)


def told(figure: str, value: Figure, asked: Asked) -> str:
    """``1.43 ms [1.29, 1.53]``."""
    sign = "+" if figure == "drop" else ""
    digits = 4 if asked.scale and asked.scale.metric == LOSS and figure in ("quality", "drop") else 2
    digits = 0 if figure in ("memory", "cold_start") else digits
    unit = asked.scale.unit if figure == "drop" and asked.scale else UNITS.get(figure, "")
    bounds = (
        ""
        if value.low is None or value.high is None or value.low == value.high
        else (f" [{value.low:{sign}.{digits}f}, {value.high:{sign}.{digits}f}]")
    )
    return f"{value.value:{sign}.{digits}f}{' ' + unit if unit else ''}{bounds}"


def _miss(candidate: Candidate, limit: Limit, cautious: bool) -> Miss | None:
    if limit.figure in TIMES and (why := candidate.not_timed_because):
        return Miss(limit, f"{limit.option}: {why}", math.inf)
    figure = candidate.figures.get(limit.figure)
    if figure is None:
        return Miss(limit, f"{limit.option}: its record has no such figure", math.inf)
    value = limit.worst(figure, cautious)
    if limit.meets(value):
        return None
    sign, end = ("<" if limit.at_least else ">"), "the interval's end " if value != figure.value else ""
    missed = f"{limit.option}: {end}{value:.4g} {sign} {limit.value:g} ({100 * limit.excess(value):.1f} % off)"
    return Miss(limit, missed, limit.excess(value))


def _lacks_what_is_preferred(candidate: Candidate, prefer: str, misses: Sequence[Miss]) -> Miss | None:
    if prefer == "latency" and (why := candidate.not_timed_because):
        known = any(m.limit and m.limit.figure in TIMES for m in misses)
        return None if known else Miss(None, f"--prefer latency: {why}", math.inf)
    if prefer not in candidate.figures:
        return Miss(None, f"--prefer {prefer}: its record has no such figure", math.inf)
    return None


def _rank(candidate: Candidate, prefer: str) -> tuple[float, ...]:
    """Smaller is better; what is not preferred decides between equals, times only where they may be quoted."""
    figures = candidate.figures
    quality = -math.inf
    if "quality" in figures:
        quality = figures["quality"].value if not candidate.is_loss else -figures["quality"].value
    quoted = "latency" in figures and candidate.not_timed_because is None
    by: dict[str, float] = {
        "quality": -quality,
        "latency": figures["latency"].value if quoted else math.inf,
        "size": figures["size"].value if "size" in figures else math.inf,
    }
    return tuple(by[name] for name in (prefer, *(p for p in PREFERENCES if p != prefer)))


def against_parent(candidate: Candidate, asked: Asked) -> dict[str, Any]:
    """What a candidate costs and gains against its own FP32 parent, of the same record: ``drop`` (:class:`Figure`),
    ``within_noise``, ``faster`` (baseline → Figure, of the first seed), ``size``, ``memory``, ``cold_start`` (times
    smaller; of a cold start, times as long; of the seed with the worst)."""
    found: dict[str, Any] = {}
    if drop := candidate.figures.get("drop"):
        found["drop"] = drop
        if drop.low is not None and drop.high is not None:
            found["within_noise"] = drop.low <= 0 <= drop.high
    cell = candidate.cells[0]
    faster = {}
    for baseline in BASELINES:
        column = f"{asked.scenario}_times_faster_than_{baseline}"
        if cell.row.get(column) is not None and candidate.not_timed_because is None:
            faster[baseline] = Figure(cell.row[column], *(cell.row.get(f"{column}_ci95_{s}") for s in ("low", "high")))
    if faster:
        found["faster"] = faster
    each = [_times_smaller(one, candidate.not_timed_because is None) for one in candidate.cells]
    for figure, worst in (("size", min), ("memory", min), ("cold_start", max)):
        known = [ratios[figure] for ratios in each if figure in ratios]
        if known and len(known) == len(each):
            found[figure] = worst(known)
    return found


def _times_smaller(cell: Cell, timed: bool) -> dict[str, float]:
    """Ratios of one cell within its own record: times smaller than its parent; of a cold start, times as long."""
    found: dict[str, float] = {}
    record, row = (cell.measured.record if cell.measured else {}), cell.row
    if (parent := record.get("parent_size")) and row.get("size_model_mb"):
        found["size"] = float(parent["model_mb"]) / row["size_model_mb"]
    memory = (record.get("baseline_memory") or {}).get(BASELINES[0])
    if memory and row.get("peak_rss_mb_batch_1"):
        found["memory"] = max(memory[p]["peak_rss_mb"] for p in ("after_load", "batch_1")) / row["peak_rss_mb_batch_1"]
    cold = (record.get("baseline_cold_start") or {}).get(BASELINES[0])
    if timed and cold and row.get("cold_start_total_ms_p50"):
        found["cold_start"] = row["cold_start_total_ms_p50"] / cold["cold_start_ms_p50"]["total"]
    return found
