"""Two runs of the same cells: what differs, by how much, and whether that is more than noise.

Cells are the same when they are named the same (model, task, compression, device, seed); of several with one name those
whose compression is the same in every option. Fingerprints differ as soon as a method's version does, and say nothing
here.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .candidates import BASELINES, start_interval
from .compare_quality import quality_changes
from .gather import Cell
from .intervals import Figure, apart, shares, turned, wider

BETTER, WORSE, NOISE = "better", "worse", "within noise"
# Without an interval nothing is shown; of figures that can't be set beside each other nothing is said.
NO_INTERVAL, OPEN = "no interval", "not judged"
# Shares that mean nothing: a file holds versions and names; memory that a process asks for is counted in pages.
_SAME_SIZE, _SAME_MEMORY = 0.005, 0.03
# Of peaks alone: which pages of mapped files are in memory is the kernel's choice; it moved peaks of one file by 19 %.
_SAME_PEAK = 0.2
RELATIVE = ("speed", "latency", "size", "memory", "cold_start")
QUALITIES = (
    "accuracy_points", "test_accuracy_points", "matthews_correlation_points", "f1_points", "pearson_points", "mlm_loss",
)  # fmt: skip


@dataclass(frozen=True)
class Difference:
    """One figure of one cell in both runs.

    Attributes:
        change: how much worse the second is (below 0: better), in points, nats, or as a share of the first.
        how: what the interval is made of, or why there is no verdict.
    """

    figure: str
    first: float
    second: float
    change: Figure
    verdict: str
    how: str

    @property
    def relative(self) -> bool:
        """Whether the change is a share of the first, and no difference."""
        return self.figure in RELATIVE


def pairs(first: Sequence[Cell], second: Sequence[Cell]) -> tuple[list[tuple[Cell, Cell]], list[Cell], list[Cell]]:
    """(cells in both, cells only in the first, only in the second); cells that are not done are neither's."""
    one, two = ([c for c in cells if c.row.get("status") == "done"] for cells in (first, second))
    found: list[tuple[Cell, Cell]] = []
    for same in (_names_and_parts, _names, names_without_seed):
        mine, theirs = _grouped(one, same), _grouped(two, same)
        both = [(mine[key][0], theirs[key][0]) for key in mine if len(mine[key]) == len(theirs.get(key, [])) == 1]
        found += both
        one = _without(one, [a for a, _ in both])
        two = _without(two, [b for _, b in both])
    return found, one, two


def _grouped(cells: Sequence[Cell], by: Callable[[Cell], str]) -> dict[str, list[Cell]]:
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(by(cell), []).append(cell)
    return groups


def _without(cells: Sequence[Cell], some: Sequence[Cell]) -> list[Cell]:
    gone = {id(cell) for cell in some}
    return [cell for cell in cells if id(cell) not in gone]


def lost_cells(only_first: Sequence[Cell], second: Sequence[Cell]) -> list[Cell]:
    """Cells that are done in the first run alone and failed, or left nothing, in the second: as the second has them."""
    return [
        c
        for c in second
        if c.row["status"] in ("failed", "unfinished") and any(could_be(c, done) for done in only_first)
    ]


def could_be(lost: Cell, done: Cell) -> bool:
    """Whether two cells are called the same, seeds too where both say theirs."""
    seeds = {c.row.get("seed") for c in (lost, done)} - {None}
    return names_without_seed(lost) == names_without_seed(done) and len(seeds) < 2


def differences(a: Cell, b: Cell, scenario: str) -> list[Difference]:
    """Every figure that both cells have: quality, speed, latency, size, memory, cold start."""
    found = [
        Difference(name, one.value, two.value, change, verdict(change), how)
        for name, one, two, change, how in quality_changes(a, b)
    ]
    for baseline in BASELINES:
        if one := _speed(a, b, scenario, baseline):
            found.append(one)
            break
    for read in (_latency(a, b, scenario), _size(a, b), _memory(a, b), _cold(a, b)):
        found += [read] if read else []
    return found


