"""One W&B run a sweep, of job type ``report``: the matrix as a table, fronts and ablations as charts, the files."""

from pathlib import Path
from typing import Any

from ..store.files import read_json, write_json
from ..store.fingerprint import fingerprint
from ..store.store import Store
from . import wandb_session
from .ablation import chains, costs
from .cells import measured_cells
from .outcomes import told
from .pareto import mark_fronts
from .quality import Scale, scale_of, score
from .report import files_of
from .rows import rows
from .training import training_rows
from .wandb_artifacts import give_report, take
from .wandb_log import begin, marker_of

Table = tuple[list[str], list[list[Any]]]
# Raised when the same outcomes would give another run.
_VERSION = 2
_COSTS = {"tokens_32_latency_ms_p50": "latency", "size_model_mb": "size"}


def log_report(outcomes: list[dict[str, Any]], node: dict[str, Any], store: Store, name: str, folder: Path) -> bool:
    """Make the run of a sweep's report, or go on with it when its outcomes have changed; returns whether it was done.

    Args:
        name: the sweep's, the group of its other runs.
        folder: where the report's files are.
    """
    identity = [{k: o.get(k) for k in ("status", "why", "fingerprint", "names")} for o in outcomes]
    key = fingerprint({"version": _VERSION, "outcomes": identity})
    run_id = fingerprint({"report": name})[:32]
    marker = marker_of(store.root, node, f"report-{run_id}")
    if marker.exists() and read_json(marker)["outcomes"] == key:
        return False
    counts = {s: sum(o["status"] == s for o in outcomes) for s in sorted({"done", *(o["status"] for o in outcomes)})}
    run = begin(
        node, id=run_id, name=f"report {name}", group=name, job_type="report", tags=["report"],
        config={"sweep": name, "stage": told(outcomes, "stage", "bench"), "outcomes": key},
    )  # fmt: skip
    try:
        run.summary.update({**counts, "cells": len(outcomes)})
        run.log(_logged(outcomes))
        if node.get("models", "none") != "none":
            for record in sorted({o["folder"] for o in outcomes if o["status"] == "done" and o.get("step") == "bench"}):
                take(run, Path(record), str(node["models"]))
            give_report(run, name, files_of(folder))
    finally:
        wandb_session.end(run)
    write_json(marker, {"project": run.project, "id": run.id, "outcomes": key})
    return True


def _logged(outcomes: list[dict[str, Any]]) -> dict[str, Any]:
    import wandb

    trains = told(outcomes, "stage", "bench") == "train"
    flat = training_rows(outcomes) if trains else rows(outcomes)
    logged: dict[str, Any] = {"matrix": _table(matrix_of(flat))}
    if trains:
        return logged
    for whose, group in fronts_of(flat).items():
        for cost, what in _COSTS.items():
            points, scale = [r for r in group if r.get(cost) is not None], scale_of(group)
            if points and scale:
                logged[f"pareto/{what}{whose}"] = wandb.plot.scatter(
                    _table(points_of(points, cost, scale)), cost, "score", title=f"{scale.name} against {what}{whose}"
                )
    found = ablations_of(outcomes)
    for number, (head, body) in enumerate(found):
        suffix = f"/{number + 1}" if len(found) > 1 else ""
        table = _table((head, body))
        logged[f"ablation{suffix}/table"] = table
        for figure in head[1:]:
            if any(line[head.index(figure)] is not None for line in body):
                logged[f"ablation{suffix}/{figure}"] = wandb.plot.bar(
                    _table((["technique", figure], [[line[0], line[head.index(figure)]] for line in body])),
                    "technique", figure, title=f"{figure}, one technique more a row",
                )  # fmt: skip
    return logged


def matrix_of(flat: list[dict[str, Any]]) -> Table:
    """Every cell a line with the columns of ``results.csv`` but for paths of this machine: skipped and failed ones with
    their reasons."""
    columns = list(dict.fromkeys(column for r in flat for column in r if column not in ("record", "folder")))
    return columns, [[r.get(column) for column in columns] for r in flat]


def fronts_of(flat: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The measured rows by what they may be compared within, each row with its place on the front; the key is empty
    where there is one such group."""
    done = [r for r in flat if r["status"] == "done" and scale_of([r]) and not r.get("emulated")]
    groups = mark_fronts([dict(r) for r in done])
    if len(groups) == 1:
        return {"": groups[0]}
    return {"/" + "_".join(str(group[0].get(k)) for k in ("task", "device", "seed")): group for group in groups}


def points_of(group: list[dict[str, Any]], cost: str, scale: Scale) -> Table:
    """The points of a chart: names, cost, score in percent (losses in nats) with its 95 % interval where there is one,
    place on the front."""
    head = ["cell", "precision", cost, "score", "score_low", "score_high", "front"]
    body = []
    for r in sorted(group, key=lambda r: float(r[cost])):
        if told := score(r, scale):
            figures = (None if v is None else round(v, 4) for v in (told.value, told.low, told.high))
            body.append([f"{r['model']} · {r['compression']}", r.get("quantization"), r[cost], *figures, r["front"]])
    return head, body


def ablations_of(outcomes: list[dict[str, Any]]) -> list[Table]:
    """For each chain of cells, of which each holds one technique more than the one before: its figures."""
    head = ["technique", "accuracy_pct", "p50_ms_at_32", "times_faster_than_eager", "model_mb", "peak_rss_mb"]
    found = []
    for ordered in chains(measured_cells(outcomes)):
        body: list[list[Any]] = []
        for cell in ordered:
            accuracy, cost = (cell.record["quality"] or {}).get("accuracy"), costs(cell)
            score = None if accuracy is None else round(100 * accuracy, 4)
            body.append([cell.label, score, *(cost.get(figure) for figure in ("ms", "times", "mb", "rss"))])
        found.append((head, body))
    return found


def _table(table: Table) -> Any:
    import wandb

    columns, body = table
    return wandb.Table(columns=list(columns), data=body, allow_mixed_types=True)
