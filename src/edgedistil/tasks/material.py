"""What compression may learn from: the training part of a task, as its models read it.

Texts with labels and questions with contexts are read, batched and held out in ways of their own; whoever scores
heads, calibrates ranges, recovers or counts word pieces asks :func:`material` and need not know which it is.
"""

import logging
import random
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor

from ..config.question_answering import QUESTION_ANSWERING
from ..errors import UserError
from .batching import collate, rows
from .encode import encode
from .questions import Questions
from .span_answers import SpanLogits, share_found
from .training_part import held_out_part, questions_by_part, training_part, training_texts
from .windows import Window, windows

if TYPE_CHECKING:
    from .resumption import Resumable

log = logging.getLogger("edgedistil")
# What the options for calibration ask for at least: from fewer texts no score and no range means anything.
FEWEST = 16
_BATCH = 64


class Material(Protocol):
    """The training part of a task; everything is drawn with the step's seed, and nothing held out is in it."""

    def batches(self, limit: int) -> list[dict[str, Tensor]]:
        """At most ``limit`` texts (or windows), those of like lengths in a batch so that little is padding.

        What is right stands beside them: ``labels``, or as transformers calls them ``start_positions`` and
        ``end_positions``, ``[batch]`` each.

        Raises:
            UserError: there are fewer than :data:`FEWEST`.
        """

    def held_out_batches(self) -> list[dict[str, Tensor]]:
        """All texts or windows of the part held out for model choice, in batches of the same kind."""

    def ids(self, limit: int) -> list[tuple[list[int], list[int]]]:
        """(token ids, token types) of the same texts or windows as :meth:`batches`; raises as it does."""

    def data(self, limit: int | None, batch_size: int, logits_file: Path | None = None) -> "tuple[Resumable, int]":
        """A LightningDataModule of at most ``limit`` of them, to train on, with nothing to validate on; and how many
        they are.

        Args:
            limit: None takes all, with copies of texts that the step got.
            logits_file: a teacher's logits on the whole training split, which batches then bring along.
        """

    def piece_ids(self, tokenizer: Any, held_out: bool = False) -> Iterator[list[int]]:
        """Token ids of all that a model may read of this part, or of the one held out for model choice, by text."""

    def answers_found(self, tokenizer: Any) -> dict[str, Any]:
        """Facts about the held-out part that a tokenizer decides beside its ids; none for texts."""


def material(request: dict[str, Any], tokenizer: Any, pad_id: int = 0) -> Material:
    """The material of a step.

    Args:
        request: as :func:`.training_part.training_part` takes it.
        tokenizer: of the model folder.
        pad_id: the id that fills short rows.
    """
    kind = request["options"]["task"].get("kind")
    return (Windows if kind == QUESTION_ANSWERING else Texts)(request, tokenizer, pad_id)


class Texts:
    """Texts with labels; see :class:`Material`."""

    def __init__(self, request: dict[str, Any], tokenizer: Any, pad_id: int) -> None:
        self._request, self._tokenizer, self._pad_id = request, tokenizer, pad_id

    def batches(self, limit: int) -> list[dict[str, Tensor]]:
        return collated(self._rows(limit), self._pad_id)

    def held_out_batches(self) -> list[dict[str, Tensor]]:
        return collated(rows(self._tokenizer, held_out_part(self._request)), self._pad_id)

    def ids(self, limit: int) -> list[tuple[list[int], list[int]]]:
        return [(ids, types) for ids, types, _ in self._rows(limit)]

    def data(self, limit: int | None, batch_size: int, logits_file: Path | None = None) -> "tuple[Resumable, int]":
        from safetensors.torch import load_file

        from .datamodule import TextDataModule

        examples, indices = training_texts(self._request, limit)
        logits = None if logits_file is None else load_file(logits_file)["logits"][indices]
        none, seed = examples.take([]), self._request["options"]["seed"]
        made = TextDataModule(self._tokenizer, examples, none, self._pad_id, batch_size, True, seed, logits)
        return made, len(examples)

    def piece_ids(self, tokenizer: Any, held_out: bool = False) -> Iterator[list[int]]:
        texts = (held_out_part(self._request) if held_out else training_part(self._request, None)).texts
        yield from _encoded(tokenizer, texts)

    def answers_found(self, tokenizer: Any) -> dict[str, Any]:
        return {}

    def _rows(self, limit: int) -> Sequence[tuple[list[int], list[int], float]]:
        examples = training_part(self._request, limit)
        check_enough(len(examples), limit, self._request["options"]["task"])
        return rows(self._tokenizer, examples)


