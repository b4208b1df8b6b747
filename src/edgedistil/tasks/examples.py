"""Reading a split into texts and labels, with every fault of a user's file said in one line."""

import math
import random
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import UserError
from .row_checks import check_ids, check_texts, whole_signs
from .source import Source
from .tables import read_columns

# Tried in this order when task.text_columns is not given; the second of a pair only if it is there.
_UNLABELLED = "every label of the {split} split is -1, which marks an unlabelled split: there is no score"
_USUAL_COLUMNS = (
    ("sentence",),
    ("text",),
    ("sentence1", "sentence2"),
    ("question1", "question2"),
    ("premise", "hypothesis"),
    ("question", "sentence"),
    ("review",),
)
_USUAL_LABELS = ("label", "labels", "target", "class")
# The one output of a regression, in place of the names of classes.
SCORE = "score"


@dataclass(frozen=True)
class Examples:
    """Texts (one or two strings each) and label ids, in the order of the file; of a regression the numbers."""

    texts: list[tuple[str, ...]]
    labels: list[int] | list[float]
    label_names: list[str]
    # What these were taken from and where they stand in it: token ids are kept of whole splits.
    whole: "Examples | None" = field(default=None, compare=False, repr=False)
    places: list[int] | None = field(default=None, compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: list[int]) -> "Examples":
        """The examples at ``indices``, in that order."""
        texts, labels = [self.texts[i] for i in indices], [self.labels[i] for i in indices]
        places = indices if self.places is None else [self.places[i] for i in indices]
        return Examples(texts, labels, self.label_names, self.whole or self, places)


def load(task: dict[str, Any], source: Source, split: str, label_names: list[str] | None, seed: int) -> Examples:
    """Read one split.

    Args:
        split: ``train``, ``validation`` or one of ``task.more_splits``.
        label_names: the order of the classes; None infers it from the split (sorted), for training only.

    Raises:
        UserError: missing columns, texts or labels, unknown labels, an empty text, two rows with one id, an empty
            split, a split with a single class.
    """
    columns = read_columns(task, source, split)
    text_columns, label_column = _choose_columns(task, columns)
    texts = list(zip(*(_strings(columns[c], c, split) for c in text_columns), strict=True))
    raw = columns[label_column]
    _check_labels(raw, split)
    check_texts(texts, text_columns, split)
    check_ids({k: v for k, v in columns.items() if k not in (*text_columns, label_column)}, texts, raw, split)
    if task.get("regression"):
        names, examples = [SCORE], Examples(texts, _numbers(raw, split), [SCORE])
    else:
        names = label_names or task["labels"] or _infer_names(raw, split)
        if len(names) > 2 and "f1" in task.get("metrics", ()):
            some = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
            raise UserError(
                "task.metrics holds f1, GLUE's F1 of the second of two classes, and the "
                f"{split} split has {len(names)} ({some}): take accuracy or matthews_correlation"
            )
        examples = Examples(texts, _label_ids(raw, names, split, task["labels"]), names)
    examples = _limit(examples, task["limit_train" if split == "train" else "limit_validation"], seed)
    if not examples.texts:
        raise UserError(f"the {split} split of task {task['name']!r} is empty")
    if len(set(examples.labels)) < 2:
        only = examples.labels[0]
        found = f"class only ({names[only]!r}" if isinstance(only, int) else f"number only ({only:g}"
        raise UserError(
            f"the {split} split of task {task['name']!r} holds one {found}, {len(examples)} texts): a score on it "
            "would say nothing. "
            "Is the file sorted and cut?"
        )
    return examples


def held_out_indices(
    examples: Examples, fraction: float, seed: int, phrases: bool = False
) -> tuple[list[int], list[int]]:
    """Which texts stay and which are held out of training for model choice, ascending; the same for the same seed.

    Args:
        fraction: of the texts that may be held out.
        phrases: the split also holds phrases of its sentences (SST-2). Then only texts that are part of no other text
            are held out, and every phrase of theirs leaves the rest, so that nothing held out was seen in training.
    """
    candidates = whole_texts(examples) if phrases else list(range(len(examples)))
    random.Random(seed).shuffle(candidates)
    count = max(2, round(len(candidates) * fraction)) if fraction else 0
    held_out = sorted(candidates[:count])
    gone = set(held_out)
    if phrases:
        seen = {phrase for i in held_out for phrase in phrases_of(examples.texts[i])}
        gone |= {i for i, text in enumerate(examples.texts) if tuple(text[0].split()) in seen}
    return [i for i in range(len(examples)) if i not in gone], held_out


def phrases_of(text: tuple[str, ...]) -> set[tuple[str, ...]]:
    """Every run of words of a text, itself included."""
    words = text[0].split()
    return {tuple(words[i:j]) for i in range(len(words)) for j in range(i + 1, len(words) + 1)}


def whole_texts(examples: Examples) -> list[int]:
    """Indices of the texts that are no phrase of a longer text, ascending."""
    longest_first = sorted(range(len(examples)), key=lambda i: (-len(examples.texts[i][0].split()), i))
    seen: set[tuple[str, ...]] = set()
    whole = []
    for index in longest_first:
        if tuple(examples.texts[index][0].split()) not in seen:
            whole.append(index)
            seen |= phrases_of(examples.texts[index])
    return sorted(whole)


