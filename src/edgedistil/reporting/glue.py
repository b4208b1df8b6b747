"""How a task of GLUE is scored and how nine scores become one, as the DistilBERT paper has them.

A task with two metrics contributes their unweighted mean, and the score is the unweighted mean of the nine tasks, WNLI
among them (Wang et al. 2018, arXiv 1804.07461, for the metrics; the paper's own rows for the mean: 68.7, 79.5, 77.0).
"""

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

Row = dict[str, Any]
MISMATCHED = "more_splits_mismatched_accuracy"
NAMES = {
    "cola": "CoLA",
    "mnli": "MNLI",
    "mrpc": "MRPC",
    "qnli": "QNLI",
    "qqp": "QQP",
    "rte": "RTE",
    "sst2": "SST-2",
    "stsb": "STS-B",
    "wnli": "WNLI",
}
_TWO = ("validation_accuracy", "validation_f1")
# Columns of a training's row whose mean is the task's score.
_COLUMNS = {
    "cola": ("validation_matthews_correlation",),
    "mnli": ("validation_accuracy", MISMATCHED),
    "mrpc": _TWO,
    "qqp": _TWO,
    "stsb": ("validation_pearson", "validation_spearman"),
}
METRICS = {
    "cola": "Matthews × 100",
    "mnli": "accuracy, mean of matched and mismatched",
    "mrpc": "mean of accuracy and F1",
    "qqp": "mean of accuracy and F1",
    "stsb": "mean of Pearson and Spearman × 100",
}
# The task of a row that holds the mean of all.
WHOLE = "glue"


def metric(task: str) -> str:
    """A person's name for what a task contributes."""
    return METRICS.get(task, "accuracy")


def columns(row: Row) -> list[str]:
    """The columns of a training's row whose mean is its task's score; none where one is missing or the task is no
    task of GLUE. MNLI without its mismatched split is scored on the matched one alone."""
    task = row.get("task")
    if task not in NAMES:
        return []
    wanted = _COLUMNS.get(str(task), ("validation_accuracy",))
    found = [c for c in wanted if row.get(c) is not None]
    return found if len(found) == len(wanted) or (task == "mnli" and found == [wanted[0]]) else []


def glue_score(row: Row) -> float | None:
    """What a training's row contributes, as a fraction; None where it says too little."""
    found = columns(row)
    return math.fsum(row[c] for c in found) / len(found) if found else None


def macro_score(scores: Mapping[str, float]) -> float | None:
    """The unweighted mean of the nine tasks' scores; None unless all nine are there."""
    if set(scores) != set(NAMES):
        return None
    return math.fsum(scores.values()) / len(NAMES)


def macro_rows(rows: Sequence[Row]) -> list[Row]:
    """For each role that has all nine tasks a row of task ``glue``; its ``glue_score`` is the mean of their medians."""
    found = []
    for role in dict.fromkeys(r.get("role") for r in rows):
        if role is None:
            continue
        own = [r for r in rows if r.get("role") == role and not r.get("taught") and r.get("glue_score") is not None]
        medians = {
            t: median(r["glue_score"] for r in own if r["task"] == t) for t in dict.fromkeys(r["task"] for r in own)
        }
        whole = macro_score(medians)
        if whole is not None:
            found.append({"task": WHOLE, "role": role, "taught": False, "status": "done", "glue_score": whole})
    return found
