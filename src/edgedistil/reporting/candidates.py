"""Cells as candidates for a choice: seeds of one cell together, each figure with its interval, limits on figures."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..measurement.statistics import group_interval
from .gather import Cell
from .intervals import Figure, over_seeds
from .quality import LOSS, Scale, lost, score

# Figures that are times: of cells that were not timed, or not validly, they say nothing.
TIMES = ("latency", "cold_start")
# Engines that may stand beside a cell with its uncompressed parent, the one that ships first.
BASELINES = ("onnxruntime_fp32", "torch_fp32")
UNITS = {"latency": "ms", "cold_start": "ms", "memory": "MB", "size": "MB"}


@dataclass(frozen=True)
class Asked:
    """How figures are read of a row."""

    scale: Scale | None
    scenario: str
    percentile: str


class Candidate:
    """One cell, with as many seeds as there are of it.

    Of several seeds quality is the mean, within the ends of all their intervals, and every other figure the worst.
    """

    def __init__(self, cells: Sequence[Cell], asked: Asked) -> None:
        self.cells, self._asked = list(cells), asked
        self.figures: dict[str, Figure] = {}
        for name, read in (("latency", self._latency), ("size", _size), ("memory", _memory), ("cold_start", _cold)):
            found = [read(cell) for cell in cells]
            if all(found):
                self.figures[name] = max((f for f in found if f), key=lambda f: f.value)
        if asked.scale:
            scored = [f for c in cells if (f := score(c.row, asked.scale))]
            if len(scored) == len(self.cells):
                self.figures["quality"] = over_seeds(scored)
            if drop := lost(self.cells, asked.scale):
                self.figures["drop"] = drop

    @property
    def row(self) -> dict[str, Any]:
        """The first seed's row, for names."""
        return self.cells[0].row

    @property
    def label(self) -> str:
        """``model · task · compression · device``, and the seeds where there are several."""
        seeds = [str(c.row.get("seed")) for c in self.cells if c.row.get("seed") is not None]
        names = " · ".join(str(self.row.get(k) or "-") for k in ("model", "task", "compression", "device"))
        return names + (f" · seeds {', '.join(seeds)}" if len(seeds) > 1 else "")

    @property
    def is_loss(self) -> bool:
        """Whether its quality is a loss: the smaller the better."""
        return self._asked.scale is not None and self._asked.scale.metric == LOSS

    @property
    def not_timed_because(self) -> str | None:
        """Why its times say nothing; None where they do."""
        for cell in self.cells:
            r = cell.row
            if r.get("emulated"):
                return "an emulated device: its times mean nothing"
            if r.get("timed") is False:
                return "not timed (measurement=quality)"
            if r.get("valid") is False:
                which = f" (seed {r.get('seed')})" if len(self.cells) > 1 else ""
                return f"INVALID{which}: {r.get('invalid_because') or 'no reason told'}"
        return None

    def _latency(self, cell: Cell) -> Figure | None:
        column = f"{self._asked.scenario}_latency_ms_{self._asked.percentile}"
        value = cell.row.get(column)
        return None if value is None else Figure(value, *(cell.row.get(f"{column}_ci95_{s}") for s in ("low", "high")))


def candidates(cells: Sequence[Cell], asked: Asked) -> list[Candidate]:
    """Done cells grouped by what they are, but for the seed; of one seed that was measured several times the last that
    is timed and valid, else the last."""
    groups: dict[tuple[str, ...], dict[Any, Cell]] = {}
    for cell in cells:
        if cell.row.get("status") != "done":
            continue
        r = cell.row
        seeds = groups.setdefault(tuple(str(r.get(k)) for k in (*_SAME, "threads")) + _parts(cell), {})
        known = seeds.get(r.get("seed"))
        if known is None or _worth(cell) >= _worth(known):
            seeds[r.get("seed")] = cell
    return [Candidate(list(seeds.values()), asked) for seeds in groups.values()]


_SAME = ("model", "task", "compression", "device", "engine", "head")


def _parts(cell: Cell) -> tuple[str, ...]:
    """What was done in full: names leave some options out."""
    return (json.dumps(cell.measured.record["compression"], sort_keys=True),) if cell.measured else ()


def _worth(cell: Cell) -> tuple[bool, bool]:
    return cell.row.get("timed") is not False, cell.row.get("valid") is not False


def _size(cell: Cell) -> Figure | None:
    value = cell.row.get("size_model_mb")
    return None if value is None else Figure(value, value, value)


def _memory(cell: Cell) -> Figure | None:
    value = cell.row.get("peak_rss_mb_batch_1")
    return None if value is None or cell.row.get("emulated") else Figure(value)


def _cold(cell: Cell) -> Figure | None:
    value = cell.row.get("cold_start_total_ms_p50")
    if value is None:
        return None
    starts = cell.measured.record["cold_start"].get("cold_start_ms_all", []) if cell.measured else []
    return Figure(value, *start_interval(starts))


def start_interval(starts: Sequence[float]) -> tuple[float | None, float | None]:
    """95 % interval (Student's, of the logarithms) of a cold start from each process's total; None of fewer than 3."""
    if len(starts) < 3:
        return None, None
    _, low, high = group_interval([[math.log(ms)] for ms in starts], 0.95)
    return math.exp(low), math.exp(high)