def _choose_columns(task: dict[str, Any], columns: dict[str, list[Any]]) -> tuple[tuple[str, ...], str]:
    present = ", ".join(columns)
    wanted = tuple(task["text_columns"] or ())
    if not wanted:
        wanted = next((c for c in _USUAL_COLUMNS if set(c) <= set(columns)), ())
        if not wanted:
            raise UserError(f"no text column found among: {present}. Say which: task.text_columns=[NAME]")
    missing = [c for c in wanted if c not in columns]
    if missing:
        raise UserError(f"task.text_columns names {missing[0]!r}, but the file has: {present}")
    label = task["label_column"]
    if label not in columns:
        label = next((c for c in _USUAL_LABELS if c in columns), "")
        if not label:
            raise UserError(
                f"no label column {task['label_column']!r} among: {present}. Say which: task.label_column=NAME"
            )
    return wanted, label


def _strings(values: list[Any], column: str, split: str) -> list[str]:
    for row, value in enumerate(values):
        if not isinstance(value, str):
            raise UserError(
                f"row {row + 1} of the {split} split has no text in column {column!r} (got {value!r}): fill it or "
                "remove the row"
            )
        if not whole_signs(value):
            raise UserError(
                f"row {row + 1} of the {split} split has half a sign in column {column!r}, which UTF-8 can't hold (got "
                f"{value[:80]!r}): mend it or remove the row"
            )
    return values


def _check_labels(raw: list[Any], split: str) -> None:
    for row, value in enumerate(raw):
        if isinstance(value, list | dict | bytes) or (isinstance(value, str) and not whole_signs(value)):
            raise UserError(
                f"row {row + 1} of the {split} split has label {value!r}, which is neither a word nor a number: give "
                "one of them"
            )


def _infer_names(raw: list[Any], split: str) -> list[str]:
    numbers = {int(v) for v in raw if _is_whole(v)}
    if numbers == {-1} and all(_is_whole(v) for v in raw):
        raise UserError(_UNLABELLED.format(split=split))
    if numbers and all(_is_whole(v) for v in raw):
        # Codes 0..n−1 may miss a class in this file; anything else is a name that happens to be a number.
        codes = min(numbers) == 0 and max(numbers) < 2 * len(numbers)
        return [str(n) for n in (range(max(numbers) + 1) if codes else sorted(numbers))]
    fraction = next((v for v in raw if isinstance(v, float) and not _is_missing(v) and not _is_whole(v)), None)
    if fraction is not None:
        raise UserError(
            f"the label column holds {fraction!r}, and a class is a whole number or a word; numbers that are to be "
            "predicted are task.regression=true task.metrics=[pearson,spearman]"
        )
    return sorted({_name(v) for v in raw if not _is_missing(v)})


def _is_whole(value: Any) -> bool:
    if isinstance(value, int):
        return not isinstance(value, bool)
    return isinstance(value, float) and math.isfinite(value) and value == int(value)


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _name(value: Any) -> str:
    return str(int(value)) if _is_whole(value) else str(value)


def _label_ids(raw: list[Any], names: list[str], split: str, codes: list[str] | None) -> list[int]:
    """Ids in the order of ``names``; a number that is no name itself is a code in the task's own order ``codes``."""
    exact = {name: i for i, name in enumerate(names)}
    folded = {name.lower(): i for i, name in enumerate(names)}
    ids = []
    for row, value in enumerate(raw):
        known = exact.get(_name(value))
        if known is None and codes and _is_whole(value) and 0 <= value < len(codes):
            value = codes[int(value)]
        if known is None and len(folded) == len(names):
            known = folded.get(_name(value).lower())
        if known is None and _is_whole(value) and 0 <= value < len(names):
            known = int(value)
        if known is None or _is_missing(value):
            hint = " (-1 marks an unlabelled split)" if _name(value) == "-1" else ""
            raise UserError(
                f"row {row + 1} of the {split} split has label {value!r}{hint}; known labels: {', '.join(names)}. "
                "If the model calls them otherwise, give its order: task.labels=[...]"
            )
        ids.append(known)
    return ids


def _numbers(raw: list[Any], split: str) -> list[float]:
    """The labels of a regression; numbers written as text are read.

    Raises:
        UserError: one is no finite number.
    """
    found = []
    for row, value in enumerate(raw):
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if isinstance(value, bool) or not math.isfinite(number):
            raise UserError(
                f"row {row + 1} of the {split} split has label {value!r}, which is no finite number; "
                "task.regression=true predicts numbers (of classes: task.regression=false)"
            )
        found.append(number)
    if set(found) == {-1.0}:
        raise UserError(_UNLABELLED.format(split=split))
    return found


def _limit(examples: Examples, limit: int | None, seed: int) -> Examples:
    if limit is None or limit >= len(examples):
        return examples
    # Shuffled first: several public data sets are sorted by label.
    drawn = examples.take(sorted(random.Random(seed).sample(range(len(examples)), limit)))
    return replace(drawn, whole=None, places=None)
