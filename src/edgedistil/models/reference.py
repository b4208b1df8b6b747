"""PyTorch's own answers on real sentences, or windows of contexts, kept in the model folder: what every ONNX file of it
is held against."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from .kinds import takes_token_types
from .spans import is_span_model, span_logits

REFERENCE_FILE = "reference.safetensors"
SENTENCES = 128


def predict(model: Any, ids: list[list[int]], types: list[list[int]] | None = None) -> NDArray[np.float32]:
    """Logits ``[texts, classes]`` in float32, one text at a time, so that no padding can move them."""
    import torch

    rows = []
    with torch.inference_mode():
        for index, row in enumerate(ids):
            inputs = {"input_ids": torch.tensor([row]), "attention_mask": torch.ones(1, len(row), dtype=torch.long)}
            if types is not None and takes_token_types(model):
                inputs["token_type_ids"] = torch.tensor([types[index]])
            rows.append(model(**inputs).logits[0].float().numpy())
    return np.stack(rows)


def write_reference(model: Any, folder: Path, ids: list[list[int]], types: list[list[int]], seed: int) -> None:
    """Keep the logits of up to :data:`SENTENCES` texts, drawn with ``seed``: ``[texts, classes]``, of a model that
    answers by spans ``[texts, 2, longest]``."""
    chosen = sorted(random.Random(seed).sample(range(len(ids)), min(SENTENCES, len(ids))))
    some_ids, some_types = [ids[i] for i in chosen], [types[i] for i in chosen]
    longest = max(map(len, some_ids))
    padded = np.zeros((2, len(chosen), longest), np.int64)
    for row, (i, t) in enumerate(zip(some_ids, some_types, strict=True)):
        padded[0, row, : len(i)], padded[1, row, : len(t)] = i, t
    save_file(
        {
            "input_ids": padded[0],
            "token_type_ids": padded[1],
            "lengths": np.array([len(i) for i in some_ids], np.int64),
            "logits": _padded(span_logits(model, some_ids, some_types, batch_size=1))
            if is_span_model(model)
            else predict(model, some_ids, some_types),
        },
        folder / REFERENCE_FILE,
    )


def _padded(logits: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    wide = np.zeros((len(logits), 2, max(x.shape[1] for x in logits)), np.float32)
    for row, own in zip(wide, logits, strict=True):
        row[:, : own.shape[1]] = own
    return wide


def read_reference(folder: Path) -> tuple[list[list[int]], list[list[int]], Any]:
    """(ids, token types, logits) of the kept texts; logits are ``[texts, classes]``, or of spans a list of
    ``[2, tokens]``."""
    data = load_file(folder / REFERENCE_FILE)
    lengths = data["lengths"].tolist()
    ids = [row[:n].tolist() for row, n in zip(data["input_ids"], lengths, strict=True)]
    types = [row[:n].tolist() for row, n in zip(data["token_type_ids"], lengths, strict=True)]
    logits = data["logits"]
    return ids, types, logits if logits.ndim == 2 else [x[:, :n] for x, n in zip(logits, lengths, strict=True)]


def equal_share(logits: Sequence[NDArray[np.float32]], before: Sequence[NDArray[np.float32]]) -> float:
    """Share of equal answers: the best class of a text; a window's best start and best end are two answers.

    Of windows only answers count to which ``before`` gave at least half of the probability: where the answer is not in
    the window, or begins in one of several places, the best of hundreds of tokens is decided by rounding. 1 where there
    is no such answer.
    """
    equal, sure = [], []
    for new, old in zip(logits, before, strict=True):
        equal.append(np.atleast_1d(new.argmax(-1) == old.argmax(-1)))
        shares = np.exp(old - old.max(-1, keepdims=True))
        sure.append(shares.sum(-1) <= 2 if old.ndim == 2 else np.array([True]))
    kept = np.concatenate(equal)[np.concatenate(sure)]
    return float(kept.mean()) if len(kept) else 1.0


def uses_types(folder: Path) -> bool:
    """Whether the task's texts are pairs, told by the reference sentences: only then is a third input worth having."""
    return any(any(row) for row in read_reference(folder)[1])
