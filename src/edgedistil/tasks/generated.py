"""Texts made by rule, for demos and tests: reviews with negation, contrast and intensity, and the way to the others.

The validation split uses adjectives that training never shows, so a model without pretrained knowledge stays near
chance on many sentences and damage by compression can be seen. Labels are flipped at random in a stated share of all
sentences, so a perfect score is out of reach by design.
"""

import importlib
import random
from collections.abc import Callable
from typing import Any

# Beside reviews; each is the function generate_NAME of the module generated_NAME.
OTHER_KINDS = ("pairs", "three_classes", "similarity", "acceptability", "spans")
_GOOD = {
    "train": (
        "great",
        "charming",
        "brilliant",
        "moving",
        "clever",
        "delightful",
        "funny",
        "fresh",
        "wonderful",
        "touching",
        "smart",
        "enjoyable",
        "impressive",
        "lovely",
        "gripping",
        "warm",
    ),
    "validation": ("superb", "witty", "stunning", "heartfelt", "excellent", "captivating", "masterful", "pleasant"),
}
_BAD = {
    "train": (
        "dull",
        "awful",
        "clumsy",
        "boring",
        "silly",
        "terrible",
        "tedious",
        "weak",
        "shallow",
        "messy",
        "annoying",
        "lifeless",
        "bland",
        "painful",
        "stupid",
        "flat",
    ),
    "validation": ("dreadful", "tiresome", "pointless", "horrible", "forgettable", "incoherent", "lame", "sloppy"),
}
_THINGS = (
    "film",
    "movie",
    "story",
    "script",
    "ending",
    "cast",
    "plot",
    "comedy",
    "drama",
    "sequel",
    "performance",
    "soundtrack",
    "camera work",
    "dialogue",
    "opening scene",
    "direction",
)
_STRONG = ("truly", "very", "really", "absolutely", "remarkably", "deeply")
_MILD = ("somewhat", "fairly", "a little", "rather")
_FILLERS = (
    "from start to finish",
    "for two long hours",
    "in every scene",
    "as everyone said",
    "to my surprise",
    "despite the small budget",
    "if you ask me",
    "like the book it comes from",
    "on a second viewing",
)


def generate(
    split: str, name: str, train: int, validation: int, seed: int, label_noise: float = 0.0
) -> dict[str, list[Any]]:
    """Columns of one split of a generated task.

    Args:
        split: ``train`` or ``validation``.
        name: which generator: ``reviews``, or a module of its own (:mod:`.generated_pairs`,
            :mod:`.generated_three_classes`, :mod:`.generated_similarity`, :mod:`.generated_acceptability`,
            :mod:`.generated_spans`).
        train, validation: how many texts, pairs or questions each split has.
        label_noise: share of labels that are wrong.

    Raises:
        UserError: there is no such generator.
    """
    if name != "reviews":
        return _other_kind(name)(split, train, validation, seed, label_noise)
    chance = random.Random(f"{name}-{seed}-{split}")
    sentences, labels = [], []
    for _ in range(train if split == "train" else validation):
        positive = chance.random() < 0.5
        sentences.append(_review(chance, positive, split))
        labels.append(int(positive != (chance.random() < label_noise)))
    return {"sentence": sentences, "label": labels}


def _other_kind(name: str) -> Callable[[str, int, int, int, float], dict[str, list[Any]]]:
    if name not in OTHER_KINDS:
        from ..errors import UserError

        raise UserError(f"task.generator.name={name!r} is unknown; allowed: {', '.join(('reviews', *OTHER_KINDS))}")
    module = importlib.import_module(f".generated_{name}", __package__)
    found: Callable[[str, int, int, int, float], dict[str, list[Any]]] = getattr(module, f"generate_{name}")
    return found


def _review(chance: random.Random, positive: bool, split: str) -> str:
    shape = chance.choice((_plain, _negated, _contrast, _concession, _comparison, _listing))
    sentence = shape(chance, positive, split)
    if chance.random() < 0.4:
        filler = chance.choice(_FILLERS)
        sentence = f"{sentence} {filler}" if chance.random() < 0.5 else f"{filler} , {sentence}"
    return sentence


def _word(chance: random.Random, positive: bool, split: str) -> str:
    return chance.choice((_GOOD if positive else _BAD)[split])


def _degree(chance: random.Random) -> str:
    return chance.choice(("", "", chance.choice(_STRONG) + " ", chance.choice(_MILD) + " "))


def _plain(chance: random.Random, positive: bool, split: str) -> str:
    return f"the {chance.choice(_THINGS)} is {_degree(chance)}{_word(chance, positive, split)}"


def _negated(chance: random.Random, positive: bool, split: str) -> str:
    negation = chance.choice(("not", "never", "anything but", "far from", "hardly"))
    return f"the {chance.choice(_THINGS)} is {negation} {_word(chance, not positive, split)}"


def _contrast(chance: random.Random, positive: bool, split: str) -> str:
    first, second = chance.sample(_THINGS, 2)
    return (
        f"the {first} looked {_word(chance, not positive, split)} at first but the {second} turned out "
        f"{_degree(chance)}{_word(chance, positive, split)}"
    )


def _concession(chance: random.Random, positive: bool, split: str) -> str:
    first, second = chance.sample(_THINGS, 2)
    return (
        f"although the {first} is {_word(chance, not positive, split)} , the {second} makes it "
        f"{_degree(chance)}{_word(chance, positive, split)} as a whole"
    )


def _comparison(chance: random.Random, positive: bool, split: str) -> str:
    link = "less" if chance.random() < 0.5 else "more"
    word = _word(chance, positive == (link == "more"), split)
    return (
        f"i expected worse , it is {link} {word} than the first one"
        if positive
        else f"i expected better , it is {link} {word} than the first one"
    )


def _listing(chance: random.Random, positive: bool, split: str) -> str:
    first, second = _word(chance, positive, split), _word(chance, positive, split)
    return f"{first} , {second} and {_degree(chance)}{_word(chance, positive, split)} , this {chance.choice(_THINGS)}"