class Windows:
    """Questions with windows of their contexts; see :class:`Material`."""

    def __init__(self, request: dict[str, Any], tokenizer: Any, pad_id: int) -> None:
        self._request, self._tokenizer, self._pad_id = request, tokenizer, pad_id
        self._task = request["options"]["task"]

    def batches(self, limit: int) -> list[dict[str, Tensor]]:
        return self._collated(self._drawn(limit))

    def held_out_batches(self) -> list[dict[str, Tensor]]:
        everything, _, held = self._questions
        return self._collated(windows(self._tokenizer, everything.take(held), self._task, offsets=False))

    def _collated(self, parts: list[Window]) -> list[dict[str, Tensor]]:
        from .span_data import collate_windows

        data: list[Any] = [(i, part, None) for i, part in enumerate(sorted(parts, key=len))]
        found = [collate_windows(data[i : i + _BATCH], self._pad_id) for i in range(0, len(data), _BATCH)]
        for batch in found:
            batch["start_positions"], batch["end_positions"] = batch.pop("spans").T
        return found

    def ids(self, limit: int) -> list[tuple[list[int], list[int]]]:
        return [(part.ids.tolist(), part.types.tolist()) for part in self._drawn(limit)]

    def data(self, limit: int | None, batch_size: int, logits_file: Path | None = None) -> "tuple[Resumable, int]":
        from .span_data import SpanDataModule

        parts, logits = self._with_logits(limit, logits_file) if logits_file else (self._windows(limit), None)
        seed = self._request["options"]["seed"]
        return SpanDataModule(parts, [], self._pad_id, batch_size, True, seed, logits), len(parts)

    def piece_ids(self, tokenizer: Any, held_out: bool = False) -> Iterator[list[int]]:
        everything, mine, held = self._questions
        questions = everything.take(held if held_out else mine)
        # Whole: what lies behind the end of one window is read in another. A paragraph once, not with each question.
        tokenizer.no_truncation()
        try:
            contexts = dict.fromkeys(questions.contexts)
            yield from _encoded(tokenizer, [(text,) for text in (*questions.questions, *contexts)])
        finally:
            tokenizer.enable_truncation(self._task["max_length"])

    def answers_found(self, tokenizer: Any) -> dict[str, Any]:
        questions = self._questions[0].take(self._questions[2])
        return {
            "questions": len(questions),
            "answers_found_share": share_found(questions, windows(tokenizer, questions, self._task, offsets=True)),
        }

    @cached_property
    def _questions(self) -> tuple[Questions, list[int], list[int]]:
        return questions_by_part(self._request)

    def _windows(self, limit: int | None) -> list[Window]:
        """Windows, answered or not, of at most ``limit`` questions, then at most ``limit`` of them, at random."""
        chance = random.Random(self._request["options"]["seed"])
        everything, mine, _ = self._questions
        order = list(mine)
        chance.shuffle(order)
        parts = windows(self._tokenizer, everything.take(order[:limit]), self._task, offsets=False)
        chance.shuffle(parts)
        return parts[:limit]

    def _with_logits(self, limit: int | None, logits_file: Path) -> tuple[list[Window], list[SpanLogits]]:
        """As :meth:`_windows`, with the logits of a teacher that answered every window of the split in turn."""
        from safetensors.numpy import load_file

        everything, mine, _ = self._questions
        parts, flat = windows(self._tokenizer, everything, self._task, offsets=False), load_file(logits_file)["logits"]
        ends = list(accumulate(map(len, parts)))
        assert ends[-1] == flat.shape[1], "the logits are of other windows"
        allowed = set(mine)
        order = [i for i, part in enumerate(parts) if part.question in allowed]
        random.Random(self._request["options"]["seed"]).shuffle(order)
        order = order[:limit]
        return [parts[i] for i in order], [flat[:, ends[i] - len(parts[i]) : ends[i]] for i in order]

    def _drawn(self, limit: int) -> list[Window]:
        parts = self._windows(limit)
        check_enough(len(parts), limit, self._task)
        return parts


def collated(data: Sequence[tuple[list[int], list[int], float]], pad_id: int) -> list[dict[str, Tensor]]:
    """Rows of :func:`.batching.rows` in batches of like lengths."""
    data = sorted(data, key=lambda row: len(row[0]))
    return [collate(data[i : i + _BATCH], pad_id) for i in range(0, len(data), _BATCH)]


def _encoded(tokenizer: Any, texts: list[tuple[str, ...]]) -> Iterator[list[int]]:
    for start in range(0, len(texts), 4096):
        yield from encode(tokenizer, texts[start : start + 4096])


def check_enough(found: int, wanted: int, task: dict[str, Any]) -> None:
    """See that there are texts enough to score or calibrate by, and say when they are fewer than asked for.

    Raises:
        UserError: there are not.
    """
    if found < FEWEST:
        raise UserError(
            f"the training part of task {task['name']!r} has {found} texts to calibrate on, at least {FEWEST} are "
            "needed: give more training texts (task.train), lower task.held_out or raise task.limit_train"
        )
    if found < wanted:
        log.warning("%d texts asked for calibration, the training part has %d: all of them are used", wanted, found)
