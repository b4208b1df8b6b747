"""Flat rows of cells (:mod:`..rows`) as what charts and filters need: one score, larger is better or not, and names."""

from collections.abc import Sequence
from typing import Any

from ..pareto import PRECISIONS, front
from ..quality import LOSS, Scale, scale_of, score

Row = dict[str, Any]
Point = dict[str, Any]
LATENCY, SIZE = "tokens_32_latency_ms_p50", "size_model_mb"
# What canonical.compression_label calls a model that nothing was done to.
_PARENT = "dense · FP32"


def key_of(row: Row, number: int) -> str:
    """What names a cell on the page and in its links."""
    return str(row.get("fingerprint") or f"cell{number}")[:12]


def threads_of(rows: Sequence[Row]) -> list[str]:
    """``2 threads`` of each row whose device was measured with several counts of threads, else nothing."""
    counts: dict[str, set[Any]] = {}
    for row in rows:
        if row.get("threads") is not None:
            counts.setdefault(str(row["device"]), set()).add(row["threads"])
    told = {device for device, own in counts.items() if len(own) > 1}
    return [
        f"{r['threads']} thread{'s' if r['threads'] != 1 else ''}"
        if str(r["device"]) in told and r.get("threads") is not None
        else ""
        for r in rows
    ]


def labels_of(rows: Sequence[Row]) -> list[str]:
    """A name for every row that no other of its task and device has: its compression, and what else tells it from the
    others."""
    several = [k for k in ("model", "seed") if len({r.get(k) for r in rows if r["status"] == "done"}) > 1]
    named = []
    for row, threads in zip(rows, threads_of(rows), strict=True):
        more = [f"seed {row[k]}" if k == "seed" else str(row[k]) for k in several if row.get(k) is not None]
        more += [threads] if threads else []
        named.append(" · ".join([str(row["compression"] or "-"), *more]))
    seen: dict[tuple[str, Any, Any], int] = {}
    for index, row in enumerate(rows):
        place = (named[index], row["device"], row["task"])
        seen[place] = seen.get(place, 0) + 1
        if seen[place] > 1:
            named[index] += f" ({seen[place]})"
    return named


def precision_of(row: Row) -> str:
    """The precision's name for people; of a cell that was not measured, as far as its label says."""
    method = row.get("quantization")
    if method is not None:
        return PRECISIONS.get(str(method), str(method))
    named = str(row.get("compression") or "").split(" · ")
    longest_first = sorted(PRECISIONS.values(), key=len, reverse=True)
    return next((p for p in longest_first for part in named if part == p or part.startswith((f"{p},", f"{p} "))), "-")


def points(rows: Sequence[Row]) -> list[Point]:
    """A point for every done row, in order, with ``front_speed`` and ``front_size`` set where nothing measured on the
    same task and device with the same seed and as many threads beats it; those that are INVALID, emulated or untimed
    are on no front of speed."""
    named = labels_of(rows)
    alike: dict[tuple[Any, Any], list[Row]] = {}
    for row in rows:
        alike.setdefault((row["task"], row["device"]), []).append(row)
    scales = {place: _scale(own) for place, own in alike.items()}
    found = [
        _point(r, name, n, scales[r["task"], r["device"]]) | {"threads": threads}
        for n, (r, name, threads) in enumerate(zip(rows, named, threads_of(rows), strict=True))
        if r["status"] == "done"
    ]
    groups: dict[tuple[str, ...], list[Point]] = {}
    for p in found:
        groups.setdefault((p["task"], p["device"], p["seed"], p["threads"]), []).append(p)
    for group in groups.values():
        rated = [p for p in group if p["worth"] is not None]
        for p in front([p for p in rated if p["ms"] is not None and p["quotable"]], "ms", "worth"):
            p["front_speed"] = True
        for p in front([p for p in rated if p["mb"] is not None], "mb", "worth"):
            p["front_size"] = True
    return found


def score_title(rows: Sequence[Row]) -> str:
    """The name of the axis of scores of rows of one task and device."""
    scale = _scale(rows)
    if scale is None:
        return "score"
    return f"{scale.name} (nats, smaller is better)" if scale.metric == LOSS else scale.name


def _scale(rows: Sequence[Row]) -> Scale | None:
    return scale_of([r for r in rows if r["status"] == "done"])


def _point(row: Row, name: str, number: int, scale: Scale | None) -> Point:
    figure = score(row, scale) if scale else None

    def rounded(value: float | None) -> float | None:
        return None if value is None else round(value, 4)

    return {
        "cell": key_of(row, number),
        "name": name,
        "model": str(row["model"]),
        "task": str(row["task"]),
        "device": str(row["device"]),
        "precision": precision_of(row),
        "seed": str(row.get("seed")),
        "metric": scale.name if scale else "",
        "score": rounded(figure.value) if figure else None,
        "low": rounded(figure.low) if figure else None,
        "high": rounded(figure.high) if figure else None,
        "worth": (-figure.value if scale and scale.metric == LOSS else figure.value) if figure else None,
        "ms": row.get(LATENCY),
        "ms_low": row.get(f"{LATENCY}_ci95_low"),
        "ms_high": row.get(f"{LATENCY}_ci95_high"),
        "mb": row.get(SIZE),
        "parent": row["compression"] == _PARENT,
        "masked": bool(row.get("masked")),
        "emulated": bool(row.get("emulated")),
        "quotable": bool(row.get("valid") is not False and row.get("timed", True) and not row.get("emulated")),
        "front_speed": False,
        "front_size": False,
    }
