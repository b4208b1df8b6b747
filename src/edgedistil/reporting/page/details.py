"""Data and specs of what stands behind cells: structures, sensitivity, training curves, techniques added one by one."""

import csv
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..ablation import added_label, chains, costs
from ..ancestry import Found, ancestry
from ..cells import Measured
from ..quality import scale_of
from ..rows import valid
from ..sensitivity import Sensitivity
from .charts import Spec, base

# Points of one curve of a training; more are thinned out.
_MOST_POINTS = 240
_NOT_CURVES = ("epoch", "step")
_ABLATED = {
    "score": "score (%, × 100 or loss)",
    "ms": "p50 ms at 32 tokens",
    "mb": "model on disk (MB)",
    "rss": "peak RSS (MB)",
    "times": "× eager FP32 at 32 tokens",
}


def structures(cells: Sequence[Measured]) -> list[Spec]:
    """Heads and FFN width of every layer of every structure, one entry a layer and part; evenly shaped models too, so
    that what was cut stands beside what it was cut from."""
    found: dict[tuple[Any, ...], list[Spec]] = {}
    for cell in cells:
        layers = cell.record["model"].get("structure")
        if not isinstance(layers, list) or not layers:
            continue
        name = " · ".join(cell.label.split(" · ")[:-1]) or cell.label
        model, task = (str(cell.record["names"].get(k, "-")) for k in ("model", "task"))
        seed = cell.record.get("seed")
        own = [(n, part, int(layer[part])) for n, layer in enumerate(layers) for part in ("heads", "ffn")]
        told = {"name": name, "model": model, "task": task, "seed": seed}
        entries = [{**told, "layer": n, "part": p, "kept": kept} for n, p, kept in own]
        found.setdefault((model, task, name, seed), entries)
    flat = [entry for entries in found.values() for entry in entries]
    full: dict[tuple[str, str], int] = {}
    for entry in flat:
        key = entry["model"], entry["part"]
        full[key] = max(full.get(key, 1), entry["kept"])
    several = [k for k in ("model", "task", "seed") if len({e[k] for e in flat}) > 1]
    for entry in flat:
        entry["share"] = round(entry["kept"] / full[entry["model"], entry["part"]], 4)
        apart = [f"seed {entry[k]}" if k == "seed" else entry[k] for k in several]
        entry["name"] = " · ".join([entry["name"], *apart])
    return flat


def structure_chart(part: str, title: str) -> Spec:
    """Structures down, layers across; the colour is the share that is left, the number what is."""
    place = {
        "y": {"field": "name", "type": "nominal", "title": None, "sort": None, "axis": {"labelLimit": 220}},
        "x": {"field": "layer", "type": "ordinal", "title": f"layer: {title}", "axis": {"labelAngle": 0}},
    }
    colour = {
        "field": "share",
        "type": "quantitative",
        "title": "share left",
        "scale": {"scheme": "@sequential", "domain": [0, 1]},
        "legend": {"format": ".0%"},
    }
    number: Spec = {"condition": {"test": "datum.share > strong", "value": "@on_strong"}, "value": "@on_weak"}
    tips = [{"field": "name"}, {"field": "layer"}, {"field": "kept", "title": f"{title} left"}]
    layers: list[Spec] = [
        {"mark": "rect", "encoding": place | {"color": colour, "tooltip": tips}},
        {"mark": {"type": "text", "fontSize": 11}, "encoding": place | {"text": {"field": "kept"}, "color": number}},
    ]
    chart = base("structures", {"step": 24}, layers, transform=[{"filter": f"datum.part === '{part}'"}])
    return chart | {"params": [*chart["params"], {"name": "strong", "value": "@strong"}]}


