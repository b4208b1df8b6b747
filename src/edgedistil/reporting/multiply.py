"""Do the parts multiply? Two parts together against the product of their ratios and the sum of their drops.

Where a sweep holds the four cells (neither, A, B, both, all else equal) the question has an answer: the size and speed
of both against the product of what each part brings alone, and the drop against the sum. Ratios of speed are made of
the four records' own ratios to the same engine, whose intervals are of independent runs and are added in quadrature on
the logarithmic scale. Drops are of the same sentences in all four cells: their interval is a bootstrap of sentences,
each with all its phrases (Efron 1979). A file's size is no estimate; up to 2 % is called a product.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .cells import Measured, eager_ratio, identity_of, part_label, without
from .rows import valid
from .table import markdown

PAIRS = (
    ("pruning", "quantization"),
    ("pruning", "vocabulary"),
    ("vocabulary", "quantization"),
    ("recovery", "pruning"),
)
# (folder of a cell's record, which answers) → which of them are right
Known = dict[tuple[Path, str], Any]
_SIZE_TOLERANCE = 0.02
_RESAMPLES = 4000


@dataclass(frozen=True)
class Four:
    """The four cells of a pair of parts; ``names`` are the parts'."""

    names: tuple[str, str]
    neither: Measured
    first: Measured
    second: Measured
    both: Measured

    @property
    def all(self) -> tuple[Measured, Measured, Measured, Measured]:
        """Neither, first, second, both."""
        return self.neither, self.first, self.second, self.both


def fours(cells: Sequence[Measured]) -> list[Four]:
    """Every pair of :data:`PAIRS` whose four cells are there, in the order of the cells that hold both."""
    found = []
    known: dict[tuple[str, str], Measured] = {}
    for cell in cells:
        known.setdefault(cell.identity, cell)
    for both in cells:
        parts = both.parts
        for a, b in PAIRS:
            if not {a, b} <= parts.keys():
                continue
            bare = without(parts, a, b)
            # Neither cut nor with other tables a model has nothing to recover: taught by itself it stays what it is.
            alone = bare if a == "recovery" and not _other_tables(parts) else without(parts, b, keep=(a,))
            wanted = [bare, alone, without(parts, a, keep=() if a == "recovery" else (b,))]
            others = [known.get(identity_of(both, parts_wanted)) for parts_wanted in wanted]
            if all(others):
                neither, first, second = (cell for cell in others if cell)
                found.append(Four((part_label(a, parts[a]), part_label(b, parts[b])), neither, first, second, both))
    return found


def _other_tables(parts: dict[str, Any]) -> bool:
    return "embeddings" in parts or int(parts.get("vocabulary", {}).get("min_count", 1)) > 1


def size_product(four: Four) -> tuple[float, float, float]:
    """(times smaller by the first part, by the second, by both) of the model's file."""
    sizes = [cell.record["size"]["model_mb"] for cell in four.all]
    return sizes[0] / sizes[1], sizes[0] / sizes[2], sizes[0] / sizes[3]


def speed_product(four: Four) -> dict[str, float] | None:
    """``first``, ``second``, ``both``: times faster at 32 tokens; ``share`` of the product that both reach, and its
    95 % interval ``low``, ``high``; None where no engine stands beside all four cells, or a run is INVALID."""
    if not all(valid(cell.record) for cell in four.all):
        return None
    for baseline in ("torch_fp32", "onnxruntime_fp32"):
        ratios = [eager_ratio(cell.record, baseline) for cell in four.all]
        if not all(ratios):
            continue
        logs = [math.log(r["ratio"]) for r in ratios]
        # A cell that stands on both sides cancels.
        counted = ratios[2:] if four.first is four.neither else ratios
        half = math.sqrt(sum((math.log(r["ci95_high"]) - math.log(r["ci95_low"])) ** 2 / 4 for r in counted))
        share = logs[3] + logs[0] - logs[1] - logs[2]
        return {
            "first": math.exp(logs[1] - logs[0]),
            "second": math.exp(logs[2] - logs[0]),
            "both": math.exp(logs[3] - logs[0]),
            "share": math.exp(share),
            "low": math.exp(share - half),
            "high": math.exp(share + half),
        }
    return None


