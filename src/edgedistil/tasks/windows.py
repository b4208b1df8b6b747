"""Long contexts in overlapping windows of tokens, and back: token positions to characters of the original text.

The recipe is transformers' ``run_qa.py`` (SQuAD 1.1), itself after BERT's ``run_squad.py``: [CLS] question [SEP] part
of the context [SEP]; neighbouring windows share ``stride`` tokens of the context; a training window that does not hold
the whole answer is kept and points at [CLS] with both ends.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config.question_answering import check_windows
from .questions import Questions

# Pairs tokenised at once: an encoding of the tokenizers library is large.
_CHUNK = 1000


@dataclass(frozen=True)
class Window:
    """One question with a part of its context.

    Attributes:
        question: its index.
        ids, types: int32 and int8 ``[tokens]``.
        offsets: int32 ``[tokens, 2]``, characters (begin, end) in the context; (0, 0) elsewhere. None in training.
        context: first token of the context and the one after its last.
        start, end: first and last token of the answer, both 0 ([CLS]) where the window does not hold all of it.
    """

    question: int
    ids: NDArray[np.int32]
    types: NDArray[np.int8]
    offsets: NDArray[np.int32] | None
    context: tuple[int, int]
    start: int
    end: int

    def __len__(self) -> int:
        return len(self.ids)


def load_window_tokenizer(tokenizer: Any, task: dict[str, Any]) -> Any:
    """A ``tokenizers.Tokenizer`` set, in place, to cut the second text of a pair into windows.

    Raises:
        UserError: the lengths leave no room for a context.
    """
    check_windows(task)
    tokenizer.no_padding()
    tokenizer.enable_truncation(task["max_length"], stride=task["stride"], strategy="only_second")
    return tokenizer


def windows(tokenizer: Any, questions: Questions, task: dict[str, Any], offsets: bool) -> list[Window]:
    """All windows of all questions, in order.

    Args:
        tokenizer: of a model folder; its truncation is set anew.
        task: ``max_length``, ``stride`` and ``max_question_length`` in tokens; longer questions are cut.
        offsets: keep them, to find answers; training needs none.

    Raises:
        UserError: the lengths leave no room for a context.
    """
    asked = _cut_questions(tokenizer, questions.questions, task["max_question_length"])
    load_window_tokenizer(tokenizer, task)
    found = []
    for first in range(0, len(questions), _CHUNK):
        some = range(first, min(first + _CHUNK, len(questions)))
        encodings = tokenizer.encode_batch([(asked[i], questions.contexts[i]) for i in some])
        for index, encoding in zip(some, encodings, strict=True):
            begin = questions.starts[index]
            answer = begin, begin + len(questions.answers[index][0])
            found += [_window(index, part, answer, offsets) for part in (encoding, *encoding.overflowing)]
    return found


def _cut_questions(tokenizer: Any, asked: list[str], limit: int) -> list[str]:
    # No token is shorter than a character.
    long = [i for i, text in enumerate(asked) if len(text) > limit]
    cut = list(asked)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    for i, encoding in zip(
        long, tokenizer.encode_batch([asked[i] for i in long], add_special_tokens=False), strict=True
    ):
        if len(encoding.ids) > limit:
            cut[i] = asked[i][: encoding.offsets[limit - 1][1]]
    return cut


def _window(question: int, encoding: Any, answer: tuple[int, int], keep_offsets: bool) -> Window:
    sides = encoding.sequence_ids
    first = sides.index(1) if 1 in sides else len(sides)
    last = len(sides) - sides[::-1].index(1) if 1 in sides else first
    places = np.array(encoding.offsets, np.int32).reshape(-1, 2)
    places[:first] = places[last:] = 0
    start, end = _answer_tokens(places[first:last], answer)
    return Window(
        question,
        np.array(encoding.ids, np.int32),
        np.array(encoding.type_ids, np.int8),
        places if keep_offsets else None,
        (first, last),
        *((first + start, first + end) if end >= start else (0, 0)),
    )


def _answer_tokens(places: NDArray[np.int32], answer: tuple[int, int]) -> tuple[int, int]:
    """First and last token that hold the characters of the answer; (0, -1) where some lie outside."""
    if not len(places) or answer[0] < places[0, 0] or answer[1] > places[-1, 1]:
        return 0, -1
    start = int(np.searchsorted(places[:, 0], answer[0], side="right")) - 1
    end = int(np.searchsorted(places[:, 1], answer[1], side="left"))
    return start, max(start, end)
