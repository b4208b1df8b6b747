"""Putting a page together: records once read, sections, data for the charts, one file."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markupsafe import Markup

from ...store.store import ARTIFACT_FILE
from ..cells import Measured
from ..filling import command
from ..rows import emulated
from ..sensitivity import all_in
from ..table import notes
from . import charts, details, library, listing, sections
from .charts import Spec
from .environment import environments
from .matrix import problems
from .points import Row, key_of, labels_of, points, precision_of
from .render import Data, render, titled
from .sections import Section

Outcome = dict[str, Any]
Tables = Mapping[str, Sequence[str]]
# Names in tables are other people's words: no link or picture is made of them.
_MARKDOWN = MarkdownIt("js-default", {"html": False, "linkify": False})
_MARKDOWN.disable(["link", "image", "autolink", "reference"])


def page(
    outcomes: Sequence[Outcome], rows: Sequence[Row], measured: Sequence[Measured], tables: Tables, kept: Path
) -> str:
    """The page of a bench sweep's cells as HTML.

    Args:
        outcomes: of the cells, their files checked.
        rows: flat rows of ``outcomes``, in their order (each fingerprint once).
        measured: the done cells among them, those of emulated devices too.
        tables: Markdown that was made already, by what it is about: ``frontier``, ``ablation``, ``multiply``,
            ``peers``, ``references``.
        kept: a folder where the plotting library's script stays for the next page.
    """
    dots, title = points(rows), titled(rows)
    # Of all cells, however many are listed.
    glance = sections.glance(dots, {key_of(r, n): r for n, r in enumerate(rows)})
    few = listing.listed(rows, dots, glance)
    present, reasons = _present(rows), listing.fewer(problems(rows), few)
    pareto = sections.fronts(dots, rows, present)
    explained, machines = notes(list(rows)), _rendered(environments(measured))
    told: list[Section] = []
    if few:
        told = [listing.left_out(rows, few, _rendered)]
        rows, dots, measured, outcomes = few.of(rows, dots, measured, outcomes)
    cells = [cell for cell in measured if not emulated(cell.record)]
    folders = _artifacts(outcomes)
    found = all_in(folders)
    data: Data = {
        "points": charts.links(dots),
        # An emulator's times and memory, and an INVALID run's times, stand in the matrix alone.
        "lengths": _quotable(charts.lengths(rows), dots),
        "starts": _quotable(charts.starts(rows), dots),
        "memories": charts.memories(rows, sections.memory_peaks(cells)),
        "structures": details.structures(cells),
        "ablations": details.ablations(cells),
        "damages": details.damages(found),
        "nodes": details.node_errors(found),
        "curves": details.curves(folders),
    }
    more = [*tables["frontier"], *tables["multiply"], *tables["peers"]]
    sent: list[Section] = [
        *told,
        glance,
        sections.matrix(rows, explained, reasons),
        pareto,
        sections.latency(data["lengths"], present, _left_out(rows)),
        sections.stacks("cold-start", "starts", data["starts"], (_COLD[0], _COLD[1] + _left_out(rows), _COLD[2])),
        sections.stacks("memory", "memories", data["memories"], _MEMORY),
        sections.ablation(data["ablations"], _rendered(listing.shortened(tables["ablation"], few))),
        sections.structure(data["structures"]),
        sections.sensitivity(found, data["damages"], data["nodes"]),
        sections.training(data["curves"]),
        Section("claims", "Claimed against ours", blocks=_rendered(tables["references"])),
        Section("more", "More tables", blocks=_rendered(listing.shortened(more, few))),
        Section("environment", "Environment", blocks=machines),
        Section("commands", "Run a cell again", commands=_commands(outcomes, rows)),
    ]
    return render(rows, sent, data, library.script(kept), title)


def training_page(outcomes: Sequence[Outcome], rows: Sequence[Row], tables: Tables, kept: Path) -> str:
    """The page of a sweep of trainings: their tables, their curves, what failed, their commands."""
    # A run is told from the others by its overrides, where a cell has its compression.
    named: Sequence[Row] = [{"device": "training", "compression": r.get("run") or "as configured", **r} for r in rows]
    few, title = listing.listed(named, [], Section("", "")), titled(named)
    reasons, told = listing.fewer(problems(named), few), list[Section]()
    if few:
        told = [listing.left_out(named, few, _rendered)]
        named, _, _, outcomes = few.of(named, [], [], outcomes)
    curves = details.curves(_artifacts(outcomes))
    runs = _rendered(listing.shortened(tables["matrix"], few))
    sent = [
        *told,
        Section("table", "The runs", blocks=runs, problems=reasons),
        sections.training(curves),
        Section("commands", "Run it again", commands=_commands(outcomes, named)),
    ]
    return render(named, sent, {"curves": curves}, library.script(kept), title, filtered=False)


_COLD = (
    "Cold start by phase",
    "A fresh process to its first logits, medians; files in the page cache.",
    "ms",
)
_MEMORY = (
    "Memory by phase",
    "What each phase added to the highest resident size of the worker's process.",
    "MB of peak RSS",
)


def _artifacts(outcomes: Sequence[Outcome]) -> list[Path]:
    """Folders of what was made; a record that was kept without its run has none."""
    done = [Path(o["folder"]) for o in outcomes if o["status"] == "done"]
    return [folder for folder in done if (folder / ARTIFACT_FILE).is_file()]


def _quotable(entries: Sequence[Spec], dots: Sequence[dict[str, Any]]) -> list[Spec]:
    own = {p["cell"] for p in dots if p["quotable"]}
    return [e for e in entries if e["cell"] in own]


def _left_out(rows: Sequence[Row]) -> str:
    count = sum(r["status"] == "done" and r.get("valid") is False and not r.get("emulated") for r in rows)
    return f" Left out, as their times are not to be quoted: {count} INVALID." if count else ""


def _present(rows: Sequence[Row]) -> list[str]:
    from ..pareto import PRECISIONS

    own = {precision_of(r) for r in rows if r["status"] == "done"}
    return [name for name in PRECISIONS.values() if name in own]


def _rendered(parts: Iterable[str]) -> list[Markup]:
    """Markdown of ours as HTML; what stands in it as HTML is shown, not obeyed."""
    # Escaped by the renderer.
    return [Markup(_MARKDOWN.render(part)) for part in parts if part]  # noqa: S704  # nosec B704


def _commands(outcomes: Sequence[Outcome], rows: Sequence[Row]) -> list[dict[str, str]]:
    by_print = {o.get("fingerprint"): o for o in outcomes if o.get("fingerprint")}
    unprinted = iter([o for o in outcomes if not o.get("fingerprint")])
    found = []
    for number, (row, name) in enumerate(zip(rows, labels_of(rows), strict=True)):
        outcome = by_print.get(row["fingerprint"]) if row["fingerprint"] else next(unprinted, None)
        if outcome is None or "overrides" not in outcome:
            continue
        told = {k: str(row[k]) for k in ("device", "task", "model", "status")}
        named = {"key": key_of(row, number), "name": name, "precision": precision_of(row)}
        found.append({**named, **told, "command": command(outcome)})
    return found
