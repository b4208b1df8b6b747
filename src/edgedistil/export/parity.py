"""The parity gate: an ONNX file answers as PyTorch does on the reference sentences, within a stated bound."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..models.reference import equal_share, read_reference

FLOAT_BOUND = 1e-4


def parity(model_file: Path, reference_folder: Path) -> dict[str, Any]:
    """Differences of logits, one sentence at a time without padding, on ONNX Runtime's CPU provider.

    Of a model that answers by spans the logits of a window are ``start_logits`` and ``end_logits`` over its tokens.

    Returns:
        ``max_abs_difference``; ``rms_ratio`` (root mean square of the difference over that of the centred logits);
        ``agreement`` (share of equal answers: the best class, or best starts and best ends); ``n``.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model_file), options, providers=["CPUExecutionProvider"])
    wanted = {i.name for i in session.get_inputs()}
    ids, types, expected = read_reference(reference_folder)
    outputs = ["start_logits", "end_logits"] if expected[0].ndim == 2 else ["logits"]
    found = []
    for row, kinds in zip(ids, types, strict=True):
        feed = {"input_ids": [row], "attention_mask": [[1] * len(row)], "token_type_ids": [kinds]}
        parts = session.run(outputs, {k: np.array(v, np.int64) for k, v in feed.items() if k in wanted})
        found.append(np.concatenate(parts) if len(parts) > 1 else parts[0][0])
    return differences(found, expected)


def differences(found: Sequence[NDArray[np.float32]], expected: Sequence[NDArray[np.float32]]) -> dict[str, Any]:
    """How far logits of the same texts lie apart: see :func:`parity`."""
    difference = np.concatenate([(f - e).ravel() for f, e in zip(found, expected, strict=True)])
    return {
        "max_abs_difference": float(np.abs(difference).max()),
        "rms_ratio": float(np.sqrt(np.mean(difference**2))) / centred_spread(expected),
        "agreement": equal_share(found, expected),
        "n": len(found),
    }


def centred_spread(logits: Any) -> float:
    """Root mean square of logits around each text's own mean, at least 1e-12: what differences are measured in.

    Of a single output there is no mean of a text, and it is around that of all texts."""
    if all(e.shape[-1] == 1 for e in logits):
        return max(float(np.concatenate(logits).std()), 1e-12)
    centred = np.concatenate([(e - e.mean(-1, keepdims=True)).ravel() for e in logits])
    return max(float(np.sqrt(np.mean(centred**2))), 1e-12)


def verdict(figures: dict[str, Any], quantization: dict[str, Any]) -> str | None:
    """Why the gate stays shut, with the figures, or None when it opens."""
    if quantization["method"] == "none":
        if figures["max_abs_difference"] <= FLOAT_BOUND:
            return None
        return f"FP32 logits differ from PyTorch's by {figures['max_abs_difference']:.2e}, allowed {FLOAT_BOUND:.0e}"
    if figures["rms_ratio"] <= quantization["max_rms"] and figures["agreement"] >= quantization["min_agreement"]:
        return None
    return (
        f"{quantization['method']} moves the logits by {figures['rms_ratio']:.3f} of their spread (allowed "
        f"{quantization['max_rms']:g}) and keeps {figures['agreement']:.3f} of {figures['n']} answers (needed "
        f"{quantization['min_agreement']:g}); to keep it all the same, loosen "
        "compression.quantization.max_rms or min_agreement"
    )
