"""Premises and hypotheses made by rule: entailment, neutral or contradiction.

A premise says what an animal, person or thing is like and where it is. Hypotheses that follow leave something out or
name the kind ("a poodle" is "a dog"); those that contradict deny it or take the opposite; neutral ones add something
that may be so, or name a kind where the premise names the genus. Nouns and opposites of the validation split never
stand in training.
"""

import random
from typing import Any

from .generated_labels import with_noise

LABELS = ("entailment", "neutral", "contradiction")
# noun, its kind
_NOUNS = {
    "train": (
        ("sparrow", "bird"),
        ("eagle", "bird"),
        ("salmon", "fish"),
        ("shark", "fish"),
        ("poodle", "dog"),
        ("terrier", "dog"),
        ("nurse", "woman"),
        ("queen", "woman"),
        ("rose", "flower"),
        ("tulip", "flower"),
        ("truck", "vehicle"),
        ("bus", "vehicle"),
    ),
    "validation": (
        ("oak", "tree"),
        ("pine", "tree"),
        ("wasp", "insect"),
        ("beetle", "insect"),
        ("violin", "musical instrument"),
        ("piano", "musical instrument"),
    ),
}
_OPPOSITES = {
    "train": (
        ("big", "small"),
        ("old", "young"),
        ("wet", "dry"),
        ("clean", "dirty"),
        ("quiet", "loud"),
        ("dark", "bright"),
    ),
    "validation": (("heavy", "light"), ("cheap", "expensive"), ("beautiful", "ugly"), ("strong", "weak")),
}
_PLACES = ("in the park", "near the river", "behind the house", "at the market", "on the hill", "by the road")


def generate_three_classes(
    split: str, train: int, validation: int, seed: int, label_noise: float
) -> dict[str, list[Any]]:
    """Columns ``premise``, ``hypothesis`` and ``label`` (an index of :data:`LABELS`) of one split.

    Args:
        split: ``train`` or ``validation``.
        train, validation: how many pairs each split has.
        label_noise: share of pairs that get one of the other two labels.
    """
    chance = random.Random(f"three_classes-{seed}-{split}")
    columns: dict[str, list[Any]] = {"premise": [], "hypothesis": [], "label": []}
    for _ in range(train if split == "train" else validation):
        label = chance.randrange(3)
        premise, hypothesis = _pair(chance, LABELS[label], split)
        columns["premise"].append(premise)
        columns["hypothesis"].append(hypothesis)
        columns["label"].append(label)
    columns["label"] = with_noise(columns["label"], (0, 1, 2), label_noise, f"three_classes-{seed}-{split}")
    return columns


def _pair(chance: random.Random, label: str, split: str) -> tuple[str, str]:
    noun, kind = chance.choice(_NOUNS[split])
    own, further = (chance.sample(pair, 2) for pair in chance.sample(_OPPOSITES[split], 2))
    (like, unlike), other = own, further[0]
    here, there = chance.sample(_PLACES, 2)
    premise = f"the {like} {noun} is {here}"
    shapes: tuple[str, ...]
    if label == "entailment":
        shapes = (
            "the {noun} is {here}",
            "there is {a_kind} {here}",
            "the {noun} is {like}",
            "the {noun} is not {unlike}",
        )
    elif label == "contradiction":
        shapes = (
            "the {noun} is {unlike}",
            "the {noun} is {there}",
            "there is no {kind} {here}",
            "the {noun} is not {like}",
        )
    elif chance.random() < 0.3:
        return f"the {like} {kind} is {here}", f"there is {_article(noun)} {here}"
    else:
        shapes = (
            "the {noun} is {other}",
            "the {noun} {here} is {other}",
            "a man sees the {noun}",
            "the {noun} is not {other}",
        )
    names = {"noun": noun, "kind": kind, "a_kind": _article(kind), "here": here, "there": there}
    return premise, chance.choice(shapes).format(**names, like=like, unlike=unlike, other=other)


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
