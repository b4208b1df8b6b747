"""What is timed: real texts, exact lengths and batches, made of the task's own tokens."""

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

from .interleave import Scenario


def scenarios(ids: list[list[int]], lengths: list[int], seed: int) -> list[Scenario]:
    """Real sentences in random order, and for each exact length the real tokens of sentences joined and cut to it.

    A cut row keeps the first token ([CLS]) and the last ([SEP]), so it is a text as the model knows them.
    """
    real = _shuffled(ids, seed)
    stream = [token for row in real for token in row[1:-1]]
    first, last = real[0][0], real[0][-1]
    made = [Scenario("real", [[row] for row in real])]
    for length in lengths:
        inner = length - 2
        copies = -(-inner * 8 // max(1, len(stream))) + 1
        supply = stream * copies
        made.append(
            Scenario(f"tokens_{length}", [[[first, *supply[i * inner : (i + 1) * inner], last]] for i in range(8)])
        )
    return made


def batch_scenarios(ids: list[list[int]], sizes: Sequence[int], rounds: int, seed: int) -> list[Scenario]:
    """``rounds`` batches of each size of real sentences, to be padded to the longest of each batch.

    ``batch_8``: as they come, in random order. ``sorted_8``: neighbours in length share a batch, as a server does that
    may collect or sort its texts; little padding is left. A size beyond the number of sentences is left out.
    """
    real = _shuffled(ids, seed)
    made = []
    for size in sizes:
        if not rounds or size > len(real):
            continue
        as_they_come = [[real[(n * size + i) % len(real)] for i in range(size)] for n in range(rounds)]
        made.append(Scenario(f"batch_{size}", as_they_come))
        if size > 1:
            made.append(Scenario(f"sorted_{size}", _by_length(real, size, rounds)))
    return made


def exact_batches(ids: list[list[int]], wanted: Sequence[str], rounds: int, seed: int) -> list[Scenario]:
    """For each ``256x128`` batches of 256 rows of 128 real tokens: no padding, so their work is known."""
    made = []
    for text in wanted if rounds else ():
        rows, _, tokens = text.partition("x")
        count, (_, exact) = int(rows), scenarios(ids, [int(tokens)], seed)
        supply = [row for (row,) in exact.batches]
        batches = [[supply[(n + i) % len(supply)] for i in range(count)] for n in range(rounds)]
        made.append(Scenario(f"tokens_{tokens}_batch_{rows}", batches))
    return made


def _by_length(ids: list[list[int]], size: int, rounds: int) -> list[list[list[int]]]:
    """Batches at even distances from the shortest to the longest, so that few of them stand for all."""
    ordered = sorted(ids, key=len)
    groups = [ordered[i : i + size] for i in range(0, len(ordered) - size + 1, size)]
    return [groups[(2 * n + 1) * len(groups) // (2 * rounds)] for n in range(rounds)]


def length_facts(ids: list[list[int]]) -> dict[str, Any]:
    """Mean and greatest number of tokens a text, and the histogram (tokens → texts)."""
    counts = Counter(map(len, ids))
    return {
        "mean": round(sum(map(len, ids)) / len(ids), 2),
        "max": max(counts),
        "histogram": {str(tokens): counts[tokens] for tokens in sorted(counts)},
    }


def _shuffled(ids: list[list[int]], seed: int) -> list[list[int]]:
    order = list(range(len(ids)))
    random.Random(seed).shuffle(order)
    return [ids[i] for i in order]
