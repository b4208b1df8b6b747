"""What the splits of a task hold beside what they should: fewer rows than published, texts of one in the other."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

log = logging.getLogger("edgedistil")


def split_facts(
    published: Mapping[str, int] | None,
    found: Mapping[str, int],
    train: Iterable[tuple[str, ...]],
    validation: Iterable[tuple[str, ...]],
) -> dict[str, Any]:
    """Facts of a training's record about its data; each of them is told in the log too.

    Args:
        published: rows of each split as the data set's authors have it (``task.rows``); None: nobody says.
        found: rows of each split that were read.
        train, validation: the texts.

    Returns:
        ``samples``: of each split with other than its published rows ``{"rows": read, "of": published}``;
        ``validation_texts_in_train``: how many texts of validation stand in the training split too, letter by letter.
        Either is missing when there is nothing to tell.
    """
    samples = {
        split: {"rows": rows, "of": published[split]}
        for split, rows in found.items()
        if published and split in published and rows != published[split]
    }
    for split, counts in samples.items():
        log.warning("%s split: a sample, %d of %d rows", split, counts["rows"], counts["of"])
    known = set(train)
    both = sum(text in known for text in validation)
    if both:
        log.warning("%d texts of validation stand in train too", both)
    return ({"samples": samples} if samples else {}) | ({"validation_texts_in_train": both} if both else {})