def verdict(change: Figure) -> str:
    """Of how much worse the second is: ``better`` or ``worse`` when the whole interval is; without one nothing is said
    but of equal figures."""
    if change.low is None or change.high is None:
        return NOISE if change.value == 0 else NO_INTERVAL
    return BETTER if change.high < 0 else WORSE if change.low > 0 else NOISE


def _speed(a: Cell, b: Cell, scenario: str, baseline: str) -> Difference | None:
    column = f"{scenario}_times_faster_than_{baseline}"
    one, two = _logs(a, column), _logs(b, column)
    if one is None or two is None:
        return None
    first, second = math.exp(one.value), math.exp(two.value)
    change = turned(shares(apart(one, two)))
    return _timed(a, b, Difference("speed", first, second, change, verdict(change), f"× {baseline}, {scenario}"))


def _latency(a: Cell, b: Cell, scenario: str) -> Difference | None:
    """Milliseconds within one host, wider by what the parent beside each has moved, since that is the machine; on other
    hosts as they would be if the second's matrix product were as fast as the first's."""
    column = f"{scenario}_latency_ms_p50"
    one, two = _logs(a, column), _logs(b, column)
    if one is None or two is None:
        return None
    first, second = math.exp(one.value), math.exp(two.value)
    if _one_host(a, b):
        moved = _moved(a, b, scenario)
        logs, how = wider(apart(one, two), abs(moved)), f"p50, {scenario}; the parent moved {math.expm1(moved):+.0%}"
    else:
        rates = _rate(a), _rate(b)
        if rates[0] is None or rates[1] is None:
            how = "other hosts, and no calibration to compare by"
            return Difference("latency", first, second, Figure(second / first - 1), OPEN, how)
        logs = apart(_times(one, rates[0]), _times(two, rates[1]))
        how = f"p50, {scenario}, other hosts: by the calibration product"
    change = shares(logs)
    return _timed(a, b, Difference("latency", first, second, change, verdict(change), how))


def _moved(a: Cell, b: Cell, scenario: str) -> float:
    """The logarithm of how much slower the parent was in the second run; 0 where none stood beside."""
    times = [
        c.measured.record.get("baselines", {}).get(BASELINES[0], {}).get(scenario, {}).get("latency_ms_p50")
        for c in (a, b)
        if c.measured
    ]
    return math.log(times[1] / times[0]) if len(times) == 2 and all(times) else 0.0


def _size(a: Cell, b: Cell) -> Difference | None:
    column = "size_model_mb"
    return _share("size", column, a, b, _SAME_SIZE, f"the same within {_SAME_SIZE:.1%}")


def _memory(a: Cell, b: Cell) -> Difference | None:
    """The peak, judged by the memory that the process asked for: the rest are pages of mapped files."""
    if a.row.get("emulated") or b.row.get("emulated"):
        return None
    found = _share("memory", "peak_rss_mb_batch_1", a, b, _SAME_PEAK, f"the same within {_SAME_PEAK:.0%}")
    phases = [c.measured.record.get("memory", {}).get("batch_1", {}) for c in (a, b) if c.measured]
    own = [phase.get("rss_anonymous_mb") for phase in phases]
    if found is None or len(own) < 2 or not all(own):
        return found
    share = own[1] / own[0] - 1
    peak = found.change.value
    same = min(abs(share), abs(peak)) <= _SAME_MEMORY or share * peak < 0
    judged = NOISE if same else WORSE if share > 0 else BETTER
    how = f"its own, without files: {own[0]:.1f} → {own[1]:.1f} MB"
    return Difference("memory", found.first, found.second, found.change, judged, how)


def _share(figure: str, column: str, a: Cell, b: Cell, same: float, how: str) -> Difference | None:
    """A figure without an interval: the same within a share that is known to mean nothing."""
    first, second = a.row.get(column), b.row.get(column)
    if not first or second is None:
        return None
    share = second / first - 1
    judged = NOISE if abs(share) <= same else WORSE if share > 0 else BETTER
    return Difference(figure, first, second, Figure(share), judged, how)


