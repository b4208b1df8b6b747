"""A chain of techniques, each row with one more than the row above: what each one costs and brings."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from .cells import PARTS, Measured, Parts, eager_ratio, part_label, same
from .quality import LOSS, Scale, scale_of
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


def chains(cells: Sequence[Measured]) -> list[list[Measured]]:
    """Every chain among the cells that share a model, a task, a device and a seed."""
    groups: dict[str, list[Measured]] = {}
    for cell in cells:
        groups.setdefault(cell.rest, []).append(cell)
    return [ordered for ordered in (chain(group) for group in groups.values()) if ordered]


def costs(cell: Measured) -> dict[str, float]:
    """What a cell costs, as far as it was measured: ``mb`` on disk, ``ms`` (p50 at 32 tokens), ``times`` faster than
    PyTorch eager FP32 there, ``rss`` (peak, MB)."""
    record = cell.record
    found: dict[str, float] = {"mb": record["size"]["model_mb"]}
    if not timed(record):
        return found
    found["rss"] = peak_rss_mb(record)
    if "tokens_32" in record["latency"]:
        found["ms"] = record["latency"]["tokens_32"]["latency_ms_p50"]
    if ratio := eager_ratio(record):
        found["times"] = ratio["ratio"]
    return found


def ablation_tables(cells: Sequence[Measured]) -> list[str]:
    """A heading and a table for every chain."""
    found = chains(cells)
    return [part for ordered in found for part in _tables(ordered, len(found) > 1)]


def _tables(ordered: Sequence[Measured], several: bool) -> list[str]:
    record = ordered[0].record
    names = [v for k, v in record["names"].items() if k != "compression"]
    which = f": {' · '.join(names)}, seed {record.get('seed')}" if several else ""
    tested = any("test_quality" in cell.record for cell in ordered)
    scales = {part: scale_of([cell.record.get(part) or {} for cell in ordered]) for part in ("quality", "test_quality")}
    scale, test_scale = scales["quality"] or Scale("accuracy"), scales["test_quality"] or Scale("accuracy")
    head = ["+ technique", scale.name, f"drop ({scale.unit})", "step"]
    head += [f"test {test_scale.name}", "test drop", "step"] if tested else []
    head += ["p50 ms at 32", "× eager FP32", "step", "model MB", "step", "peak RSS MB"]
    body = []
    for index, cell in enumerate(ordered):
        before = ordered[index - 1] if index else None
        line = [added_label(before, cell), *_scores(cell.record, before.record if before else None, "quality", scale)]
        if tested:
            line += _scores(cell.record, before.record if before else None, "test_quality", test_scale)
        body.append(line + _costs(cell.record, before.record if before else None))
    note = (
        "step: against the row above; drop: against the dense FP32 parent. Times are of different runs, ratios are not."
    )
    return [f"### Each technique adds a row{which}", markdown(head, body), note]


def added_label(before: Measured | None, cell: Measured) -> str:
    """The name of what a row of a chain adds to the one before; of the first, what it is."""
    if before is None:
        return cell.label
    added = [p for p in PARTS if p in cell.parts and p not in before.parts]
    return "+ " + " + ".join(part_label(p, cell.parts[p]) for p in added)


def _scores(record: dict[str, Any], before: dict[str, Any] | None, part: str, scale: Scale) -> list[str]:
    quality = record.get(part) or {}
    value = quality.get(scale.metric)
    if value is None:
        return ["-", "-", ""]
    paired, digits = quality.get("against_parent", {}), scale.digits
    # A loss grows where a score drops.
    drop = paired.get("mlm_loss_difference") if scale.metric == LOSS else _less(paired.get(f"{scale.metric}_points"))
    previous = ((before or {}).get(part) or {}).get(scale.metric)
    step = "" if previous is None else f"{scale.factor * (value - previous):+.{digits}f}"
    return [f"{scale.factor * value:.{digits}f}", "-" if drop is None else f"{drop:+.{digits}f}", step]


def _less(points: float | None) -> float | None:
    return None if points is None else 0 - points


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
        f"{latency['latency_ms_p50']:.2f}{remark}" if latency else "-",
        f"{own['ratio']:.2f} [{own['ci95_low']:.2f}, {own['ci95_high']:.2f}]{remark}" if own else "-",
        faster,
        f"{size:.1f}",
        smaller,
        f"{peak_rss_mb(record):.0f}",
    ]
