"""Contexts, questions and answers made by rule, for demos and tests of question answering.

A context tells where some people put some things and when; a question asks for one of these facts. Names of the
validation split never stand in training.
"""

import random
from typing import Any

from ..errors import UserError

_NAMES = {
    "train": ("anna", "boris", "clara", "david", "emma", "felix", "greta", "henry", "ida", "jonas", "karl", "lena"),
    "validation": ("maria", "nils", "olga", "peter", "rosa", "simon"),
}
_THINGS = ("key", "letter", "lamp", "map", "coin", "book", "ring", "cup", "knife", "hat", "violin", "box")
_PLACES = ("kitchen", "garden", "cellar", "attic", "station", "market", "library", "harbour", "church", "school")
_TIMES = ("on monday", "on friday", "at noon", "at night", "in spring", "in winter", "before breakfast", "after dinner")
_FILLERS = ("nobody knew why .", "it was raining .", "that surprised the neighbours .", "then all was quiet .")


def generate_spans(
    split: str, train: int, validation: int, seed: int, label_noise: float = 0.0
) -> dict[str, list[Any]]:
    """Columns of one split as SQuAD has them: id, title, context, question, answers {text, answer_start}.

    Args:
        split: ``train`` or ``validation``.
        train, validation: how many questions each split has; each context has three.
        label_noise: must be 0: every answer is right.

    Raises:
        UserError: other noise is asked for.
    """
    if label_noise:
        raise UserError(f"task.generator.label_noise={label_noise}: generated questions have none; leave it out")
    chance = random.Random(f"spans-{seed}-{split}")
    count = train if split == "train" else validation
    columns: dict[str, list[Any]] = {name: [] for name in ("id", "title", "context", "question", "answers")}
    while len(columns["id"]) < count:
        context, facts = _context(chance, split)
        for question, answer, start in chance.sample(facts, 3)[: count - len(columns["id"])]:
            columns["id"].append(f"{split}-{len(columns['id'])}")
            columns["title"].append("generated")
            columns["context"].append(context)
            columns["question"].append(question)
            columns["answers"].append({"text": [answer], "answer_start": [start]})
    return columns


def _context(chance: random.Random, split: str) -> tuple[str, list[tuple[str, str, int]]]:
    """A context and (question, answer, first character of the answer) of each of its facts."""
    context, facts = "", []
    names, things = chance.sample(_NAMES[split], 4), chance.sample(_THINGS, 4)
    for name, thing in zip(names, things, strict=True):
        place, time = f"the {chance.choice(_PLACES)}", chance.choice(_TIMES)
        begin = len(context)
        sentence = f"{name} put the {thing} in {place} {time} . "
        facts += [
            (f"who had the {thing} ?", name, begin),
            (f"where is the {thing} ?", place, begin + sentence.index(place)),
            (f"when did {name} come ?", time, begin + sentence.index(time)),
        ]
        context += sentence + (f"{chance.choice(_FILLERS)} " if chance.random() < 0.5 else "")
    return context.strip(), facts
