"""The sections of a page of bench cells, in reading order; each is left out where there is nothing for it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from ..cells import Measured
from ..quality import LOSS, scale_of
from ..sensitivity import Sensitivity
from . import charts, details
from .charts import Spec
from .matrix import Device, Line, Problem, devices_of, lines_of
from .points import Point, Row, score_title

# What the paired test is of, where it is not of the score.
_TESTED = {"f1": "exact match", "matthews_correlation": "accuracy"}
# Cells of one bar chart that are compared at a glance; the rest is a matter of scrolling.
_TALL = 16


@dataclass
class Chart:
    """A spec with its place: ``device`` and ``task`` hide it when they are filtered out; ``tall`` ones scroll, and
    ``named`` ones keep room for the names beside their bars."""

    id: str
    title: str
    spec: Spec
    device: str = ""
    task: str = ""
    tall: bool = False
    named: bool = False


@dataclass
class Section:
    """A part of the page under one heading; what it has not is empty."""

    id: str
    title: str
    lead: str = ""
    cards: list[dict[str, Any]] = field(default_factory=list)
    matrix: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)
    blocks: list[Markup] = field(default_factory=list)
    commands: list[dict[str, str]] = field(default_factory=list)


def glance(points: Sequence[Point], rows: dict[str, Row]) -> Section:
    """A card for each task, device, model, seed and count of threads: the parent, and the best that a paired test does
    not tell from it.

    Args:
        rows: by the key of their cell.
    """
    cards = []
    groups: dict[tuple[str, ...], list[Point]] = {}
    for p in points:
        groups.setdefault((p["task"], p["device"], p["model"], p["seed"], p["threads"]), []).append(p)
    several = [len({key[place] for key in groups}) > 1 for place in (2, 3)]
    for (task, device, model, seed, threads), own in groups.items():
        rated = [p for p in own if p["worth"] is not None]
        # Tested and not told from the parent; of a cell that nothing was tested of, nothing is said.
        equal = [p for p in rated if told_worse(rows[p["cell"]]) is False]
        timed = [p for p in equal if p["ms"] is not None and p["quotable"]]
        lines = [("dense FP32 parent", _said(p), p["cell"]) for p in own if p["parent"]][:1]
        scale = scale_of([rows[p["cell"]] for p in own])
        best_score = "lowest loss" if scale and scale.metric == LOSS else "highest score"
        tested = " ".join([*_some(_TESTED.get(scale.metric, "") if scale else ""), "not worse by test"])
        for name, among, key in (
            (f"fastest, {tested}", timed, lambda p: p["ms"]),
            (f"smallest, {tested}", equal, lambda p: p["mb"]),
            (best_score, rated, lambda p: -p["worth"]),
        ):
            if among:
                best = min(among, key=key)
                lines.append((name, _said(best), best["cell"]))
        if lines:
            more = [told for told, told_apart in zip((model, f"seed {seed}"), several, strict=True) if told_apart]
            more += _some(threads)
            title = f"{task} on {device}{''.join(f', {word}' for word in more)}"
            cards.append({"title": title, "task": task, "device": device, "model": model, "lines": lines})
    lead = (
        "Not worse by test: the paired test against the cell's own dense FP32 parent on the same texts shows no loss "
        "at p < 0.05. That is no proof of equality; of many cells the best looks a little better than it is. "
        "Milliseconds are of runs that may be quoted: not of INVALID and not of emulated ones."
    )
    return Section("glance", "At a glance", lead, cards=cards)


def told_worse(row: Row) -> bool | None:
    """Whether a paired test says that a cell scores less than its parent (p < 0.05), on the test part where there is
    one; None where nothing was tested."""
    for points, p in (
        ("test_parent_accuracy_points", "test_parent_p"),
        ("parent_exact_match_points", "parent_mcnemar_p"),
        ("parent_pearson_points", "parent_permutation_p"),
        ("parent_accuracy_points", "parent_mcnemar_p"),
    ):
        if row.get(points) is not None and row.get(p) is not None:
            return bool(row[points] < 0 and row[p] < 0.05)
    low = row.get("parent_mlm_loss_difference_ci95_low")
    return None if low is None else bool(low > 0)


def _said(p: Point) -> str:
    parts = [p["name"]]
    parts += [f"{p['metric']} {p['score']:.2f}"] if p["score"] is not None else []
    parts += [f"{p['ms']:.2f} ms"] if p["ms"] is not None and p["quotable"] else []
    parts += [f"{p['mb']:.1f} MB"] if p["mb"] is not None else []
    return " · ".join(parts)


def matrix(rows: Sequence[Row], notes: Sequence[str], reasons: Sequence[Problem]) -> Section:
    """The matrix and, under it, why cells have no figures."""
    devices: list[Device] = devices_of(rows)
    lines = [_line(line) for line in lines_of(rows)]
    kinds = ("model", "task", "seed", "threads")
    told = any(len({line[k] for line in lines if line[k] not in ("", "-")}) > 1 for k in kinds)
    lead = "Every figure opens its cell and leads to its record; the headings sort."
    if any(any(cell.unquoted) for line in lines for cell in line["cells"] if cell):
        lead += " Times that are struck through are of runs that are INVALID, and not to be quoted."
    shown = {"devices": devices, "lines": lines, "told": told}
    return Section("matrix", "The matrix", lead, matrix=shown, notes=list(notes), problems=list(reasons))


def _line(line: Line) -> dict[str, Any]:
    told = " · ".join([line.model, line.task, *([f"seed {line.seed}"] if line.seed else []), *_some(line.threads)])
    precision = next((c.precision for c in line.cells if c is not None and c.precision != "-"), "-")
    return {**vars(line), "told": told, "precision": precision}


def _some(text: str) -> list[str]:
    return [text] if text else []


def fronts(points: Sequence[Point], rows: Sequence[Row], present: Sequence[str]) -> Section:
    """Score against latency and against size, for each task and device."""
    found: list[Chart] = []
    for task, device, own in _groups(points):
        score = score_title([r for r in rows if (str(r["task"]), str(r["device"])) == (task, device)])
        for cost, name, axis in (
            ("ms", "latency", "p50 ms at 32 tokens, batch 1 (log)"),
            ("mb", "size", "MB on disk (log)"),
        ):
            if any(
                p[cost] is not None and p["score"] is not None and not (cost == "ms" and p["emulated"]) for p in own
            ):
                spec = charts.pareto(task, device, cost, axis, score, present)
                title = f"{task} on {device}: quality against {name}"
                found.append(Chart(f"pareto-{name}-{len(found)}", title, spec, device, task))
    lead = (
        "The grey line joins the cells that nothing beats, its names stand beside them; bars are 95 % intervals; the "
        "large ring is the dense FP32 parent; hollow marks are masked (not smaller) or not quotable for times."
    )
    return Section("pareto", "What nothing beats", lead, charts=found)


def latency(entries: Sequence[Spec], present: Sequence[str], left_out: str) -> Section:
    """Latency by length of each task and device.

    Args:
        left_out: what is said of cells that are not drawn.
    """
    found = []
    for n, (task, device, own) in enumerate(_groups(entries)):
        spec = charts.by_length(task, device, present, [e["tokens"] for e in own])
        title = f"{_place(task, device, entries)}: latency by sequence length"
        found.append(Chart(f"length-{n}", title, spec, device, task))
    lead = f"Point at a line to tell it from the others.{left_out}"
    return Section("latency", "Latency by length", lead, charts=found)


def stacks(identity: str, data: str, entries: Sequence[Spec], words: tuple[str, str, str]) -> Section:
    """Stacked bars of phases of each task and device.

    Args:
        words: the section's title, its lead and the axis.
    """
    title, lead, axis = words
    found = []
    for n, (task, device, own) in enumerate(_groups(entries)):
        tall = len({e["cell"] for e in own}) > _TALL
        spec = charts.stacked(data, task, device, axis, charts.phases_in(own))
        whose = f"{_place(task, device, entries)}: {title.lower()}"
        found.append(Chart(f"{identity}-{n}", whose, spec, device, task, tall=tall, named=True))
    return Section(identity, title, lead, charts=found)


def ablation(entries: Sequence[Spec], blocks: Sequence[Markup]) -> Section:
    """Each technique adds a row: charts of the figures that are there, and the tables."""
    which = list(dict.fromkeys(e["which"] for e in entries))
    present = dict.fromkeys(e["figure"] for e in entries)
    titles = {"score": "score", "ms": "latency", "mb": "size", "rss": "memory", "times": "speed"}
    found = [
        Chart(
            f"ablation-{figure}",
            f"Each technique adds a row: {name}",
            details.ablation_chart(figure, which),
            named=True,
        )
        for figure, name in titles.items()
        if figure in present
    ]
    return Section("ablation", "Cumulative ablation", charts=found, blocks=list(blocks))


def structure(entries: Sequence[Spec]) -> Section:
    """Heads and widths of every layer of every structure."""
    tall = len({e["name"] for e in entries}) > _TALL
    found = [
        Chart(
            f"structure-{part}", f"{title} of each layer", details.structure_chart(part, title), tall=tall, named=True
        )
        for part, title in (("heads", "attention heads"), ("ffn", "FFN neurons"))
    ]
    lead = "What each cut left of a model, layer by layer; precisions share their structure."
    return Section("structure", "Structure", lead, charts=found if entries else [])


def sensitivity(found: Sequence[Sensitivity], damages: Sequence[Spec], nodes: Sequence[Spec]) -> Section:
    """What pruning and quantising is expected to cost, part by part."""
    drawn = []
    for kind in dict.fromkeys(e["kind"] for e in damages):
        which = list(dict.fromkeys(e["which"] for e in damages if e["kind"] == kind))
        drawn.append(Chart(f"damage-{kind}", f"Taking out {kind}", details.damage_chart(kind, which)))
    if nodes:
        which = list(dict.fromkeys(e["which"] for e in nodes))
        drawn.append(Chart("nodes", "Quantising one node at a time", details.node_chart(which), tall=True, named=True))
    lead = (
        f"From {len(found)} compressed models. Damage: what the importance score expects before anything is recovered, "
        "in its own measure; compare within a model. Tables: python -m edgedistil sensitivity."
    )
    return Section("sensitivity", "Layer sensitivity", lead, charts=drawn)


def training(entries: Sequence[Spec]) -> Section:
    """Curves of the trainings behind the cells."""
    metrics = list(dict.fromkeys(e["which"] for e in sorted(entries, key=lambda e: e["which"] != "train/loss (train)")))
    chart = Chart("curves", "Training curves", details.curve_chart(metrics))
    lead = "What the trainings behind these models wrote, step by step; long curves are thinned out."
    return Section("training", "Training", lead, charts=[chart] if entries else [])


def _place(task: str, device: str, entries: Sequence[Spec]) -> str:
    """Where something was measured, with the task where there are several."""
    return f"{task} on {device}" if len({e["task"] for e in entries}) > 1 else device


def _groups(points: Sequence[Point]) -> list[tuple[str, str, list[Point]]]:
    found: dict[tuple[str, str], list[Point]] = {}
    for p in points:
        found.setdefault((p["task"], p["device"]), []).append(p)
    return [(task, device, own) for (task, device), own in found.items()]


def memory_peaks(cells: Sequence[Measured]) -> dict[str, dict[str, float]]:
    """``{cell: {phase: highest resident MB}}`` as :func:`charts.memories` takes them."""
    found: dict[str, dict[str, float]] = {}
    for cell in cells:
        memory = cell.record.get("memory") or {}
        phases = {k: v["peak_rss_mb"] for k, v in memory.items() if isinstance(v, dict) and "peak_rss_mb" in v}
        if phases:
            found[str(cell.record["fingerprint"])[:12]] = phases
    return found
