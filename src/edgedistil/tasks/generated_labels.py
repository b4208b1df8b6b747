"""Label noise of the generated tasks: which labels are wrong, drawn apart from the sentences, so that the sentences of
two shares of noise are the same."""

import random
from collections.abc import Sequence
from typing import Any


def with_noise(labels: Sequence[Any], allowed: Sequence[Any], share: float, seed: str) -> list[Any]:
    """``labels``, each with probability ``share`` replaced by another of ``allowed``, drawn evenly."""
    chance = random.Random(f"noise-{seed}")
    found = []
    for label in labels:
        wrong = chance.random() < share
        other = chance.choice([value for value in allowed if value != label])
        found.append(other if wrong else label)
    return found
