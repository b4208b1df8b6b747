"""Models that answer questions by a span: their head and their scores of every token."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .kinds import SPANS, takes_token_types


def is_span_model(model: Any) -> bool:
    """Whether the model scores starts and ends, told by its class."""
    return type(model).__name__.endswith(SPANS)


def span_logits(
    model: Any, ids: Sequence[Any], types: Sequence[Any], device: Any = "cpu", batch_size: int = 32
) -> list[NDArray[np.float32]]:
    """Start and end logits ``[2, tokens]`` in float32 of each window, in order.

    Windows of like lengths share a batch; ``batch_size=1`` pads nothing.

    Args:
        ids, types: token ids and token types of each window.
        device: where ``model`` is.
    """
    import torch

    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    found: list[Any] = [None] * len(ids)
    with torch.inference_mode():
        for first in range(0, len(order), batch_size):
            some = order[first : first + batch_size]
            shape = (len(some), len(ids[some[-1]]))
            rows, kinds, mask = (np.zeros(shape, np.int64) for _ in range(3))
            for place, i in enumerate(some):
                rows[place, : len(ids[i])], kinds[place, : len(ids[i])] = ids[i], types[i]
                mask[place, : len(ids[i])] = 1
            inputs = {"input_ids": rows, "attention_mask": mask}
            if takes_token_types(model):
                inputs["token_type_ids"] = kinds
            answer = model(**{name: torch.from_numpy(value).to(device) for name, value in inputs.items()})
            logits = torch.stack([answer.start_logits, answer.end_logits], 1).float().cpu().numpy()
            for place, i in enumerate(some):
                found[i] = logits[place, :, : len(ids[i])].copy()
    return found
