"""Reading questions with their contexts and answers (SQuAD's columns), with every fault of a file said in one line."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import UserError
from .row_checks import whole_signs
from .source import Source
from .tables import read_columns

_COLUMNS = ("context", "question", "answers")


@dataclass(frozen=True)
class Questions:
    """One entry a question, in the order of the file.

    Attributes:
        answers: every accepted answer's text.
        starts: where the first of them begins in the context, in characters: what training points at.
    """

    ids: list[str]
    contexts: list[str]
    questions: list[str]
    answers: list[list[str]]
    starts: list[int]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, indices: list[int]) -> "Questions":
        """The questions at ``indices``, in that order."""
        lists = (self.ids, self.contexts, self.questions, self.answers, self.starts)
        return Questions(*([values[i] for i in indices] for values in lists))  # type: ignore[arg-type]

    def texts(self) -> list[tuple[str, str]]:
        """(question, context) of each."""
        return list(zip(self.questions, self.contexts, strict=True))


def load_questions(task: dict[str, Any], source: Source, split: str, seed: int) -> Questions:
    """Read one split, cut to ``task.limit_SPLIT`` questions drawn with ``seed``.

    Args:
        split: ``train`` or ``validation``.

    Raises:
        UserError: a missing column, an empty context or question, a question without an answer, an answer that does
            not stand where ``answer_start`` says, an id that occurs twice, an empty split.
    """
    columns = read_columns(task, source, split)
    missing = [c for c in _COLUMNS if c not in columns]
    if missing:
        raise UserError(
            f"the {split} split of task {task['name']!r} has no column {missing[0]!r} but {', '.join(columns)}; "
            f"question answering needs {', '.join(_COLUMNS)} (id and title may be there)"
        )
    found = Questions(_ids(columns, split), columns["context"], columns["question"], [], [])
    for row, given in enumerate(columns["answers"]):
        where = f"row {row + 1} of the {split} split"
        for column in ("context", "question"):
            value = columns[column][row]
            if not isinstance(value, str) or not value.strip():
                raise UserError(f"{where} has an empty {column} (got {value!r})")
            if not whole_signs(value):
                raise UserError(f"{where} has half a sign in its {column}, which UTF-8 can't hold ({value[:80]!r})")
        texts, starts = _answers(given, where)
        for text, start in zip(texts, starts, strict=True):
            _check_answer(text, start, columns["context"][row], where)
        found.answers.append(texts)
        found.starts.append(starts[0])
    if not found.ids:
        raise UserError(f"the {split} split of task {task['name']!r} is empty")
    limit = task[f"limit_{split}"]
    if limit is None or limit >= len(found):
        return found
    return found.take(sorted(random.Random(seed).sample(range(len(found)), limit)))


def hold_out_paragraphs(questions: Questions, fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """Indices (rest, held out), ascending: all questions of a paragraph are on one side, the same for the same seed.

    Args:
        fraction: of the paragraphs; at least one is held out unless it is 0.

    Raises:
        UserError: nothing would be left to train on.
    """
    paragraphs = sorted(set(questions.contexts))
    random.Random(seed).shuffle(paragraphs)
    count = max(1, round(len(paragraphs) * fraction)) if fraction else 0
    if count >= len(paragraphs):
        raise UserError(
            f"train has {len(paragraphs)} paragraph(s) and task.held_out={fraction:g} takes {count}: nothing is left "
            "to train on; give more paragraphs, or task.held_out=0"
        )
    held = set(paragraphs[:count])
    sides: tuple[list[int], list[int]] = ([], [])
    for index, context in enumerate(questions.contexts):
        sides[context in held].append(index)
    return sides


def _ids(columns: dict[str, list[Any]], split: str) -> list[str]:
    if "id" not in columns:
        return [str(row) for row in range(len(columns["context"]))]
    ids = [str(i) for i in columns["id"]]
    seen: set[str] = set()
    for row, own in enumerate(ids):
        if own in seen:
            raise UserError(f"row {row + 1} of the {split} split has an id that occurs before: {own!r}")
        seen.add(own)
    return ids


def _answers(given: Any, where: str) -> tuple[list[str], list[int]]:
    if not isinstance(given, Mapping) or not {"text", "answer_start"} <= set(given):
        raise UserError(
            f"{where}: answers is {given!r}, not a structure {{text: [...], answer_start: [...]}}; Parquet and JSONL "
            "can hold one"
        )
    texts, starts = given["text"], given["answer_start"]
    if not isinstance(texts, list) or not isinstance(starts, list) or not all(type(start) is int for start in starts):
        raise UserError(f"{where}: answers is {given!r}, not {{text: [...], answer_start: [...]}} of texts and numbers")
    if len(texts) != len(starts):
        raise UserError(f"{where}: answers has {len(texts)} texts and {len(starts)} starts")
    if not texts:
        raise UserError(f"{where} has no answer; questions without one (SQuAD 2.0) are not supported: leave them out")
    return texts, starts


def _check_answer(text: Any, start: int, context: str, where: str) -> None:
    if not isinstance(text, str) or not text:
        raise UserError(f"{where} has an empty answer (got {text!r})")
    stands = context[start : start + len(text)] if start >= 0 else ""
    if stands != text:
        raise UserError(
            f"{where}: answers.answer_start={start} points at {stands!r}, but the answer is {text!r}; starts count "
            "characters from 0"
        )
