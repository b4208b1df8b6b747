"""Exact match and F1 of answers, by the rules of SQuAD 1.1's official script (``evaluate-v1.1.py``).

torchmetrics' SQuAD metric is not used: of two answers that are empty once normalised ("the" and "a") it says F1 1,
which is SQuAD 2.0's rule, where the official script of 1.1 says 0. A test holds the two equal everywhere else.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(answer: str) -> str:
    """Lower case, without ASCII punctuation, English articles and repeated white space."""
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_WITHOUT_PUNCTUATION)).split())


def exact_match(answer: str, expected: Sequence[str]) -> float:
    """1 when the answer equals one of the expected after normalisation, else 0."""
    own = normalised(answer)
    return float(any(own == normalised(text) for text in expected))


def token_f1(answer: str, expected: Sequence[str]) -> float:
    """The greatest F1 of shared words (as bags) with one of the expected; 0 where nothing is shared."""
    return max(_f1(normalised(answer).split(), normalised(text).split()) for text in expected)


def span_scores(answers: Sequence[str], expected: Sequence[Sequence[str]]) -> dict[str, NDArray[np.float64]]:
    """``exact_match`` and ``f1`` of each question, 0 to 1."""
    pairs = list(zip(answers, expected, strict=True))
    return {
        "exact_match": np.array([exact_match(a, e) for a, e in pairs]),
        "f1": np.array([token_f1(a, e) for a, e in pairs]),
    }


def _f1(own: list[str], theirs: list[str]) -> float:
    shared = (Counter(own) & Counter(theirs)).total()
    # With precision shared / own and recall shared / theirs, their harmonic mean.
    return 2 * shared / (len(own) + len(theirs)) if shared else 0.0
