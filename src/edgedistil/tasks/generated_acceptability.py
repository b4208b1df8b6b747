"""Sentences made by rule that are English or are not: one thing is wrong with each of the latter.

What can be wrong: number of the verb, order of noun and verb, a verb's form, an article too many, a pronoun's case, a
preposition without its noun. Nouns, verbs and adjectives of the validation split never stand in training.
"""

import random
from collections.abc import Callable
from typing import Any

from .generated_labels import with_noise

# singular, plural
_NOUNS = {
    "train": (
        ("dog", "dogs"),
        ("girl", "girls"),
        ("farmer", "farmers"),
        ("bird", "birds"),
        ("doctor", "doctors"),
        ("uncle", "uncles"),
        ("king", "kings"),
        ("driver", "drivers"),
        ("baker", "bakers"),
        ("friend", "friends"),
    ),
    "validation": (
        ("teacher", "teachers"),
        ("boy", "boys"),
        ("cat", "cats"),
        ("soldier", "soldiers"),
        ("sister", "sisters"),
        ("lawyer", "lawyers"),
    ),
}
# base, third person, past, participle
_VERBS = {
    "train": (
        ("see", "sees", "saw", "seen"),
        ("take", "takes", "took", "taken"),
        ("know", "knows", "knew", "known"),
        ("break", "breaks", "broke", "broken"),
        ("write to", "writes to", "wrote to", "written to"),
        ("follow", "follows", "followed", "followed"),
        ("help", "helps", "helped", "helped"),
    ),
    "validation": (
        ("forget", "forgets", "forgot", "forgotten"),
        ("choose", "chooses", "chose", "chosen"),
        ("speak to", "speaks to", "spoke to", "spoken to"),
        ("visit", "visits", "visited", "visited"),
    ),
}
_QUALITIES = {
    "train": ("old", "happy", "tall", "brave", "quiet", "poor"),
    "validation": ("young", "angry", "clever", "tired"),
}
_PRONOUNS = (("he", "him"), ("she", "her"), ("they", "them"), ("we", "us"))
_TIMES = ("every day", "in the morning", "after work", "on sunday", "at school")
LABELS = ("unacceptable", "acceptable")


def generate_acceptability(
    split: str, train: int, validation: int, seed: int, label_noise: float
) -> dict[str, list[Any]]:
    """Columns ``sentence`` and ``label`` (1: English) of one split.

    Args:
        split: ``train`` or ``validation``.
        train, validation: how many sentences each split has.
        label_noise: share of sentences whose label is flipped.
    """
    chance = random.Random(f"acceptability-{seed}-{split}")
    columns: dict[str, list[Any]] = {"sentence": [], "label": []}
    for _ in range(train if split == "train" else validation):
        right = chance.random() < 0.5
        columns["sentence"].append(chance.choice(_SHAPES)(chance, split, right))
        columns["label"].append(int(right))
    columns["label"] = with_noise(columns["label"], (0, 1), label_noise, f"acceptability-{seed}-{split}")
    return columns


def _someone(chance: random.Random, split: str, plural: bool) -> str:
    quality = chance.choice((*_QUALITIES[split], "", "")) + " "
    return f"the {quality.lstrip()}{chance.choice(_NOUNS[split])[plural]}"


def _agreement(chance: random.Random, split: str, right: bool) -> str:
    plural = chance.random() < 0.5
    base, third, _, _ = chance.choice(_VERBS[split])
    verb = base if plural == right else third
    return f"{_someone(chance, split, plural)} {verb} {_someone(chance, split, False)} {chance.choice(_TIMES)} ."


def _agreement_at_a_distance(chance: random.Random, split: str, right: bool) -> str:
    plural = chance.random() < 0.5
    be = "are" if plural == right else "is"
    near = _someone(chance, split, not plural)
    return f"{_someone(chance, split, plural)} beside {near} {be} {chance.choice(_QUALITIES[split])} ."


def _participle(chance: random.Random, split: str, right: bool) -> str:
    base, _, past, participle = chance.choice(_VERBS[split])
    wrong = base if past == participle else past
    return f"{_someone(chance, split, False)} has {participle if right else wrong} {_someone(chance, split, True)} ."


def _order(chance: random.Random, split: str, right: bool) -> str:
    who, verb, whom = _someone(chance, split, False), chance.choice(_VERBS[split])[2], _someone(chance, split, True)
    if right:
        return f"{who} {verb} {whom} {chance.choice(_TIMES)} ."
    article, rest = who.split(" ", 1)
    return f"{rest} {article} {verb} {whom} {chance.choice(_TIMES)} ."


def _case(chance: random.Random, split: str, right: bool) -> str:
    subject, thing = chance.choice(_PRONOUNS)
    verb = chance.choice(_VERBS[split])[2]
    if chance.random() < 0.5:
        return f"{subject if right else thing} {verb} {_someone(chance, split, False)} {chance.choice(_TIMES)} ."
    return f"{_someone(chance, split, False)} {verb} {thing if right else subject} {chance.choice(_TIMES)} ."


def _object(chance: random.Random, split: str, right: bool) -> str:
    who, verb = _someone(chance, split, False), chance.choice(_VERBS[split])[2]
    whom = _someone(chance, split, True) if right else chance.choice(("the", "the very", "of the"))
    return f"yesterday {who} {verb} {whom} ."


_SHAPES: tuple[Callable[[random.Random, str, bool], str], ...] = (
    _agreement,
    _agreement_at_a_distance,
    _participle,
    _order,
    _case,
    _object,
)
