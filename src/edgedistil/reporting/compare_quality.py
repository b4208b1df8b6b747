"""Whether the second of two runs answers better or worse: on the same sentences where both runs' answers are known."""

from collections.abc import Iterator
from typing import Any

from ..measurement.noninferiority import drop
from ..store.files import read_json
from ..store.store import Store
from .cells import Measured
from .gather import Cell
from .intervals import Figure, apart, turned
from .quality import LOSS, Scale, scale_of, score


def quality_changes(a: Cell, b: Cell) -> Iterator[tuple[str, Figure, Figure, Figure, str]]:
    """(name, first, second, how much worse the second is, what its interval is made of) of every score of both."""
    for scale in _scales(a, b):
        one, two = score(a.row, scale), score(b.row, scale)
        if one is None or two is None:
            continue
        paired = _paired(a.measured, b.measured, scale)
        sign = 1 if scale.metric == LOSS else -1
        change = paired or apart(one, two) if sign > 0 or paired else turned(apart(one, two))
        how = "the same sentences, paired" if paired else ("by intervals" if change.low is not None else "no interval")
        name = scale.column if scale.metric == LOSS else f"{scale.column}_points"
        yield name, one, two, change, how


def _scales(a: Cell, b: Cell) -> list[Scale]:
    scale = scale_of([a.row, b.row])
    if scale is None:
        return []
    return [Scale(scale.metric), scale] if scale.test else [scale]


def _paired(a: Measured | None, b: Measured | None, scale: Scale) -> Figure | None:
    """Points by which the second is worse on the same sentences, from both runs' answers; None where a store no longer
    has them, or they are of other sentences."""
    if a is None or b is None or scale.metric != "accuracy":
        return None
    answers = "test_predictions" if scale.test else "predictions"
    one, two = a.right(answers), b.right(answers)
    if one is None or two is None or one.shape != two.shape or _texts(a, answers) != _texts(b, answers):
        return None
    sentences = a.sentences(answers)
    found = drop([(one.astype(int) - two.astype(int)).tolist()], None if sentences is None else sentences.tolist())
    if (one == two).all():
        return Figure(0.0, 0.0, 0.0)
    return Figure(found.points, *found.interval())


def _texts(cell: Measured, answers: str) -> Any:
    """What says which texts were answered: the data's digest and how they were chosen."""
    source = read_json(cell.folder / "artifact.json")["inputs"][answers]
    folder = Store(cell.folder.parents[2]).path(source["step"], source["fingerprint"])
    options = read_json(folder / "artifact.json").get("options", {})
    task = options.get("task", {})
    chosen = {k: v for k, v in task.items() if k.startswith(("limit", "test", "name", "label", "phrases", "held_out"))}
    drawn = options.get("seed") if chosen.get("limit_validation") or "test" in answers else None
    return options.get("data"), chosen, drawn
