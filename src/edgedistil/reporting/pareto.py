"""Which cells nothing beats, and the picture of them."""

from pathlib import Path
from typing import Any

Row = dict[str, Any]
# Okabe and Ito's colours, told apart by colour-blind people too; the marker says the same again.
_STYLE = {
    "none": ("#0072B2", "o", "FP32"),
    "int8_dynamic": ("#D55E00", "s", "INT8"),
    "int4_ort": ("#009E73", "^", "4-bit"),
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
    figure.suptitle(f"{rows[0]['model']} on {rows[0]['task']}: hollow = masked, not smaller", fontsize=11)
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
