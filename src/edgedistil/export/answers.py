"""What a graph answers to texts, and how far two graphs' answers lie apart."""

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from .calibration import open_session
from .graph import write_graph
from .precision import Precision
from .weights import ModelWeights

Logits = NDArray[np.float32]


@dataclass(frozen=True)
class Drift:
    """How answers moved away from those expected.

    Attributes:
        rms_ratio: root mean square of the logits' difference over the spread of the expected ones.
        kl: mean Kullback-Leibler divergence of the class probabilities from the expected ones, in nats.
        flips: answers whose best class is another one.
    """

    rms_ratio: float
    kl: float
    flips: int


def logits_of(weights: ModelWeights, precision: Precision, texts: list[list[int]]) -> Logits:
    """Logits ``[texts, classes]`` (or whatever the first output holds, joined) of token ids, one text at a time."""
    return run_texts(write_graph(weights, precision), texts)


def run_texts(model: onnx.ModelProto, texts: list[list[int]]) -> Logits:
    """The first output of a written graph for each text, stacked along the first axis."""
    session = open_session(model)
    rows = []
    for ids in texts:
        row = np.array([ids], np.int64)
        rows.append(session.run(None, {"input_ids": row, "attention_mask": np.ones_like(row)})[0])
    return np.concatenate([r.reshape(-1, r.shape[-1]) for r in rows])


def rms_ratio(found: Logits, expected: Logits) -> float:
    """Root mean square of the difference over the standard deviation of the expected logits."""
    return float(np.sqrt(np.mean((found - expected) ** 2)) / max(float(expected.std()), 1e-12))


def drift(found: Logits, expected: Logits) -> Drift:
    """How ``found`` differs from ``expected``, both ``[texts, classes]``."""
    sure, other = _log_shares(expected), _log_shares(found)
    kl = float((np.exp(sure) * (sure - other)).sum(-1).mean())
    flips = int((found.argmax(-1) != expected.argmax(-1)).sum())
    return Drift(rms_ratio(found, expected), kl, flips)


def _log_shares(logits: Logits) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    shares: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return shares
