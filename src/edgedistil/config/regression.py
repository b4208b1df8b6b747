"""Checks of a task whose labels are numbers to be predicted as they are."""

from typing import Any

from ..errors import UserError

METRICS = ("pearson", "spearman")


def check_regression(plain: dict[str, Any]) -> None:
    """See that metrics and options fit labels that are numbers, or that are classes.

    Raises:
        UserError: a metric of the other kind, names of classes, or an option that counts right answers.
    """
    task, compression = plain["task"], plain.get("compression")
    if not task["regression"]:
        if wrong := [m for m in task["metrics"] if m in METRICS]:
            raise UserError(f"task.metrics holds {wrong[0]}, which scores numbers: set task.regression=true for them")
        return
    if task["kind"] != "sequence_classification":
        raise UserError(f"task.regression=true is of one number a text; task.kind={task['kind']} has others")
    if task["labels"]:
        raise UserError(f"task.labels={task['labels']} names classes, but task.regression=true predicts a number")
    if wrong := [m for m in task["metrics"] if m not in METRICS]:
        raise UserError(f"task.metrics holds {wrong[0]}, which scores classes; of numbers: {', '.join(METRICS)}")
    if compression:
        quantization = compression["quantization"]
        for option in ("max_drop", "sensitivity"):
            if quantization[option]:
                raise UserError(
                    f"compression.quantization.{option} counts right answers, and task.regression=true has none: "
                    "leave it out"
                )
