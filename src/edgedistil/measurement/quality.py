"""Scores of one set of answers, alone and paired with the parent's answers to the same sentences."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..tasks.metrics import score
from .noninferiority import drop
from .statistics import design_effect, mcnemar, wilson

Sentences = NDArray[np.int64] | None


def quality(
    logits: NDArray[np.float32], labels: NDArray[np.int64], metrics: list[str], sentences: Sentences = None
) -> dict[str, Any]:
    """Metrics by name, n, right answers, and the accuracy's 95 % Wilson interval.

    Args:
        sentences: int ``[texts]``, the sentence that each text is a phrase of: the interval is then of as many
            independent texts as they are worth (n over the design effect, Kish 1965); None: each is its own.
    """
    answers = logits.argmax(-1)
    hits = answers == labels
    right = int(hits.sum())
    worth = 1.0 if sentences is None else design_effect(hits.tolist(), sentences.tolist())
    low, high = wilson(right / worth, len(labels) / worth)
    clusters = {} if sentences is None else {"sentences": len(set(sentences.tolist()))}
    return {
        **{m: round(score(m, answers, labels), 6) for m in dict.fromkeys(["accuracy", *metrics])},
        "n": len(labels),
        **clusters,
        "right": right,
        "accuracy_ci95_low": round(low, 6),
        "accuracy_ci95_high": round(high, 6),
    }


def against_parent(
    logits: NDArray[np.float32],
    parent: NDArray[np.float32],
    labels: NDArray[np.int64],
    metrics: list[str],
    sentences: Sentences = None,
) -> dict[str, Any]:
    """The difference from the parent on the same texts: points of accuracy and of the task's other metrics (each times
    100), exact McNemar test, flips, drift.

    Of phrases of ``sentences`` McNemar's test would count one sentence many times: ``clustered_p`` stands in its place
    (:mod:`.noninferiority`).
    """
    answers, before = logits.argmax(-1), parent.argmax(-1)
    gained = int(((answers == labels) & (before != labels)).sum())
    lost = int(((answers != labels) & (before == labels)).sum())
    if sentences is None:
        tested = {"mcnemar_p": round(mcnemar(gained, lost), 6)}
    else:
        differences = (before == labels).astype(int) - (answers == labels).astype(int)
        tested = {"clustered_p": round(drop([differences.tolist()], sentences.tolist()).p_of_no_drop(), 6)}
    return {
        "accuracy_points": round(100 * (gained - lost) / len(labels), 4),
        **{
            f"{m}_points": round(100 * (score(m, answers, labels) - score(m, before, labels)), 4)
            for m in metrics
            if m != "accuracy"
        },
        "gained": gained,
        "lost": lost,
        **tested,
        "flips": int((answers != before).sum()),
        "max_logit_drift": round(float(np.abs(logits - parent).max()), 6),
    }


def agreement(
    logits: NDArray[np.float32], here: NDArray[np.float32], labels: NDArray[np.int64], isa: list[str]
) -> dict[str, Any]:
    """How far a device answers otherwise than this machine's processor with the same file, on the same texts.

    Args:
        logits, here: ``[texts, classes]`` of the device and of this machine.
        isa: this machine's instruction sets, which decide its kernels.

    Returns:
        ``n``, ``flips`` (other classes), ``accuracy_points`` (device minus here), ``max_logit_drift`` and
        ``rms_logit_drift``, ``host_isa``.
    """
    answers, others = logits.argmax(-1), here.argmax(-1)
    gained = int((answers == labels).sum()) - int((others == labels).sum())
    difference = logits - here
    return {
        "n": len(labels),
        "flips": int((answers != others).sum()),
        "accuracy_points": round(100 * gained / len(labels), 4),
        "max_logit_drift": round(float(np.abs(difference).max()), 6),
        "rms_logit_drift": round(float(np.sqrt(np.mean(difference**2))), 6),
        "host_isa": isa,
    }
