"""Which products may take statically quantised activations: chosen by what each does to the answers."""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from .calibration import Range, observe, open_session
from .graph import write_graph
from .precision import DynamicInt8, Float32, MixedInt8, Precision
from .weights import ClassificationHead, ModelWeights

log = logging.getLogger("edgedistil")
# Texts that the ranges are not taken from, for judging them.
_JUDGED = 64


def all_token_products(weights: ModelWeights) -> list[str]:
    """Names of the products with a row for every token; the others are too small for a static range to pay."""
    layers = len(weights.encoder.layers) - isinstance(weights.head, ClassificationHead)
    return [f"layer{i}.{part}" for i in range(layers) for part in ("qkv", "out", "ffn_in", "ffn_out")]


def choose_static(
    weights: ModelWeights, texts: list[list[int]], embeddings: bool, form: str, slack: float
) -> tuple[dict[str, Range], dict[str, Any]]:
    """Static ranges for as many products as the answers allow.

    Each product is made static alone and the logits' error against FP32 is measured; then products join in order of
    that error for as long as the whole graph errs at most ``1 + slack`` times as much as the all-dynamic one.

    Args:
        texts: token ids; the last 64 are judged on, the others observed.
        form: of the weights, see :class:`~edgedistil.export.precision.DynamicInt8`.

    Returns:
        The chosen ranges by product, and facts: errors by product, of the dynamic and of the chosen graph.
    """
    observed, judged = texts[:-_JUDGED], texts[-_JUDGED:]
    products = all_token_products(weights)
    ranges = observe(weights, observed, products)
    expected = _logits(weights, Float32(), judged)

    def error(names: list[str]) -> float:
        precision = MixedInt8(embeddings, form, {n: ranges[n] for n in names})
        return _error(_logits(weights, precision, judged), expected)

    dynamic = _error(_logits(weights, DynamicInt8(embeddings, form), judged), expected)
    alone = {name: error([name]) for name in products}
    order = sorted(products, key=alone.__getitem__)
    count = _largest(len(order), lambda n: error(order[:n]) <= (1 + slack) * dynamic)
    chosen = order[:count]
    facts = {
        "static_products": sorted(chosen),
        "dynamic_rms_ratio": dynamic,
        "static_rms_ratio": error(chosen) if chosen else dynamic,
        "rms_ratio_by_product": alone,
        "observed_texts": len(observed),
        "judged_texts": len(judged),
    }
    log.info("static activations for %d of %d products", count, len(products))
    return {name: ranges[name] for name in chosen}, facts


def _largest(most: int, holds: Callable[[int], bool]) -> int:
    """The largest n in 0..most that holds, by bisection: it holds at 0, and more products err more."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if holds(middle):
            low = middle
        else:
            high = middle - 1
    return low


def _logits(weights: ModelWeights, precision: Precision, texts: list[list[int]]) -> NDArray[np.float32]:
    model: onnx.ModelProto = write_graph(weights, precision)
    session = open_session(model)
    rows = []
    for ids in texts:
        row = np.array([ids], np.int64)
        rows.append(session.run(None, {"input_ids": row, "attention_mask": np.ones_like(row)})[0].reshape(-1))
    return np.concatenate(rows)


def _error(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Root mean square of the difference over that of the expected logits' spread."""
    return float(np.sqrt(np.mean((found - expected) ** 2)) / max(float(expected.std()), 1e-12))
