"""Our answer to one published figure: a value with its spread or interval, or the reason why there is none."""

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from .glue import NAMES
from .score_error import Z95, standard_error

Row = dict[str, Any]
_SHARES = ("accuracy", "f1", "matthews_correlation", "exact_match", "glue_score", "pearson", "spearman")
_TIMES = ("_ms", "_per_s", "rss_mb", "times_faster")


def rows_of(cell: dict[str, Any] | None, done: Sequence[Row]) -> list[Row]:
    """The finished rows that answer a published row: the first that does, and the same run's other seeds."""
    found = [r for r in done if cell is not None and all(r.get(k) == v for k, v in cell.items())]
    found.sort(key=lambda r: bool(r.get("emulated")))
    seeds: dict[Any, Row] = {}
    for r in found:
        if all(
            r.get(k) == found[0].get(k) for k in ("model", "task", "run", "compression", "device", "threads", "isa")
        ):
            seeds.setdefault(r.get("seed"), r)
    return list(seeds.values())


def answer(
    figure: dict[str, Any],
    cell: dict[str, Any] | None,
    done: Sequence[Row],
    fill: Callable[[dict[str, Any]], str] | None,
) -> str:
    """What stands in the column ``ours``; never empty.

    Args:
        figure: of a published table; with ``why`` instead of ``column`` it is never answered.
        fill: what to do about a cell that is missing (:func:`edgedistil.reporting.filling.filler`).
    """
    column = figure.get("column")
    if column is None:
        return f"not measured: {figure['why']}"
    rows = rows_of(cell, done)
    if not rows:
        return f"cell missing: {fill(cell or {})}" if fill else "cell missing"
    if all(r.get("emulated") for r in rows) and any(mark in column for mark in _TIMES):
        return "not measured: the device was emulated, its times mean nothing"
    if not any(r.get(column) is not None for r in rows):
        return f"not measured: {_reason(column, rows[0])}"
    return written(column, rows)


def written(column: str, rows: Sequence[Row]) -> str:
    """A figure of one or more seeds: the value with its 95 % interval, or the median [least–greatest] of seeds; and
    whether it is of a sample."""
    having = [r for r in rows if r.get(column) is not None]
    values = sorted(r[column] for r in having)
    form, unit = _form(column)
    text = form(median(values))
    if len(values) > 1:
        text += f"{unit} [{form(values[0])}–{form(values[-1])}], n = {len(values)} seeds"
    else:
        text += unit + _counted(column, having[0])
    part = sampled(having[0]) if is_share(column) else ""
    return text + (f", sample: {part}" if part else "")


def sampled(row: Row) -> str:
    """What of the published splits a row's figures are of; empty where it is all of them."""
    parts = []
    for name in ("train", "validation"):
        if row.get(f"samples_{name}_rows") is not None:
            origin = row.get(f"samples_{name}_from")
            told = f"{origin} as {name}" if origin else name
            parts.append(f"{row[f'samples_{name}_rows']:,} of {row[f'samples_{name}_of']:,} {told}")
    if not parts and row.get("sample"):
        parts.append(f"{row['n']:,} texts" if row.get("n") else "texts")
    return ", ".join(parts)


def is_share(column: str) -> bool:
    """Whether a column holds a fraction that people read as points."""
    return column.removeprefix("validation_").removeprefix("more_splits_mismatched_") in _SHARES


def _form(column: str) -> tuple[Callable[[float], str], str]:
    if is_share(column):
        return (lambda v: f"{100 * v:.2f}"), "" if column == "glue_score" or "correlation" in column else " %"
    if column == "parameters":
        return (lambda v: f"{v:,.0f}"), ""
    if column.endswith("_loss"):
        return (lambda v: f"{v:.4f}"), ""
    return (lambda v: f"{v:.2f}"), _unit(column)


def _unit(column: str) -> str:
    if "_latency_ms_" in column:
        scenario = column.split("_latency_ms_")[0].replace("tokens_", "tokens ")
        what = {"real": "a sentence"}.get(scenario, f"a sentence of {scenario.removeprefix('tokens ')} tokens")
        return f" ms {what} ({column.rsplit('_', 1)[1]})"
    if column.endswith("_sentences_per_s"):
        batch = column.removesuffix("_sentences_per_s").replace("batch_", "batches of ").replace("sorted_", "sorted ")
        return f" sentences/s in {batch}"
    if "_times_faster_than_" in column:
        return f" times faster than {column.split('_times_faster_than_')[1]}"
    if column.startswith("gflops_"):
        return f" GFLOP at {column.split('_')[1]} tokens"
    if "_mb_" in column or column.endswith("_mb"):
        return " MB"
    return " ms" if "_ms" in column else ""


def _counted(column: str, row: Row) -> str:
    """How many texts a score is of, and its interval where the record has one."""
    if not is_share(column):
        return ""
    prefix = "validation_" if column.startswith("validation_") or column == "glue_score" else ""
    low, high = (row.get(f"{column}_ci95_{side}") for side in ("low", "high"))
    error = standard_error(row) if column == "glue_score" and row.get("task") in NAMES else None
    if error is not None:
        low, high = row[column] - Z95 * error, row[column] + Z95 * error
    n = row.get(f"{prefix}n")
    interval = f" [{100 * low:.1f}, {100 * high:.1f}]" if low is not None and high is not None else ""
    return (f" of {n}" if n else "") + interval


def _reason(column: str, row: Row) -> str:
    if is_share(column) and "n" in row and not row["n"]:
        return "random weights, speed and size only"
    if row.get("timed") is False and any(mark in column for mark in _TIMES):
        return "a run without times (measurement=quality)"
    return f"the record has no {column}"
