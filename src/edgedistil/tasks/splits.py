"""What the splits of a task hold beside what they should: fewer rows than published, texts of one in the other."""

import logging
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

log = logging.getLogger("edgedistil")


def parts_of_train(task: Mapping[str, Any]) -> list[str]:
    """The splits beside train that are read from a part of it (``task.validation_split=train_sample_heldout``): a score
    on them is no score on the published split."""
    names = {"validation": "" if task["validation"] else task["validation_split"], **(task["more_splits"] or {})}
    return sorted(split for split, name in names.items() if Path(name).name.startswith("train"))


def split_facts(
    published: Mapping[str, int] | None,
    found: Mapping[str, int],
    train: Iterable[tuple[str, ...]],
    validation: Iterable[tuple[str, ...]],
    of_train: Collection[str] = (),
) -> dict[str, Any]:
    """Facts of a training's record about its data; each of them is told in the log too.

    Args:
        published: rows of each split as the data set's authors have it (``task.rows``); None: nobody says.
        found: rows of each split that were read.
        train, validation: the texts.
        of_train: splits whose rows are some of the published train's (:func:`parts_of_train`).

    Returns:
        ``samples``: of each split with other than its published rows ``{"rows": read, "of": published}``, and
        ``"from": "train"`` of those in ``of_train``;
        ``validation_texts_in_train``: how many texts of validation stand in the training split too, letter by letter.
        Either is missing when there is nothing to tell.
    """
    samples: dict[str, dict[str, Any]] = {}
    for split, rows in found.items():
        origin = "train" if split in of_train else split
        if not published or origin not in published or (rows == published[origin] and origin == split):
            continue
        samples[split] = {"rows": rows, "of": published[origin]} | ({"from": origin} if origin != split else {})
        told = "" if origin == split else f" of {origin}"
        log.warning("%s split: a sample, %d of %d rows%s", split, rows, published[origin], told)
    known = set(train)
    both = sum(text in known for text in validation)
    if both:
        log.warning("%d texts of validation stand in train too", both)
    return ({"samples": samples} if samples else {}) | ({"validation_texts_in_train": both} if both else {})
