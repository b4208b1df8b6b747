"""A corpus tokenised once: flat arrays on disk that epochs, workers and ranks share by memory mapping.

Files of a corpus folder, all plain ``.npy``:

- ``ids.npy``: token ids of all texts one after another, uint16 (uint32 for vocabularies above 65,536)
- ``offsets.npy``: int64 ``[texts + 1]``; text i is ``ids[offsets[i]:offsets[i + 1]]``, [CLS] and [SEP] included
- ``counts.npy``: int64 ``[vocabulary]``, how often each token stands in the corpus
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError


@dataclasses.dataclass(frozen=True)
class Rules:
    """What becomes of a line.

    Args:
        max_length: tokens of a text with its two special tokens; longer ones are split and each piece wrapped again.
        drop_up_to: texts of at most so many tokens (special ones included) are dropped.
        drop_unknown: texts with at least this share of [UNK] are dropped.
        unknown_marker: how the source writes unknown words itself (WikiText's ``<unk>``); read as [UNK].
    """

    max_length: int
    drop_up_to: int
    drop_unknown: float
    unknown_marker: str | None = None


@dataclasses.dataclass(frozen=True)
class Special:
    """Ids of the tokenizer's special tokens; ``all`` are never masked."""

    start: int
    end: int
    unknown: int
    mask: int
    all: tuple[int, ...]


class Corpus:
    """Reads a corpus folder without loading it: ``corpus[i]`` is a view of one text's ids.

    Args:
        folder: as :func:`.corpus_build.build` writes it.
    """

    def __init__(self, folder: Path) -> None:
        self.ids: NDArray[Any] = np.load(folder / "ids.npy", mmap_mode="r", allow_pickle=False)
        self.offsets: NDArray[np.int64] = np.load(folder / "offsets.npy", mmap_mode="r", allow_pickle=False)
        self.counts: NDArray[np.int64] = np.load(folder / "counts.npy", mmap_mode="r", allow_pickle=False)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> NDArray[Any]:
        return np.asarray(self.ids[self.offsets[index] : self.offsets[index + 1]])

    def lengths(self) -> NDArray[np.int32]:
        """Tokens of each text, ``[texts]``: four bytes a text are all that is held in memory."""
        return np.diff(self.offsets).astype(np.int32)


def pieces(ids: list[int], rules: Rules, special: Special) -> list[list[int]]:
    """One line's ids (without special tokens) as texts of at most ``max_length`` tokens, each wrapped; [] if dropped.

    The order is the original's: split, then drop the short, then the unknown (``lm_seqs_dataset.py`` of
    huggingface/transformers-research-projects, distillation).
    """
    inner = rules.max_length - 2
    texts = [[special.start, *ids[i : i + inner], special.end] for i in range(0, len(ids), inner)]
    texts = [text for text in texts if len(text) > rules.drop_up_to]
    return [text for text in texts if text.count(special.unknown) < rules.drop_unknown * len(text)]


def special_tokens(tokenizer: Any) -> Special:
    """Read the special tokens off a ``tokenizers.Tokenizer`` of BERT's kind.

    Raises:
        UserError: it wraps a text in other than two tokens, or has no mask token.
    """
    # A file may bring its own padding, e.g. to 128 tokens.
    tokenizer.no_padding()
    wrapped = tokenizer.encode("").ids
    if len(wrapped) != 2:
        raise UserError(f"the tokenizer wraps an empty text in {len(wrapped)} tokens; [CLS] and [SEP] are needed")
    named = {t: tokenizer.token_to_id(t) for t in ("[UNK]", "[MASK]", "[PAD]", "<unk>", "<mask>", "<pad>")}
    unknown = named["[UNK]"] if named["[UNK]"] is not None else named["<unk>"]
    mask = named["[MASK]"] if named["[MASK]"] is not None else named["<mask>"]
    if mask is None:
        raise UserError("the tokenizer has no mask token ([MASK] or <mask>)")
    known = {i for i in (*wrapped, *named.values()) if i is not None}
    # -1 is no token: nothing is unknown to such a tokenizer.
    return Special(wrapped[0], wrapped[1], -1 if unknown is None else unknown, mask, tuple(sorted(known)))
