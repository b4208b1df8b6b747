"""A chain of techniques, each row with one more than the row above: what each one costs and brings."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from .cells import PARTS, Measured, Parts, eager_ratio, part_label, same
from .rows import peak_rss_mb, timed, valid
from .table import markdown

# With fewer rows there is nothing to add up.
_FEWEST = 3


def chain(cells: Sequence[Measured]) -> list[Measured] | None:
    """The cells in the order of a chain, when each holds all that the one before holds and more; else None."""
    ordered = sorted(cells, key=lambda cell: len(cell.parts))
    if len(ordered) < _FEWEST or len({cell.rest for cell in cells}) > 1:
        return None
    for before, after in pairwise(ordered):
        if not _within(before.parts, after.parts):
            return None
    return ordered


def _within(smaller: Parts, larger: Parts) -> bool:
    return smaller.keys() < larger.keys() and all(same({k: v}, {k: larger[k]}) for k, v in smaller.items())


def ablation_tables(cells: Sequence[Measured]) -> list[str]:
    """A heading and a table for every chain: cells that share a model, a task, a device and a seed."""
    groups: dict[str, list[Measured]] = {}
    for cell in cells:
        groups.setdefault(cell.rest, []).append(cell)
    chains = [ordered for ordered in (chain(group) for group in groups.values()) if ordered]
    return [part for ordered in chains for part in _tables(ordered, len(chains) > 1)]


def _tables(ordered: Sequence[Measured], several: bool) -> list[str]:
    record = ordered[0].record
    names = [v for k, v in record["names"].items() if k != "compression"]
    which = f": {' · '.join(names)}, seed {record.get('seed')}" if several else ""
    tested = any("test_quality" in cell.record for cell in ordered)
    head = ["+ technique", "accuracy %", "drop (points)", "step"]
    head += ["test accuracy %", "test drop", "step"] if tested else []
    head += ["p50 ms at 32", "× eager FP32", "step", "model MB", "step", "peak RSS MB"]
    body = []
    for index, cell in enumerate(ordered):
        before = ordered[index - 1] if index else None
        line = [_added(before, cell), *_scores(cell.record, before.record if before else None, "quality")]
        if tested:
            line += _scores(cell.record, before.record if before else None, "test_quality")
        body.append(line + _costs(cell.record, before.record if before else None))
    note = (
        "step: against the row above; drop: against the dense FP32 parent. Times are of different runs, ratios are not."
    )
    return [f"### Each technique adds a row{which}", markdown(head, body), note]


def _added(before: Measured | None, cell: Measured) -> str:
    if before is None:
        return cell.label
    added = [p for p in PARTS if p in cell.parts and p not in before.parts]
    return "+ " + " + ".join(part_label(p, cell.parts[p]) for p in added)


def _scores(record: dict[str, Any], before: dict[str, Any] | None, part: str) -> list[str]:
    quality = record.get(part) or {}
    if "accuracy" not in quality:
        return ["-", "-", ""]
    points = quality.get("against_parent", {}).get("accuracy_points")
    previous = ((before or {}).get(part) or {}).get("accuracy")
    step = "" if previous is None else f"{100 * (quality['accuracy'] - previous):+.2f}"
    return [f"{100 * quality['accuracy']:.2f}", "-" if points is None else f"{0 - points:+.2f}", step]


def _costs(record: dict[str, Any], before: dict[str, Any] | None) -> list[str]:
    size = record["size"]["model_mb"]
    smaller = f"÷ {before['size']['model_mb'] / size:.2f}" if before else ""
    if not timed(record):
        return ["-", "-", "", f"{size:.1f}", smaller, "-"]
    own, other = eager_ratio(record), eager_ratio(before) if before else None
    quotable = valid(record) and valid(before or {})
    faster = f"× {own['ratio'] / other['ratio']:.2f}" if own and other and quotable else ""
    remark = "" if valid(record) else " INVALID"
    latency = record["latency"].get("tokens_32")
    return [
        f"{latency['latency_ms_p50']:.2f}" if latency else "-",
        f"{own['ratio']:.2f} [{own['ci95_low']:.2f}, {own['ci95_high']:.2f}]{remark}" if own else "-",
        faster,
        f"{size:.1f}",
        smaller,
        f"{peak_rss_mb(record):.0f}",
    ]