def _cold(a: Cell, b: Cell) -> Difference | None:
    """Against the parent's cold start of the same run where both have one, whatever the machine; else on one host."""
    column = "cold_start_total_ms_p50"
    first, second = a.row.get(column), b.row.get(column)
    if not first or not second:
        return None
    own = [_start(c.measured.record["cold_start"]) if c.measured else None for c in (a, b)]
    parents = [
        _start(c.measured.record.get("baseline_cold_start", {}).get(BASELINES[0])) if c.measured else None
        for c in (a, b)
    ]
    if own[0] and own[1] and parents[0] and parents[1]:
        ratios = apart(parents[0], own[0]), apart(parents[1], own[1])
        change, how = shares(apart(*ratios)), "against the parent's, by processes' starts"
    elif own[0] and own[1] and _one_host(a, b):
        change, how = shares(apart(own[0], own[1])), "one host, by processes' starts"
    else:
        why = "other hosts, and no parent's to compare by"
        return Difference("cold_start", first, second, Figure(second / first - 1), OPEN, why)
    return _timed(a, b, Difference("cold_start", first, second, change, verdict(change), how))


def _start(figures: dict[str, Any] | None) -> Figure | None:
    """The logarithm of a cold start."""
    if not figures:
        return None
    ends = start_interval(figures.get("cold_start_ms_all", []))
    return Figure(math.log(figures["cold_start_ms_p50"]["total"]), *(None if e is None else math.log(e) for e in ends))


def _timed(a: Cell, b: Cell, found: Difference) -> Difference:
    """Times of a run that says itself that they may not be quoted decide nothing."""
    for which, cell in (("first", a), ("second", b)):
        why = "emulated" if cell.row.get("emulated") else "INVALID" if cell.row.get("valid") is False else None
        if why:
            told = f"the {which} is {why}"
            return Difference(found.figure, found.first, found.second, Figure(found.change.value), OPEN, told)
    return found


def _logs(cell: Cell, column: str) -> Figure | None:
    values = [cell.row.get(f"{column}{end}") for end in ("", "_ci95_low", "_ci95_high")]
    if not values[0]:
        return None
    return Figure(math.log(values[0]), *(math.log(v) if v else None for v in values[1:]))


def _rate(cell: Cell) -> Figure | None:
    """The logarithm of the calibration product's rate; before and after the run are the ends of what it was."""
    calibration = cell.measured.record.get("calibration", {}) if cell.measured else {}
    rates = [calibration[when]["fp32_gops_per_s"] for when in ("before", "after") if when in calibration]
    rates = rates or [r for r in [cell.row.get("calibration_fp32_gops_per_s")] if r]
    logs = [math.log(rate) for rate in rates]
    return Figure(math.fsum(logs) / len(logs), min(logs), max(logs)) if logs else None


def _times(one: Figure, rate: Figure) -> Figure:
    """Logarithms of milliseconds that a machine of the rate 1 would need."""
    return apart(turned(rate), one)


def _one_host(a: Cell, b: Cell) -> bool:
    """Whether two cells ran on one machine; tables do not say it."""
    if a.measured is None or b.measured is None:
        return False
    one, two = (c.measured.record["environment"] for c in (a, b) if c.measured)
    return all(one.get(k) == two.get(k) for k in ("host", "cpu", "cores", "cpu_family_model_stepping", "isa"))


def names_without_seed(cell: Cell) -> str:
    """Model, task, compression and device: what a cell is called, whatever its seed."""
    return "|".join(str(cell.row.get(k)) for k in ("model", "task", "compression", "device"))


def _names(cell: Cell) -> str:
    return f"{names_without_seed(cell)}|{cell.row.get('seed')}|{cell.row.get('threads')}|{cell.row.get('head')}"


def _names_and_parts(cell: Cell) -> str:
    record = cell.measured.record if cell.measured else {}
    # A cell that was measured several times in one run has another number each.
    return f"{_names(cell)}|{record.get('compression')}|{record.get('measurement', {}).get('repeat')}"
