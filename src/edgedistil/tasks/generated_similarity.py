"""Pairs of sentences made by rule with how alike they are, 0 to 5: a regression.

A sentence has who, what is done, what to, where and when. Each of the five counts: 1 where both sentences say the same
or take synonyms, 0.4 where they name two of one sort (a dog, a cat), 0 where nothing connects them; the sum is the
score. Everything but the words of grammar differs between the validation split and training.
"""

import random
from typing import Any

from .generated_labels import with_noise

# What may fill each place, as sorts of words; each entry of a sort is one meaning with its synonyms.
_Sort = tuple[tuple[str, ...], ...]
_WHO: dict[str, tuple[_Sort, ...]] = {
    "train": (
        (("the child", "the kid"), ("the baby", "the infant")),
        (("the doctor", "the physician"), ("the nurse",)),
        (("the dog", "the hound"), ("the cat", "the kitten")),
        (("the soldier", "the trooper"), ("the officer",)),
    ),
    "validation": (
        (("the teacher", "the instructor"), ("the pupil", "the student")),
        (("the thief", "the burglar"), ("the policeman", "the cop")),
        (("the woman", "the lady"), ("the man", "the gentleman")),
    ),
}
_DOES: dict[str, tuple[_Sort, ...]] = {
    "train": (
        (("begins to eat", "starts to eat"), ("tastes",)),
        (("looks at", "gazes at"), ("ignores",)),
        (("fixes", "repairs"), ("breaks", "smashes")),
    ),
    "validation": ((("buys", "purchases"), ("sells",)), (("hides", "conceals"), ("shows", "displays"))),
}
_WHAT: dict[str, tuple[_Sort, ...]] = {
    "train": (
        (("an apple",), ("a pear",)),
        (("a car", "an automobile"), ("a bicycle", "a bike")),
        (("a stone", "a rock"), ("a stick", "a twig")),
        (("a couch", "a sofa"), ("a table",)),
    ),
    "validation": (
        (("a ship", "a boat"), ("a canoe",)),
        (("a gun", "a pistol"), ("a knife",)),
        (("a coat", "a jacket"), ("a hat", "a cap")),
    ),
}
_WHERE: dict[str, tuple[_Sort, ...]] = {
    "train": (
        (("in the woods", "in the forest"), ("in the meadow", "in the field")),
        (("in the house", "at home"), ("in the cellar", "in the basement")),
    ),
    "validation": (
        (("in the store", "in the shop"), ("on the market",)),
        (("on the street", "on the road"), ("on the bridge",)),
    ),
}
_WHEN: dict[str, tuple[_Sort, ...]] = {
    "train": ((("in the morning", "at dawn"), ("at noon", "at midday")), (("in winter",), ("in summer",))),
    "validation": (
        (("in the evening", "at dusk"), ("at night", "after dark")),
        (("in autumn", "in fall"), ("in spring",)),
    ),
}
_PARTS = (_WHO, _DOES, _WHAT, _WHERE, _WHEN)
_SAME_SORT = 0.4
SCORES = tuple(float(score) for score in range(6))


def generate_similarity(split: str, train: int, validation: int, seed: int, label_noise: float) -> dict[str, list[Any]]:
    """Columns ``sentence1``, ``sentence2`` and ``label`` (a number from 0 to 5) of one split.

    Args:
        split: ``train`` or ``validation``.
        train, validation: how many pairs each split has.
        label_noise: share of pairs that get a whole number from 0 to 5 instead of their score.
    """
    chance = random.Random(f"similarity-{seed}-{split}")
    columns: dict[str, list[Any]] = {"sentence1": [], "sentence2": [], "label": []}
    for _ in range(train if split == "train" else validation):
        # Drawn first, or the middle of the scale would be all there is.
        alike = chance.random()
        parts = [_part(chance, part[split], alike) for part in _PARTS]
        columns["sentence1"].append(" ".join(first for first, _, _ in parts))
        columns["sentence2"].append(" ".join(second for _, second, _ in parts))
        columns["label"].append(round(sum(score for _, _, score in parts), 1))
    columns["label"] = with_noise(columns["label"], SCORES, label_noise, f"similarity-{seed}-{split}")
    return columns


def _part(chance: random.Random, sorts: tuple[_Sort, ...], alike: float) -> tuple[str, str, float]:
    """(words of the first sentence, of the second, how alike they are)."""
    sort, other = chance.sample(sorts, 2)
    meaning, neighbour = chance.sample(sort, 2)
    first = chance.choice(meaning)
    if chance.random() < alike:
        return first, chance.choice(meaning), 1.0
    if chance.random() < 0.5:
        return first, chance.choice(neighbour), _SAME_SORT
    return first, chance.choice(chance.choice(other)), 0.0