def drop_sum(four: Four, answers: str = "predictions", known: Known | None = None) -> dict[str, float] | None:
    """``first``, ``second``, ``both``: points of accuracy lost against the cell with neither; ``more``: lost by both
    beyond the sum, and its 95 % interval ``low``, ``high``; None where answers are not in the store.

    Args:
        known: what was read of cells already, which grows: a cell stands in several fours.
    """
    import numpy as np

    known = {} if known is None else known
    for cell in four.all:
        if (key := (cell.folder, answers)) not in known:
            known[key] = cell.right(answers)
    right, sentences = [known[cell.folder, answers] for cell in four.all], four.both.sentences(answers)
    if any(r is None for r in right) or len({len(r) for r in right}) > 1:
        return None
    neither, first, second, both = (r.astype(int) for r in right)
    excess = first + second - neither - both
    _, place = np.unique(np.arange(len(excess)) if sentences is None else sentences, return_inverse=True)
    # Sentences of as many texts and the same sum are one kind: few kinds, however many sentences.
    (sums, texts), counts = np.unique([np.bincount(place, excess), np.bincount(place)], axis=1, return_counts=True)
    drawn = np.random.default_rng(0).multinomial(counts.sum(), counts / counts.sum(), size=_RESAMPLES)
    resampled = drawn @ sums / (drawn @ texts)
    low, high = np.percentile(100 * resampled, [2.5, 97.5])
    return {
        "first": 100 * float((neither - first).mean()),
        "second": 100 * float((neither - second).mean()),
        "both": 100 * float((neither - both).mean()),
        "more": 100 * float(excess.mean()),
        "low": float(low),
        "high": float(high),
    }


def multiply_tables(cells: Sequence[Measured]) -> list[str]:
    """A heading, a table and what its columns are, when four cells of a pair are there; else nothing."""
    found = fours(cells)
    if not found:
        return []
    known: Known = {}
    tested = any(drop_sum(four, "test_predictions", known) for four in found)
    head = ["parts", "both", "× smaller: parts → product", "both", "× faster at 32: parts → product"]
    head += ["both", "share of product [95 %]", "drop: parts → sum", "both", "beyond the sum [95 %]"]
    head += ["test drop: parts → sum", "both", "beyond the sum [95 %]"] if tested else []
    body = [_line(four, tested, known) for four in found]
    note = (
        "Size and speed against the product of what each part brings alone, drops (points of accuracy lost against the "
        "cell with neither) against the sum. `=`: within noise (of sizes: within 2 %). Recovery alone is the cell with "
        "neither: an uncut model has nothing to recover."
    )
    return ["### Do the parts multiply?", markdown([*head, "verdict"], body), note]


def _line(four: Four, tested: bool, known: Known) -> list[str]:
    first, second, both = size_product(four)
    share = both / (first * second)
    size = _word(share, share / (1 + _SIZE_TOLERANCE), share * (1 + _SIZE_TOLERANCE), 1, "less", "more")
    line = [" × ".join(four.names), four.both.label]
    line += [f"{first:.2f} · {second:.2f} → {first * second:.2f}", f"{both:.2f}"]
    words = [f"size {size}"]
    speed = speed_product(four)
    if speed:
        product = speed["first"] * speed["second"]
        line += [f"{speed['first']:.2f} · {speed['second']:.2f} → {product:.2f}", f"{speed['both']:.2f}"]
        line.append(f"{speed['share']:.2f} [{speed['low']:.2f}, {speed['high']:.2f}]")
        words.append(f"speed {_word(speed['share'], speed['low'], speed['high'], 1, 'less', 'more')}")
    else:
        line += ["-"] * 3
        words += [] if all(valid(cell.record) for cell in four.all) else ["speed: a run is INVALID"]
    for answers in ("predictions", "test_predictions")[: 2 if tested else 1]:
        drop = drop_sum(four, answers, known)
        if not drop:
            line += ["-"] * 3
            continue
        total = drop["first"] + drop["second"]
        line += [f"{drop['first']:+.2f} {drop['second']:+.2f} → {total:+.2f}", f"{drop['both']:+.2f}"]
        line.append(f"{drop['more']:+.2f} [{drop['low']:+.2f}, {drop['high']:+.2f}]")
        name = "drop" if answers == "predictions" else "test drop"
        words.append(f"{name} {_word(drop['more'], drop['low'], drop['high'], 0, 'less', 'more')}")
    return [*line, ", ".join(words)]


def _word(value: float, low: float, high: float, neutral: float, less: str, more: str) -> str:
    """``=`` when the interval holds the neutral value."""
    if low <= neutral <= high:
        return "="
    return more if value > neutral else less
