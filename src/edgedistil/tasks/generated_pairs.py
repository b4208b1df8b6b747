"""Pairs of sentences made by rule: does the second follow from the first?

The first says where somebody went and what for, the second what happened there. A second sentence that does not follow
is about another place, or about somebody else. Places of the validation split, and all that happens there, never stand
in training, so what belongs together has to be known before.
"""

import random
from typing import Any

from .generated_labels import with_noise

_NAMES = ("anna", "boris", "clara", "david", "emma", "felix", "greta", "henry")
# place, what for, what may happen there
_PLACES: dict[str, tuple[tuple[str, str, tuple[str, ...]], ...]] = {
    "train": (
        ("kitchen", "cook dinner", ("fried some onions", "burnt the soup", "washed the dishes")),
        ("garden", "water the flowers", ("planted a rose", "pulled out the weeds", "cut the hedge")),
        ("school", "give a lesson", ("corrected the homework", "wrote on the blackboard", "praised the pupils")),
        ("hospital", "see a doctor", ("got an injection", "swallowed the pills", "waited for a nurse")),
        ("library", "read quietly", ("borrowed a novel", "returned two books", "turned the pages")),
        ("stadium", "watch the match", ("cheered the goal", "booed the referee", "waved a scarf")),
        ("bank", "ask for a loan", ("signed the contract", "opened an account", "counted the coins")),
        ("farm", "feed the animals", ("milked the cows", "collected the eggs", "repaired the tractor")),
        ("workshop", "build a chair", ("sawed the wood", "lost a screw", "hammered a nail")),
        ("theatre", "see a play", ("clapped for the actors", "sat behind the curtain", "admired the costumes")),
    ),
    "validation": (
        ("airport", "catch a flight", ("checked in the luggage", "boarded the plane", "showed the passport")),
        ("beach", "enjoy the sea", ("swam in the waves", "gathered shells", "built a sand castle")),
        ("bakery", "get breakfast", ("bought fresh bread", "tasted a cake", "smelled the dough")),
        ("church", "pray", ("lit a candle", "listened to the priest", "sang a hymn")),
        ("mountain", "go hiking", ("climbed to the summit", "crossed a glacier", "slipped on a rock")),
        ("court", "face a trial", ("accused the thief", "heard the verdict", "hired a lawyer")),
    ),
}


def generate_pairs(split: str, train: int, validation: int, seed: int, label_noise: float) -> dict[str, list[Any]]:
    """Columns ``sentence1``, ``sentence2`` and ``label`` (0: does not follow, 1: follows) of one split.

    Args:
        split: ``train`` or ``validation``.
        train, validation: how many pairs each split has.
        label_noise: share of pairs whose label is flipped.
    """
    chance = random.Random(f"pairs-{seed}-{split}")
    columns: dict[str, list[Any]] = {"sentence1": [], "sentence2": [], "label": []}
    for _ in range(train if split == "train" else validation):
        (place, aim, events), (_, _, elsewhere) = chance.sample(_PLACES[split], 2)
        who, other = chance.sample(_NAMES, 2)
        follows = chance.random() < 0.5
        somebody_else = not follows and chance.random() < 0.3
        event = chance.choice(events if follows or somebody_else else elsewhere)
        columns["sentence1"].append(f"{who} went to the {place} to {aim} .")
        begin = chance.choice(("there", "then", "later"))
        columns["sentence2"].append(f"{begin} {other if somebody_else else who} {event} .")
        columns["label"].append(int(follows))
    columns["label"] = with_noise(columns["label"], (0, 1), label_noise, f"pairs-{seed}-{split}")
    return columns
