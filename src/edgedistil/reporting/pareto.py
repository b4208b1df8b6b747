"""Which cells nothing beats, and the picture of them."""

from pathlib import Path
from typing import Any

from .table import markdown

Row = dict[str, Any]
_LATENCY, _SIZE = "tokens_32_latency_ms_p50", "size_model_mb"
_EAGER = "tokens_32_times_faster_than_torch_fp32"
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


def front(rows: list[Row], cost: str, value: str = "accuracy") -> list[Row]:
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

    A row beats another that is at least as good in all that is looked at and better in one of them: accuracy and
    speed, accuracy and size, or all three. Accuracy is that of the test part where all rows have one, else of
    validation; speed is the ratio to eager PyTorch in the same run where all have it, else the median latency at 32
    tokens. Rows that lack a figure are left out, and so are runs that are INVALID.
    """
    value, speed = accuracy_of_front(rows), _EAGER if all(r.get(_EAGER) for r in rows) else _LATENCY
    known = [
        r for r in rows if r.get("valid") is not False and all(r.get(k) is not None for k in (value, speed, _SIZE))
    ]

    def goods(r: Row, *kinds: str) -> list[float]:
        of = {"speed": r[speed] if speed == _EAGER else -r[speed], "size": -r[_SIZE]}
        return [r[value], *(of[kind] for kind in kinds)]

    def unbeaten(r: Row, *kinds: str) -> bool:
        own = goods(r, *kinds)
        others = [goods(o, *kinds) for o in known]
        return not any(o != own and all(a >= b for a, b in zip(o, own, strict=True)) for o in others)

    for r in rows:
        r["front"] = ""
    for r in known:
        names = [kind for kind in ("speed", "size") if unbeaten(r, kind)]
        r["front"] = ", ".join(names) or ("both" if unbeaten(r, "speed", "size") else "")
    return rows


def accuracy_of_front(rows: list[Row]) -> str:
    """The column of accuracy that a front is of."""
    return "test_accuracy" if rows and all(r.get("test_accuracy") is not None for r in rows) else "accuracy"


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
    if not best:
        return []
    value = accuracy_of_front(rows)
    head = ["compression", "test accuracy %" if value == "test_accuracy" else "accuracy %"]
    body = [
        [
            str(r["compression"]),
            f"{100 * r[value]:.2f}",
            f"{r[_EAGER]:.2f}" if r.get(_EAGER) else "-",
            f"{r[_LATENCY]:.2f}",
            f"{r[_SIZE]:.1f}",
            r["front"],
        ]
        for r in best
    ]
    whose = f": {rows[0]['task']} on {rows[0]['device']}, seed {rows[0]['seed']}" if several else ""
    note = (
        f"{len(best)} of {len(rows)} cells: no other is at least as accurate and faster (speed), smaller (size), or "
        "both. By the estimates: neighbours may change places within their intervals, and the best of many cells looks "
        "a little better than it is."
    )
    return [
        f"### What nothing beats on this device{whose}",
        markdown([*head, "× eager FP32 at 32", "p50 ms at 32", "model MB", "front"], body),
        note,
    ]


def draw(rows: list[Row], path: Path) -> None:
    """Accuracy against latency (32 tokens) and against model size, with the front and 95 % intervals, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

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
        for r in points:
            _point(axis, r, cost)
        line = front(points, cost)
        axis.plot([r[cost] for r in line], [100 * r["accuracy"] for r in line], color="0.45", linewidth=1, zorder=1)
        for number, r in enumerate(line):
            axis.annotate(
                _name(r),
                (r[cost], 100 * r["accuracy"]),
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
    axes[0].set_ylabel(f"accuracy on {rows[0]['task']}, {rows[0]['n']} sentences (%, 95 % interval)")
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


def _point(axis: Any, r: Row, cost: str) -> None:
    colour, marker, _ = _STYLE[r["quantization"]]
    middle = 100 * r["accuracy"]
    error = [[middle - 100 * r["accuracy_ci95_low"]], [100 * r["accuracy_ci95_high"] - middle]]
    axis.errorbar([r[cost]], [middle], yerr=error, color=colour, alpha=0.35, linewidth=1, zorder=2)
    axis.plot(
        [r[cost]],
        [middle],
        marker=marker,
        color=colour,
        linestyle="",
        zorder=3,
        markerfacecolor="none" if r["masked"] else colour,
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
