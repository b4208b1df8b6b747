"""Charts of cells as Vega-Lite specs: quality against cost, latency by length, and what cold start and memory are of.

A spec's data are named (``points``, ``lengths``, ...) and filled in by the page's script, which also replaces strings
that begin with ``@`` by the colours of the light or the dark theme, and sets the parameter ``shown`` (keys of cells)
when something is filtered.
"""

from collections.abc import Sequence
from typing import Any

from .points import Point, Row, key_of, labels_of, precision_of

Spec = dict[str, Any]
# Shapes tell precisions apart where colours do not.
SHAPES = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left"]
_SHOWN: Spec = {"name": "shown", "value": None}
KEPT = "shown === null || indexof(shown, datum.cell) >= 0"
_START_PHASES = ("started", "imported", "read", "tokenizer", "session", "first_logits")
_MEMORY_PHASES = ("imported", "read", "tokenizer", "session", "first_logits", "batch_1", "batches")


def base(data: str, height: Any, layers: list[Spec], **more: Any) -> Spec:
    """A chart as wide as the page lets it be."""
    return {
        "data": {"name": data},
        "width": "container",
        "height": height,
        "params": [_SHOWN],
        "layer": layers,
        **more,
    }


def precision_marks(present: Sequence[str]) -> Spec:
    """Colour and shape of precisions, the same in all charts of a page."""
    field: Spec = {"field": "precision", "type": "nominal", "title": "precision"}
    colour = field | {"scale": {"domain": list(present), "range": "@precision"}}
    return {"color": colour, "shape": field | {"scale": {"domain": list(present), "range": SHAPES[: len(present)]}}}


def pareto(task: str, device: str, cost: str, title: str, score: str, present: Sequence[str]) -> Spec:
    """Score against ``cost`` (``ms`` or ``mb``) with 95 % intervals; the front as a line, its cells by name.

    Args:
        title: of the axis of costs.
        score: of the axis of scores.
        present: precisions on the page.
    """
    front = "front_speed" if cost == "ms" else "front_size"
    mark = precision_marks(present)
    colour = mark["color"]
    worse_is_more = "smaller is better" in score
    x = {"field": cost, "type": "quantitative", "title": title, "scale": {"type": "log", "nice": False, "padding": 24}}
    x["axis"] = {"labelOverlap": "greedy", "tickCount": 6}
    y = {"field": "score", "type": "quantitative", "title": score, "scale": {"zero": False, "reverse": worse_is_more}}
    tips = [("name", "cell"), ("precision", "precision"), ("model", "model")]
    tooltip: list[Spec] = [{"field": f, "title": t} for f, t in tips]
    tooltip += [
        {"field": f, "title": t, "format": ".4~g"}
        for f, t in (
            ("score", score),
            ("low", "95 % from"),
            ("high", "to"),
            ("ms", "p50 ms at 32 tokens"),
            ("mb", "MB"),
        )
    ]
    known = f"isValid(datum.{cost}) && isValid(datum.score)"
    on_front: Spec = {"filter": f"datum.{front}"}
    bars = {"type": "rule", "opacity": 0.4}
    layers: list[Spec] = [
        {"mark": bars, "encoding": {"x": x, "y": y | {"field": "low"}, "y2": {"field": "high"}, "color": colour}},
        {
            "transform": [on_front],
            "mark": {"type": "line", "color": "@muted", "strokeWidth": 1.5},
            "encoding": {"x": x, "y": y, "order": {"field": cost}, "detail": [{"field": "seed"}, {"field": "threads"}]},
        },
        {
            "transform": [{"filter": "datum.parent"}],
            "mark": {"type": "point", "shape": "circle", "size": 360, "strokeWidth": 1.5, "filled": False},
            "encoding": {"x": x, "y": y, "color": {"value": "@ink"}},
        },
    ]
    doubtful = "datum.masked || !datum.quotable"
    told = {"x": x, "y": y, **mark, "tooltip": tooltip, "href": {"field": "link"}}
    for which, filled in ((f"!({doubtful})", True), (doubtful, False)):
        point = {"type": "point", "size": 90, "strokeWidth": 2, "filled": filled}
        layers.append({"transform": [{"filter": which}], "mark": point, "encoding": told})
    # Neighbours on a front have their names on different heights, all on the side where there is room.
    place = {"window": [{"op": "row_number", "as": "place"}], "sort": [{"field": cost}]}
    middle = {
        "joinaggregate": [{"op": "min", "field": cost, "as": "least"}, {"op": "max", "field": cost, "as": "most"}]
    }
    left = f"datum.{cost} * datum.{cost} < datum.least * datum.most"
    name: Spec = {"type": "text", "fontSize": 11, "color": "@ink", "limit": 240, "baseline": "middle"}
    name |= {"dy": {"expr": "datum.place % 2 ? -16 : 17"}, "align": {"expr": f"{left} ? 'left' : 'right'"}}
    layers.append(
        {
            "transform": [middle, on_front, place],
            "mark": name,
            "encoding": {"x": x, "y": y, "text": {"field": "name"}},
        }
    )
    if cost == "ms":
        across = {"x": x | {"field": "ms_low"}, "x2": {"field": "ms_high"}, "y": y, "color": colour}
        layers.insert(0, {"mark": bars, "encoding": across})
    return base("points", 340, layers, transform=[_own(task, device), {"filter": known}, {"filter": KEPT}])


