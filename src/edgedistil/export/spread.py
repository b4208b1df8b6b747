"""How much a text's answer depends on what else is in its batch.

Activations quantised as they come take one range for the whole tensor: a longer neighbour, or the padding that it
brings, moves the steps of everybody (onnxruntime#8625, #10111). FP32 answers move by rounding alone.
"""

from pathlib import Path
from typing import Any

import numpy as np

from ..models.reference import read_reference
from .parity import differences


def padding_spread(model_file: Path, reference_folder: Path, batch_size: int = 8) -> dict[str, Any]:
    """Each reference text alone against the same text among others, padded to the longest of its batch.

    Batches are filled in the order of the file, so lengths are mixed as they come; ONNX Runtime's CPU provider.

    Returns:
        ``batch_size``, ``max_abs_difference``, ``rms_ratio`` and ``agreement`` as :func:`.parity.parity` has them, of
        the batched answers against those alone; ``n``; ``padding_share`` of all tokens in the batches.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model_file), options, providers=["CPUExecutionProvider"])
    wanted = {i.name for i in session.get_inputs()}
    ids, types, answers = read_reference(reference_folder)
    spans = answers[0].ndim == 2

    def asked(some: range) -> list[Any]:
        longest = max(len(ids[i]) for i in some)
        feed = {name: np.zeros((len(some), longest), np.int64) for name in ("input_ids", "attention_mask")}
        feed["token_type_ids"] = np.zeros((len(some), longest), np.int64)
        for place, i in enumerate(some):
            feed["input_ids"][place, : len(ids[i])], feed["token_type_ids"][place, : len(ids[i])] = ids[i], types[i]
            feed["attention_mask"][place, : len(ids[i])] = 1
        found = session.run(None, {name: value for name, value in feed.items() if name in wanted})
        if not spans:
            return list(found[0])
        return [np.stack([side[place, : len(ids[i])] for side in found]) for place, i in enumerate(some)]

    alone = [asked(range(i, i + 1))[0] for i in range(len(ids))]
    among: list[Any] = []
    tokens = 0
    for first in range(0, len(ids), batch_size):
        some = range(first, min(first + batch_size, len(ids)))
        among += asked(some)
        tokens += len(some) * max(len(ids[i]) for i in some)
    return {
        "batch_size": batch_size,
        **differences(among, alone),
        "padding_share": round(1 - sum(map(len, ids)) / tokens, 4),
    }