def damages(found: Sequence[Sensitivity]) -> list[Spec]:
    """The damage curves of every cut model: share of heads or neurons taken out, and what the score expects of it."""
    entries = []
    for one, which in zip(found, _names(found), strict=True):
        for part in one.parts:
            for units, damage in zip(part.units, part.damage, strict=True):
                # The axis is logarithmic.
                if damage > 0:
                    gone = round(100 * (1 - units / part.all), 3)
                    entry = {"which": which, "kind": part.kind, "layer": part.layer, "gone": gone}
                    entries.append(entry | {"damage": damage, "cut": units == part.kept})
    return entries


def damage_chart(kind: str, which: Sequence[str]) -> Spec:
    """Curves of the layers' heads or neurons; a dot is what was taken out of that layer."""
    x = {
        "field": "gone",
        "type": "quantitative",
        "title": f"{kind} taken out (%); dots: the cut",
        "scale": {"nice": False},
    }
    y = {"field": "damage", "type": "quantitative", "title": "damage expected (log)", "scale": {"type": "log"}}
    colour = {"field": "layer", "type": "ordinal", "scale": {"scheme": "@layers"}}
    tips = [{"field": "layer"}, {"field": "gone", "title": "% out"}, {"field": "damage", "format": ".3~g"}]
    layers: list[Spec] = [
        {"mark": {"type": "line", "strokeWidth": 1.8}, "encoding": {"x": x, "y": y, "color": colour}},
        {
            "transform": [{"filter": "datum.cut"}],
            "mark": {"type": "point", "filled": True, "size": 80},
            "encoding": {"x": x, "y": y, "color": colour, "tooltip": tips},
        },
    ]
    chart = base("damages", 280, layers, transform=[_chosen(), {"filter": f"datum.kind === '{kind}'"}])
    return _with_choice(chart, which, "model")


def node_errors(found: Sequence[Sensitivity]) -> list[Spec]:
    """What quantising each node alone does to the logits."""
    keys = ("node", "rms_ratio", "flips", "bytes_saved", "precision")
    named = zip(found, _names(found), strict=True)
    return [{"which": which, **{k: node[k] for k in keys}} for one, which in named for node in one.nodes]


def _names(found: Sequence[Sensitivity]) -> list[str]:
    """Their labels, those of further seeds, devices and tasks with a number."""
    seen: Counter[str] = Counter()
    named = []
    for one in found:
        seen[one.label] += 1
        named.append(one.label + (f" ({seen[one.label]})" if seen[one.label] > 1 else ""))
    return named


def node_chart(which: Sequence[str]) -> Spec:
    """Bars of the nodes' errors, the worst first."""
    layers = [
        {
            "mark": "bar",
            "encoding": {
                "y": {"field": "node", "type": "nominal", "sort": "-x", "title": None, "axis": {"labelLimit": 260}},
                "x": {
                    "field": "rms_ratio",
                    "type": "quantitative",
                    "title": "rms of the logits' error, quantised alone",
                },
                "color": {"field": "precision", "type": "nominal", "title": "became", "scale": {"range": "@phase"}},
                "tooltip": [{"field": f} for f in ("node", "rms_ratio", "flips", "bytes_saved", "precision")],
            },
        }
    ]
    return _with_choice(base("nodes", {"step": 16}, layers, transform=[_chosen()]), which, "model")


def curves(folders: Sequence[Path]) -> list[Spec]:
    """What the trainings behind ``folders`` wrote step by step: one entry a run, metric and step, at most
    240 of a curve."""
    seen: set[str] = set()
    stores: dict[Path, Found] = {}
    entries = []
    for folder in folders:
        if folder.name in seen:
            continue
        seen.add(folder.name)
        for place, artifact in ancestry(folder, seen, stores.setdefault(folder.parents[2], {})):
            for metric, points in sorted(_metrics(place).items()):
                thinned = points[:: math.ceil(len(points) / _MOST_POINTS)]
                label = f"{artifact['step']}: {artifact['label']}"
                told = {"run": label, "which": f"{metric} ({artifact['step']})", "key": artifact["fingerprint"][:12]}
                entries += [told | {"step": step, "value": value} for step, value in thinned]
    return entries


