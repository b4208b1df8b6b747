"""Texts of a tokenised corpus with some tokens hidden, as a masked language model is trained, scored and cut on."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..learning.masking import NO_TARGET, DynamicMasking, Vocabulary, generator
from ..learning.pretraining import HELD_OUT_SEED
from ..tasks.corpus import Corpus, special_tokens
from ..tasks.corpus_data import HELD_OUT_BATCH, collate

_CALIBRATION_BATCH = 8


@dataclass(frozen=True)
class Masked:
    """One text: ``true`` ids, ``shown`` ids with targets hidden, and where the targets are; all ``[tokens]``."""

    true: Tensor
    shown: Tensor
    target: Tensor


def vocabulary_of(folder: Path, train: Corpus, size: int) -> Vocabulary:
    """What masking must know of a model folder's tokenizer and of the corpus that it learns from.

    Args:
        size: of the model's vocabulary.

    Raises:
        UserError: the model knows fewer tokens than the tokenizer.
    """
    from tokenizers import Tokenizer

    from ..models.vocabulary import check_vocabulary_fits

    counts = torch.zeros(size, dtype=torch.int64)
    check_vocabulary_fits(len(train.counts), size)
    counts[: len(train.counts)] = torch.from_numpy(train.counts.copy())
    special = special_tokens(Tokenizer.from_file(str(folder / "tokenizer.json")))
    return Vocabulary(counts, special.mask, special.all)


def held_out_texts(corpus: Corpus, masking: DynamicMasking) -> Iterator[Masked]:
    """The held-out texts with the masks that training's own validation draws: the same for every model and seed."""
    order = np.argsort(corpus.lengths(), kind="stable")
    for number, first in enumerate(range(0, len(order), HELD_OUT_BATCH)):
        some = [corpus[i] for i in order[first : first + HELD_OUT_BATCH].tolist()]
        batch = collate(some, 0)
        chance = generator(HELD_OUT_SEED, "held_out", number)
        shown, labels = masking(batch["input_ids"], batch["attention_mask"], chance)
        for row, text in enumerate(some):
            n = len(text)
            yield Masked(batch["input_ids"][row, :n], shown[row, :n], labels[row, :n] != NO_TARGET)


def calibration_batches(corpus: Corpus, masking: DynamicMasking, pad_id: int, count: int, seed: int) -> list[Any]:
    """``count`` texts drawn with ``seed``, as batches of ``input_ids`` with targets hidden, ``attention_mask`` and
    ``masked_labels``, all int64 ``[batch, tokens]``."""
    drawn = np.random.default_rng(seed).permutation(len(corpus))[:count]
    lengths = corpus.lengths()
    order = sorted(drawn.tolist(), key=lambda i: int(lengths[i]))
    batches = []
    for number, first in enumerate(range(0, len(order), _CALIBRATION_BATCH)):
        batch = collate([corpus[i] for i in order[first : first + _CALIBRATION_BATCH]], pad_id)
        shown, labels = masking(batch["input_ids"], batch["attention_mask"], generator(seed, "calibration", number))
        batches.append({"input_ids": shown, "attention_mask": batch["attention_mask"], "masked_labels": labels})
    return batches
