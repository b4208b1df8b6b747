"""Which cells nothing beats, and the picture of them."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .quality import LOSS, Scale, scale_of, score
from .table import markdown

Row = dict[str, Any]
_LATENCY, _SIZE = "tokens_32_latency_ms_p50", "size_model_mb"
_EAGER = "tokens_32_times_faster_than_torch_fp32"
# Of a front's cells, told at even distances: more names would stand on one another.
_MOST_NAMES = 40
# Okabe and Ito's colours, told apart by colour-blind people too; the marker says the same again.
_STYLE = {
    "none": ("#0072B2", "o", "FP32"),
    "int8_dynamic": ("#D55E00", "s", "INT8"),
    "int4_ort": ("#009E73", "^", "4-bit"),
    "fp16": ("#F0E442", "X", "FP16"),
    "bf16": ("#999999", "*", "BF16"),
    "nf4": ("#CC79A7", "D", "NF4"),
    "llm_int8": ("#E69F00", "v", "LLM.int8"),
    "int8_static": ("#56B4E9", "P", "INT8 static"),
}
# The names of precisions for people, in the order of legends.
PRECISIONS = {method: name for method, (_, _, name) in _STYLE.items()}


def front(rows: list[Row], cost: str, value: str) -> list[Row]:
    """The rows that no other row beats in ``cost`` (smaller) and ``value`` (larger), cheapest first."""
    best: list[Row] = []
    for r in sorted(rows, key=lambda r: (r[cost], -r[value])):
        if not best or r[value] > best[-1][value]:
            best.append(r)
    return best


def mark_fronts(rows: list[Row]) -> list[list[Row]]:
    """:func:`mark_front` of the rows of each task, device, thread count and seed, which have a front each."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for r in rows:
        groups.setdefault(tuple(r.get(k) for k in ("task", "device", "threads", "seed")), []).append(r)
    return [mark_front(group) for group in groups.values()]


def mark_front(rows: list[Row]) -> list[Row]:
    """Give each row ``front``: in which costs no other row beats it (``speed``, ``size``, ``both``), or nothing.

    A row beats another that is at least as good in all that is looked at and better in one of them: quality and
    speed, quality and size, or all three. Quality is what the task is judged by (:func:`.quality.scale_of`); speed is
    the ratio to eager PyTorch in the same run where all have it, else the median latency at 32 tokens. Rows that lack
    a figure are left out, and so are runs that are INVALID.
    """
    scale, speed = scale_of(rows), _EAGER if all(r.get(_EAGER) for r in rows) else _LATENCY
    known = [
        r
        for r in rows
        if scale and r.get("valid") is not False and all(r.get(k) is not None for k in (scale.column, speed, _SIZE))
    ]

    def goods(r: Row, *kinds: str) -> list[float]:
        assert scale
        of = {"speed": r[speed] if speed == _EAGER else -r[speed], "size": -r[_SIZE]}
        return [_worth(r, scale), *(of[kind] for kind in kinds)]

    for r in rows:
        r["front"] = ""
    fronts = {
        kinds: unbeaten([goods(r, *kinds) for r in known]) for kinds in (("speed",), ("size",), ("speed", "size"))
    }
    for number, r in enumerate(known):
        names = [kind for kind in ("speed", "size") if fronts[(kind,)][number]]
        r["front"] = ", ".join(names) or ("both" if fronts["speed", "size"][number] else "")
    return rows


def _worth(row: Row, scale: Scale) -> float:
    """The score, larger is better."""
    return float(-row[scale.column] if scale.metric == LOSS else row[scale.column])


def unbeaten(goods: Sequence[Sequence[float]]) -> list[bool]:
    """Of each whether no other is at least as good in everything and better in something; larger is better."""
    best: list[Sequence[float]] = []
    found = [False] * len(goods)
    # Whatever beats one stands before it, and is beaten by none or by one of the best itself.
    for number in sorted(range(len(goods)), key=lambda n: tuple(goods[n]), reverse=True):
        own = goods[number]
        found[number] = not any(o != own and all(a >= b for a, b in zip(o, own, strict=True)) for o in best)
        if found[number] and (not best or best[-1] != own):
            best.append(own)
    return found


def frontier_tables(rows: list[Row]) -> list[str]:
    """:func:`frontier_table` of every front."""
    fronts = mark_fronts(rows)
    return [part for front_rows in fronts for part in frontier_table(front_rows, len(fronts) > 1)]


