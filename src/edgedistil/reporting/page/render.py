"""Sections and data to one HTML file: the template, the style sheet and the scripts, all inside."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from . import theme
from .charts import Spec
from .points import Row, key_of, labels_of, precision_of
from .sections import Section

Data = dict[str, list[Spec]]
_ASSETS = files("edgedistil.reporting.page") / "assets"
# Of a flat row, what the page says elsewhere.
_NOT_FIGURES = ("status", "why", "fingerprint", "record", "folder")


@dataclass(frozen=True)
class Title:
    """What a page is of, however its sweep's folder is called: models on tasks, and how many cells of each status."""

    text: str
    summary: str
    cells: int


def titled(rows: Sequence[Row]) -> Title:
    """The title of a page of these rows."""
    models, tasks = (
        ", ".join(dict.fromkeys(str(r[key]) for r in rows if r[key] not in (None, "-"))) for key in ("model", "task")
    )
    counts = Counter(str(r["status"]) for r in rows)
    statuses = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    named = " on ".join(told for told in (models, tasks) if told) or "cells"
    return Title(named, f"{len(rows)} cells: {statuses}", len(rows))


def render(
    rows: Sequence[Row], sections: Sequence[Section], data: Data, plotting: str, title: Title, filtered: bool = True
) -> str:
    """The page as HTML.

    Args:
        rows: flat rows, for filters and the panels of cells.
        sections: in reading order; empty ones are left out.
        data: what the charts read, by name; what none of them reads is left out.
        plotting: the plotting library's script.
        title: of all cells, listed or not.
        filtered: there is more to filter than commands.
    """
    shown = [s for s in sections if s.cards or s.matrix or s.problems or s.charts or s.blocks or s.commands]
    specs = {chart.id: chart.spec for s in shown for chart in s.charts}
    used = {spec["data"]["name"] for spec in specs.values()}
    embedded = {
        **_cells(rows, {c["key"]: c["command"] for s in shown for c in s.commands}),
        "specs": specs,
        "datasets": {name: _by_column(entries) for name, entries in data.items() if name in used},
        "themes": {"light": theme.LIGHT, "dark": theme.DARK},
        "schemes": theme.SCHEMES,
    }
    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    # The marked-up parts are ours, from the installed package, or escaped for a script element by _embedded.
    return template.from_string(_asset("page.html.j2")).render(
        title=title.text,
        summary=title.summary,
        sections=shown,
        filters=_filters(rows) if filtered else [],
        light_css=Markup(theme.css_variables(theme.LIGHT)),  # noqa: S704  # nosec B704
        dark_css=Markup(theme.css_variables(theme.DARK)),  # noqa: S704  # nosec B704
        css=Markup(_asset("page.css")),  # noqa: S704  # nosec B704
        script=Markup(_asset("page.js")),  # noqa: S704  # nosec B704
        library=Markup(plotting),  # noqa: S704  # nosec B704
        data=Markup(_embedded(embedded)),  # noqa: S704  # nosec B704
        version=version("edgedistil"),
        cells=title.cells,
    )


def _filters(rows: Sequence[Row]) -> list[tuple[str, list[str]]]:
    """Devices, precisions, models and tasks: what there is more than one of."""
    values = {
        "device": [str(r["device"]) for r in rows],
        "precision": [precision_of(r) for r in rows],
        "model": [str(r["model"]) for r in rows],
        "task": [str(r["task"]) for r in rows],
    }
    found = [(name, list(dict.fromkeys(told))) for name, told in values.items()]
    return [(name, told) for name, told in found if len(told) > 1]


def _cells(rows: Sequence[Row], commands: dict[str, str]) -> dict[str, Any]:
    """``cells`` with what filters and panels say of each, and every figure of the done ones by column."""
    columns = [c for c in dict.fromkeys(c for r in rows for c in r) if c not in _NOT_FIGURES]
    cells = []
    for number, (row, name) in enumerate(zip(rows, labels_of(rows), strict=True)):
        key = key_of(row, number)
        told = {k: str(row[k]) for k in ("device", "task", "model", "status")}
        record = Path(str(row["record"])).absolute().as_uri() if row.get("record") else None
        more = {"why": row.get("why"), "record": record, "command": commands.get(key)}
        cells.append({"cell": key, "name": name, "precision": precision_of(row), **told, **more})
    figures = {key_of(r, n): [r.get(c) for c in columns] for n, r in enumerate(rows) if r["status"] == "done"}
    return {"cells": cells, "figures": {"columns": columns, "rows": figures}}


def _by_column(entries: Sequence[Spec]) -> dict[str, list[Any]]:
    """``{"columns", "rows"}``: names once and not in every entry."""
    columns = list(dict.fromkeys(key for entry in entries for key in entry))
    return {"columns": columns, "rows": [[entry.get(c) for c in columns] for entry in entries]}


def _embedded(value: Any) -> str:
    """JSON that can't end the script element that it stands in, whatever texts it holds."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")