def lengths(rows: Sequence[Row]) -> list[Spec]:
    """Data of :func:`by_length`: one entry a cell and fixed length that it was timed at."""
    found = []
    for number, (row, name) in enumerate(zip(rows, labels_of(rows), strict=True)):
        for column in row:
            if not (column.startswith("tokens_") and column.endswith("_latency_ms_p50")):
                continue
            bounds = {side: row.get(f"{column}_ci95_{side}") for side in ("low", "high")}
            told = {"tokens": int(column.split("_")[1]), "ms": row[column], **bounds}
            found.append(_named(row, name, number) | told)
    return found


def by_length(task: str, device: str, present: Sequence[str], ticks: Sequence[int]) -> Spec:
    """Median latency of one text by its tokens (those of ``ticks``), both axes logarithmic."""
    mark = precision_marks(present)
    colour = mark["color"]
    x = {"field": "tokens", "type": "quantitative", "title": "tokens", "scale": {"type": "log", "base": 2}}
    x["axis"] = {"values": sorted(set(ticks))}
    y = {"field": "ms", "type": "quantitative", "title": "p50 latency, batch 1 (ms, log)", "scale": {"type": "log"}}
    hover = {"name": "hover", "select": {"type": "point", "on": "pointerover", "fields": ["cell"], "nearest": True}}
    strength = {"condition": {"param": "hover", "empty": False, "value": 1}, "value": 0.55}
    width = {"condition": {"param": "hover", "empty": False, "value": 3.5}, "value": 1.5}
    tooltip = [
        {"field": "name", "title": "cell"},
        {"field": "tokens"},
        *(
            {"field": f, "title": t, "format": ".4~g"}
            for f, t in (("ms", "p50 ms"), ("low", "95 % from"), ("high", "to"))
        ),
    ]
    line = {"x": x, "y": y, "color": colour, "detail": {"field": "cell"}, "opacity": strength, "strokeWidth": width}
    dots = {"x": x, "y": y, **mark, "opacity": strength, "tooltip": tooltip}
    layers: list[Spec] = [
        {"mark": {"type": "line"}, "encoding": line},
        {"mark": {"type": "point", "size": 50}, "encoding": dots, "params": [hover]},
    ]
    return base("lengths", 340, layers, transform=[_own(task, device), {"filter": KEPT}])


def starts(rows: Sequence[Row]) -> list[Spec]:
    """Data of :func:`stacked` for cold starts: milliseconds of each phase of each cell."""
    return _phases(rows, _START_PHASES, lambda row, phase, _: row.get(f"cold_start_{phase}_ms_p50"))


def memories(rows: Sequence[Row], peaks: dict[str, dict[str, float]]) -> list[Spec]:
    """Data of :func:`stacked` for memory: what each phase added to the highest resident size (MB).

    Args:
        peaks: ``{cell: {phase: highest resident MB up to the end of the phase}}``.
    """
    found = []
    for number, (row, name) in enumerate(zip(rows, labels_of(rows), strict=True)):
        highest = 0.0
        for order, phase in enumerate(_MEMORY_PHASES):
            peak = peaks.get(key_of(row, number), {}).get(phase)
            if peak is None:
                continue
            added, highest = max(0.0, peak - highest), max(peak, highest)
            found.append(_named(row, name, number) | {"phase": phase, "order": order, "value": round(added, 3)})
    return found


def stacked(data: str, task: str, device: str, title: str, phases: Sequence[str]) -> Spec:
    """Horizontal bars of phases on one another, the least in all first."""
    layers = [
        {
            "mark": {"type": "bar"},
            "encoding": {
                "y": {
                    "field": "name",
                    "type": "nominal",
                    "title": None,
                    "sort": {"field": "value", "op": "sum"},
                    "axis": {"labelLimit": 240},
                },
                "x": {"field": "value", "type": "quantitative", "title": title, "stack": "zero"},
                "color": {
                    "field": "phase",
                    "type": "nominal",
                    "scale": {"domain": list(phases), "range": "@phase"},
                    "title": "phase",
                },
                "order": {"field": "order"},
                "tooltip": [
                    {"field": "name", "title": "cell"},
                    {"field": "phase"},
                    {"field": "value", "title": title, "format": ".4~g"},
                ],
            },
        }
    ]
    return base(data, {"step": 20}, layers, transform=[_own(task, device), {"filter": KEPT}])


def phases_in(entries: Sequence[Spec]) -> list[str]:
    """The phases that occur, in their order in time."""
    return list(dict.fromkeys(e["phase"] for e in sorted(entries, key=lambda e: e["order"])))


def _phases(rows: Sequence[Row], names: Sequence[str], value: Any) -> list[Spec]:
    found = []
    for number, (row, name) in enumerate(zip(rows, labels_of(rows), strict=True)):
        for order, phase in enumerate(names):
            told = value(row, phase, number)
            if told is not None:
                found.append(_named(row, name, number) | {"phase": phase, "order": order, "value": told})
    return found


def _named(row: Row, name: str, number: int) -> Spec:
    said = {"cell": key_of(row, number), "name": name, "device": str(row["device"]), "task": str(row["task"])}
    return said | {"precision": precision_of(row)}


def _own(task: str, device: str) -> Spec:
    """Cells of one task on one device: names of cells are told apart there."""
    return {"filter": f"datum.task === {_quoted(task)} && datum.device === {_quoted(device)}"}


def _quoted(text: str) -> str:
    """A string of an expression of Vega's."""
    import json

    return json.dumps(text)


def links(points: Sequence[Point]) -> list[Point]:
    """The points, each with the address of its cell on the page."""
    return [p | {"link": f"#cell-{p['cell']}"} for p in points]