def frontier_table(rows: list[Row], several: bool = False) -> list[str]:
    """The cells that nothing beats, the fastest first, and what that means; ``rows`` are marked.

    Args:
        several: it is one of several tables, and says whose.
    """
    best = sorted((r for r in rows if r["front"]), key=lambda r: r[_LATENCY])
    scale = scale_of(rows)
    if not best or scale is None:
        return []
    head = ["compression", scale.name]
    body = [
        [
            str(r["compression"]),
            f"{scale.factor * r[scale.column]:.{scale.digits}f}",
            f"{r[_EAGER]:.2f}" if r.get(_EAGER) else "-",
            f"{r[_LATENCY]:.2f}",
            f"{r[_SIZE]:.1f}",
            r["front"],
        ]
        for r in best
    ]
    whose = f": {rows[0]['task']} on {rows[0]['device']}, seed {rows[0]['seed']}" if several else ""
    note = (
        f"{len(best)} of {len(rows)} cells: no other is at least as good and faster (speed), smaller (size), or "
        "both. By the estimates: neighbours may change places within their intervals, and the best of many cells looks "
        "a little better than it is."
    )
    return [
        f"### What nothing beats on this device{whose}",
        markdown([*head, "× eager FP32 at 32", "p50 ms at 32", "model MB", "front"], body),
        note,
    ]


def draw(rows: list[Row], path: Path) -> None:
    """Quality against latency (32 tokens) and against model size, with the front and 95 % intervals, as a PNG.

    Args:
        rows: of one task and device, with scores.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    scale = scale_of(rows)
    assert scale
    # The picture's own columns: the score as it is told, and larger is better.
    rows = [{**r, "score": score(r, scale), "worth": _worth(r, scale)} for r in rows if score(r, scale)]
    figure, axes = pyplot.subplots(1, 2, figsize=(13, 5.6), layout="constrained", sharey=True)
    sides = (
        ("tokens_32_latency_ms_p50", "p50 latency at 32 tokens, batch 1 (ms, log)"),
        ("size_model_mb", "model on disk (MB, log)"),
    )
    for axis, (cost, label) in zip(axes, sides, strict=True):
        points = [r for r in rows if cost in r]
        if not points:
            axis.text(0.5, 0.5, "not measured", transform=axis.transAxes, ha="center")
            continue
        for alike in _alike(points):
            _points(axis, alike, cost)
        line = front(points, cost, "worth")
        axis.plot([r[cost] for r in line], [r["score"].value for r in line], color="0.45", linewidth=1, zorder=1)
        for number, r in enumerate(line[:: math.ceil(len(line) / _MOST_NAMES)]):
            axis.annotate(
                _name(r),
                (r[cost], r["score"].value),
                textcoords="offset points",
                fontsize=8,
                xytext=(5, 7 if number % 2 else -13),
            )
        axis.set_xscale("log")
        ticks = sorted(
            {
                round(r[cost], 2 if r[cost] < 10 else 0)
                for r in (min(points, key=lambda r: r[cost]), max(points, key=lambda r: r[cost]), *line)
            }
        )
        axis.set_xticks(_spread(ticks), [f"{t:g}" for t in _spread(ticks)])
        axis.minorticks_off()
        axis.set_xlabel(label)
        axis.grid(alpha=0.25)
    n = rows[0].get("test_n" if scale.test else "n")
    among = f", {n} texts" if n else ""
    axes[0].set_ylabel(f"{scale.name} on {rows[0]['task']}{among} (95 % interval)")
    handles = [
        pyplot.Line2D([], [], color=c, marker=m, linestyle="", label=name)
        for q, (c, m, name) in _STYLE.items()
        if any(r["quantization"] == q for r in rows)
    ]
    handles.append(pyplot.Line2D([], [], color="0.45", label="Pareto front"))
    axes[1].legend(handles=handles, loc="lower right", fontsize=8)
    figure.suptitle(
        f"{rows[0]['model']} on {rows[0]['task']}, {rows[0]['device']}: hollow = masked, not smaller", fontsize=11
    )
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _alike(rows: list[Row]) -> list[list[Row]]:
    """Rows that are drawn with the same mark: one call for each kind, however many cells."""
    groups: dict[tuple[str, bool], list[Row]] = {}
    for r in rows:
        groups.setdefault((r["quantization"], bool(r["masked"])), []).append(r)
    return list(groups.values())


def _points(axis: Any, rows: list[Row], cost: str) -> None:
    colour, marker, _ = _STYLE[rows[0]["quantization"]]
    costs, middles = [r[cost] for r in rows], [r["score"].value for r in rows]
    # Some scores come without an interval.
    error = [
        [0.0 if s.low is None else s.value - s.low for s in (r["score"] for r in rows)],
        [0.0 if s.high is None else s.high - s.value for s in (r["score"] for r in rows)],
    ]
    axis.errorbar(costs, middles, yerr=error, color=colour, alpha=0.35, linewidth=1, linestyle="", zorder=2)
    axis.plot(
        costs,
        middles,
        marker=marker,
        color=colour,
        linestyle="",
        zorder=3,
        markerfacecolor="none" if rows[0]["masked"] else colour,
    )


def _name(r: Row) -> str:
    return str(r["compression"]).replace(" + recovery", "").replace("structured ", "").replace("magnitude ", "masked ")


def _spread(ticks: list[float]) -> list[float]:
    """Ticks at least 8 % apart, so that their labels do not run into each other."""
    kept: list[float] = []
    for tick in ticks:
        if not kept or tick > kept[-1] * 1.08:
            kept.append(tick)
    return kept
