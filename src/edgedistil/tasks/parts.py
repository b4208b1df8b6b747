"""What a training split is divided into: texts to learn from, to choose models on, and to report on once."""

import random
from dataclasses import dataclass, field
from typing import Any

from ..errors import UserError
from .examples import Examples, held_out_indices, phrases_of, whole_texts


@dataclass(frozen=True)
class Parts:
    """Indices of a split's texts, ascending; no text is in two of them, and some may be in none (phrases).

    ``sentences``: beside each index of ``test`` that of the sentence which the text is a phrase of (its own where the
    split holds no phrases): answers to phrases of one sentence are alike, so the sentence is what was drawn.
    """

    train: list[int]
    held_out: list[int]
    test: list[int]
    sentences: list[int] = field(default_factory=list)


def divide(examples: Examples, task: dict[str, Any], seed: int) -> Parts:
    """Divide a training split as its task says.

    ``task.test_texts`` are set aside first, the same for every seed, so that seeds can be compared text by text. Where
    the split holds phrases of its sentences (``task.phrases``), whole sentences are set aside with all their phrases,
    and else every copy of a text with it, so that nothing of them is learnt from; so there may be a few more of them.
    Of the rest ``task.held_out`` is held out for model choice.

    Raises:
        UserError: as many test texts as there are texts, or more.
    """
    wanted = task.get("test_texts", 0)
    if wanted >= len(examples):
        raise UserError(
            f"task.test_texts={wanted} leaves nothing to learn from: the training split has {len(examples)} texts"
        )
    by_sentence = _test_part(examples, wanted, task.get("phrases", False)) if wanted else {}
    test = sorted(by_sentence)
    gone = set(test)
    rest = [i for i in range(len(examples)) if i not in gone]
    train, held_out = held_out_indices(examples.take(rest), task["held_out"], seed, task.get("phrases", False))
    return Parts([rest[i] for i in train], [rest[i] for i in held_out], test, [by_sentence[i] for i in test])


def _test_part(examples: Examples, wanted: int, phrases: bool) -> dict[int, int]:
    """The test texts, each with the sentence that brought it in (of several the first)."""
    chance = random.Random(0)
    places: dict[tuple[str, ...], list[int]] = {}
    if not phrases:
        for i, text in enumerate(examples.texts):
            places.setdefault(text, []).append(i)
        drawn = chance.sample(range(len(examples)), wanted)
        # Of a text that is there several times all, or the others would be learnt from.
        return {same: places[examples.texts[i]][0] for i in drawn for same in places[examples.texts[i]]}
    for i, text in enumerate(examples.texts):
        places.setdefault(tuple(text[0].split()), []).append(i)
    sentences = whole_texts(examples)
    chance.shuffle(sentences)
    taken: dict[int, int] = {}
    for sentence in sentences:
        if len(taken) >= wanted:
            break
        # All of the last sentence too: half of its phrases in training would be what this is there to prevent.
        for phrase in phrases_of(examples.texts[sentence]):
            for i in places.get(phrase, []):
                taken.setdefault(i, sentence)
    return taken
