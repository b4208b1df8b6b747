"""The picture of a sensitivity report: damage curves, the structure that was kept, every node's error and bytes."""

from pathlib import Path
from typing import Any

from ..measurement.units import HEADS, NEURONS
from .sensitivity import Sensitivity

# Nodes beyond these, the mildest, are left to the table.
_MOST_NODES = 40
_HEADS_COLOUR, _FFN_COLOUR = "#0072B2", "#D55E00"
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def draw_sensitivity(found: Sensitivity, path: Path) -> None:
    """Curves of heads and neurons by layer, what was kept, and nodes, as far as they are there, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    left, right = bool(found.structure), bool(found.nodes)
    nodes = found.nodes[:_MOST_NODES]
    height = max(8.0 if found.parts else 4.0, 0.24 * len(nodes) + 1.5)
    figure = pyplot.figure(figsize=(6.6 * left + 6.6 * right, height), layout="constrained")
    columns = figure.subfigures(1, left + right, squeeze=False)[0]
    if left:
        axes = columns[0].subplots(3 if found.parts else 1, 1, squeeze=False)[:, 0]
        if found.parts:
            _curves(axes[0], found, HEADS, "heads")
            _curves(axes[1], found, NEURONS, "FFN neurons")
        _structure(axes[-1], found)
    if right:
        _nodes(columns[-1], nodes, found)
    figure.suptitle(found.label, fontsize=10)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _curves(axis: Any, found: Sensitivity, kind: str, name: str) -> None:
    from matplotlib import colormaps

    parts = [p for p in found.parts if p.kind == kind]
    colours = colormaps["viridis"]
    for place, part in enumerate(parts):
        gone = [100 * (1 - units / part.all) for units in part.units]
        points = [(x, y) for x, y in zip(gone, part.damage, strict=True) if y > 0]
        colour = colours(0.9 * place / max(1, len(parts) - 1))
        axis.plot(*zip(*points, strict=True), color=colour, label=f"layer {part.layer}", linewidth=1.4)
        cut = 100 * (1 - part.kept / part.all)
        if part.damage_at(part.kept) > 0:
            axis.plot([cut], [part.damage_at(part.kept)], "o", color=colour, markersize=6)
    axis.set_yscale("log")
    axis.set_xlim(0, 100)
    axis.set_xlabel(f"{name} taken out (%); dots: what was taken out", fontsize=8)
    axis.set_ylabel("damage expected", fontsize=8)
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.25)
    axis.legend(fontsize=7, ncols=2, loc="lower right")


def _structure(axis: Any, found: Sensitivity) -> None:
    layers = range(len(found.structure))
    for offset, key, colour, name in ((-0.2, "heads", _HEADS_COLOUR, "heads"), (0.2, "ffn", _FFN_COLOUR, "FFN")):
        kept = [s[key] for s in found.structure]
        full = [f[key] for f in found.full]
        places = [i + offset for i in layers]
        axis.bar(places, [100] * len(kept), width=0.36, color=colour, alpha=0.15)
        shares = [100 * k / f for k, f in zip(kept, full, strict=True)]
        axis.bar(places, shares, width=0.36, color=colour, label=name)
        for place, share, count in zip(places, shares, kept, strict=True):
            axis.annotate(str(count), (place, share), ha="center", va="bottom", fontsize=7)
    axis.set_xticks(list(layers), [f"layer {i}" for i in layers], fontsize=8)
    axis.set_ylim(0, 118)
    axis.set_ylabel("kept (%)", fontsize=8)
    axis.tick_params(axis="y", labelsize=8)
    axis.legend(fontsize=7, ncols=2, loc="upper right")


def _nodes(place: Any, nodes: list[dict[str, Any]], found: Sensitivity) -> None:
    error, bytes_saved = place.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    kinds = sorted({str(n["precision"]) for n in nodes})
    colours = {kind: _COLOURS[i % len(_COLOURS)] for i, kind in enumerate(kinds)}
    rows = range(len(nodes))
    error.barh(rows, [n["rms_ratio"] for n in nodes], color=[colours[str(n["precision"])] for n in nodes])
    bytes_saved.barh(rows, [n["bytes_saved"] / 1e6 for n in nodes], color="0.6")
    error.set_yticks(list(rows), [str(n["node"]) for n in nodes], fontsize=7)
    error.invert_yaxis()
    error.margins(y=0.01)
    error.set_xlabel("error of the logits, this node alone\n(rms over the logits' rms)", fontsize=8)
    bytes_saved.set_xlabel("MB saved (log)", fontsize=8)
    if any(n["bytes_saved"] > 0 for n in nodes):
        bytes_saved.set_xscale("log")
    for axis in (error, bytes_saved):
        axis.tick_params(axis="x", labelsize=7)
        axis.grid(alpha=0.25, axis="x")
    handles = [error.barh([0], [0], color=colours[kind], label=kind) for kind in kinds]
    error.legend(handles=handles, fontsize=7, loc="lower right", title="became", title_fontsize=7)
    left_out = len(found.nodes) - len(nodes)
    if left_out:
        error.set_title(f"the worst {len(nodes)}; {left_out} more in the table", fontsize=8)
