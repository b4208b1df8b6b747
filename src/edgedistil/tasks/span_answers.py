"""From start and end scores of every window to one answer a question, cut out of the original context."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .questions import Questions
from .windows import Window

SpanLogits = NDArray[np.float32]


@dataclass(frozen=True)
class Answer:
    """Characters ``begin`` to ``end`` of the context; both 0 and an empty text where no pair of tokens is possible."""

    text: str
    begin: int
    end: int
    score: float


def best_pair(logits: SpanLogits, context: tuple[int, int], n_best: int, longest: int) -> tuple[float, int, int] | None:
    """(score, first token, last token) with the greatest sum of start and end score, or None.

    Args:
        logits: ``[2, tokens]``, start and end.
        context: first token of the context and the one after its last: no other can begin or end an answer.
        n_best: so many of the best starts and of the best ends make the pairs.
        longest: tokens of an answer at most.
    """
    first, last = context
    if first == last:
        return None
    inside = logits[:, first:last].astype(np.float64)
    # Stable: among equal scores the first token wins.
    starts, ends = (np.argsort(-side, kind="stable")[:n_best] for side in inside)
    tokens = ends[None, :] - starts[:, None] + 1
    scores = inside[0][starts][:, None] + inside[1][ends][None, :]
    scores[(tokens < 1) | (tokens > longest)] = -np.inf
    best = np.unravel_index(int(scores.argmax()), scores.shape)
    if scores[best] == -np.inf:
        return None
    return float(scores[best]), first + int(starts[best[0]]), first + int(ends[best[1]])


def answers(
    questions: Questions, parts: Sequence[Window], logits: Sequence[SpanLogits], task: dict[str, Any]
) -> list[Answer]:
    """The best answer of each question over all its windows; the earlier window among equals.

    Scores of windows are compared as they are (the sum of two logits), as BERT's ``run_squad.py`` does.

    Args:
        parts: windows with offsets.
        logits: ``[2, tokens]`` of each window.
        task: ``n_best`` and ``max_answer_length``.
    """
    found = [Answer("", 0, 0, -np.inf)] * len(questions)
    for part, scores in zip(parts, logits, strict=True):
        assert part.offsets is not None
        pair = best_pair(scores, part.context, task["n_best"], task["max_answer_length"])
        if pair is None or pair[0] <= found[part.question].score:
            continue
        begin, end = int(part.offsets[pair[1], 0]), int(part.offsets[pair[2], 1])
        found[part.question] = Answer(questions.contexts[part.question][begin:end], begin, end, pair[0])
    return found


def share_found(questions: Questions, parts: Sequence[Window]) -> float:
    """Share of the questions whose first answer some window, cut at its own tokens, holds letter by letter.

    What a tokenizer allows at best: a word piece that the answer ends inside of can't be told from the answer.

    Args:
        parts: windows with offsets, one at least for each question.
    """
    found = set()
    for part in parts:
        assert part.offsets is not None
        begin, end = int(part.offsets[part.start, 0]), int(part.offsets[part.end, 1])
        if part.end and questions.contexts[part.question][begin:end] == questions.answers[part.question][0]:
            found.add(part.question)
    return len(found) / len(questions) if len(questions) else 1.0