def curve_chart(metrics: Sequence[str]) -> Spec:
    """One line a training, of the metric that is chosen."""
    layers = [
        {
            "mark": {"type": "line", "point": {"size": 12}, "strokeWidth": 1.5},
            "encoding": {
                "x": {"field": "step", "type": "quantitative", "title": "step"},
                "y": {"field": "value", "type": "quantitative", "title": None, "scale": {"zero": False}},
                "color": {
                    "field": "run",
                    "type": "nominal",
                    "legend": {"orient": "bottom", "columns": 1, "labelLimit": 300},
                },
                "detail": {"field": "key"},
                "tooltip": [{"field": "run"}, {"field": "step"}, {"field": "value", "format": ".5~g"}],
            },
        }
    ]
    return _with_choice(base("curves", 300, layers, transform=[_chosen()]), metrics, "metric")


def ablations(cells: Sequence[Measured]) -> list[Spec]:
    """Data of :func:`ablation_chart`: every chain of cells in which each holds one technique more."""
    entries = []
    for number, chain in enumerate(chains(cells)):
        names = [v for k, v in chain[0].record["names"].items() if k != "compression"]
        title = " · ".join([*names, f"seed {chain[0].record.get('seed')}", f"chain {number + 1}"])
        for order, cell in enumerate(chain):
            label = added_label(chain[order - 1] if order else None, cell)
            for figure, value in _figures(cell).items():
                told = {"which": title, "order": order, "technique": label, "figure": figure}
                entries.append(told | {"value": value})
    return entries


def ablation_chart(figure: str, which: Sequence[str]) -> Spec:
    """Bars of one figure, a technique more from each to the next."""
    y = {
        "field": "technique",
        "type": "nominal",
        "title": None,
        "sort": {"field": "order"},
        "axis": {"labelLimit": 220},
    }
    x: Spec = {"field": "value", "type": "quantitative", "title": _ABLATED[figure]}
    if figure == "score":
        x["scale"] = {"zero": False, "padding": 30}
    mark: Spec = {"type": "point", "filled": True, "size": 90} if figure == "score" else {"type": "bar"}
    text = {"type": "text", "align": "left", "dx": 8, "color": "@ink"}
    layers: list[Spec] = [
        {"mark": mark | {"color": "@accent"}, "encoding": {"x": x, "y": y}},
        {"mark": text, "encoding": {"x": x, "y": y, "text": {"field": "value", "format": ".4~g"}}},
    ]
    chart = base("ablations", {"step": 26}, layers, transform=[_chosen(), {"filter": f"datum.figure === '{figure}'"}])
    return _with_choice(chart, which, "chain")


def _figures(cell: Measured) -> dict[str, float]:
    quality = cell.record.get("test_quality") or cell.record.get("quality") or {}
    found = {k: v for k, v in costs(cell).items() if valid(cell.record) or k not in ("ms", "times")}
    if scale := scale_of([quality]):
        found["score"] = round(scale.factor * quality[scale.metric], 3)
    return found


def _metrics(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """``{metric: [(step, value), ...]}`` of a training's CSV files, those of a resumed run one after another."""
    found: dict[str, list[tuple[int, float]]] = {}
    for file in sorted((folder / "logs").glob("*/metrics.csv")):
        with open(file, encoding="utf-8", newline="") as stream:
            for line in csv.DictReader(stream):
                for metric, text in line.items():
                    # A loss that is no number has no place on an axis.
                    if text and metric not in _NOT_CURVES and line.get("step") and math.isfinite(float(text)):
                        found.setdefault(metric, []).append((int(line["step"]), float(text)))
    return found


def _chosen() -> Spec:
    return {"filter": "datum.which === which"}


def _with_choice(chart: Spec, options: Sequence[str], name: str) -> Spec:
    """The chart with a menu of ``options`` over it."""
    bound = {"input": "select", "options": list(options), "name": f"{name} "}
    menu: Spec = {"name": "which", "value": options[0] if options else None}
    if len(options) > 1:
        menu["bind"] = bound
    return chart | {"params": [*chart["params"], menu]}
