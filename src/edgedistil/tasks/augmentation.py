"""More training texts out of those that there are: copies with some of their words replaced.

The scheme is that of TinyBERT (Jiao et al. 2020, arXiv 1909.10351, algorithm 1): each word of a copy is replaced with
the same probability, by one of a few candidates, each as likely. Unlike there, candidates are found for each word in
the text as it was written, and a word is never its own candidate. Which words and which candidates is drawn from the
seed and the text's number alone, so neither batches nor chunks nor threads change a copy.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Text = tuple[str, ...]


@dataclass(frozen=True)
class Word:
    """Characters ``start:end`` of the text in ``column``, and the tokens that they became."""

    column: int
    start: int
    end: int
    # of its first piece among the tokens
    position: int
    pieces: tuple[int, ...]


@dataclass(frozen=True)
class Copying:
    """How copies are made.

    Args:
        copies: of each text.
        probability: that a word of a copy is replaced.
        seed: of what is drawn.
    """

    copies: int
    probability: float
    seed: int


@dataclass(frozen=True)
class Copied:
    """``copies[i]`` are those of text i; ``words`` could have been replaced, over all copies, ``replaced`` were."""

    copies: list[list[Text]]
    words: int
    replaced: int


# (encodings of the texts, [(number of the text among them, word)]) -> what may stand in each word's place: nothing
# where the word has to stay.
FindCandidates = Callable[[list[Any], list[tuple[int, Word]]], list[list[str]]]


def copy_texts(
    texts: list[Text], numbers: list[int], tokenizer: Any, candidates: FindCandidates, how: Copying
) -> Copied:
    """Copies of each text, those that came out unchanged included.

    Args:
        texts: one or two strings each.
        numbers: what each text is drawn by, e.g. its row in the training split.
        tokenizer: a ``tokenizers.Tokenizer`` that truncates where the model that finds candidates has to; what lies
            behind is never replaced.
    """
    encodings = tokenizer.encode_batch([t[0] if len(t) == 1 else t for t in texts])
    words = [find_words(encoding, text) for encoding, text in zip(encodings, texts, strict=True)]
    drawn = [draw(number, len(some), how) for number, some in zip(numbers, words, strict=True)]
    places = [(i, w) for i, picks in enumerate(drawn) for w in sorted({w for copy in picks for w in copy})]
    found = candidates(encodings, [(i, words[i][w]) for i, w in places])
    choice = dict(zip(places, found, strict=True))
    copies: list[list[Text]] = []
    replaced = 0
    for i, text in enumerate(texts):
        copies.append([])
        for picks in drawn[i]:
            new = {w: choice[i, w][int(pick * len(choice[i, w]))] for w, pick in picks.items() if choice[i, w]}
            copies[i].append(replace_words(text, words[i], new))
            replaced += len(new)
    return Copied(copies, how.copies * sum(map(len, words)), replaced)


def find_words(encoding: Any, text: Text) -> list[Word]:
    """The words of an encoded text that hold a letter or a digit, in order, without a last one that may be cut."""
    found: dict[tuple[int, int], Word] = {}
    parts = zip(encoding.sequence_ids, encoding.word_ids, encoding.offsets, encoding.ids, strict=True)
    for position, (column, word, (start, end), piece) in enumerate(parts):
        if column is None or word is None:
            continue
        old = found.get((column, word))
        found[column, word] = (
            Word(column, old.start, end, old.position, (*old.pieces, piece))
            if old
            else Word(column, start, end, position, (piece,))
        )
    if encoding.overflowing:
        for column in range(len(text)):
            last = max((key for key in found if key[0] == column), default=None)
            found.pop(last, None)  # type: ignore[arg-type]
    return [w for w in found.values() if any(c.isalnum() for c in text[w.column][w.start : w.end])]


def draw(number: int, words: int, how: Copying) -> list[dict[int, float]]:
    """For each copy, the words to be replaced and a number in [0, 1) that chooses among the candidates."""
    chance = random.Random(f"augmentation-{how.seed}-{number}")
    # Both are drawn for each word, so that another probability leaves the choices as they are.
    pairs = [[(chance.random(), chance.random()) for _ in range(words)] for _ in range(how.copies)]
    return [{w: pick for w, (u, pick) in enumerate(copy) if u < how.probability} for copy in pairs]


def replace_words(text: Text, words: list[Word], new: dict[int, str]) -> Text:
    """``text`` with ``new[i]`` in the place of ``words[i]``; everything else stays as it was written."""
    columns = list(text)
    for i in sorted(new, key=lambda i: words[i].start, reverse=True):
        word = words[i]
        before, after = columns[word.column][: word.start], columns[word.column][word.end :]
        # Scripts that write without spaces.
        left = " " if before[-1:].isalnum() else ""
        right = " " if after[:1].isalnum() else ""
        columns[word.column] = f"{before}{left}{new[i]}{right}{after}"
    return tuple(columns)
