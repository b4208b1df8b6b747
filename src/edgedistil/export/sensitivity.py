"""Which products may take statically quantised activations: chosen by what each does to the answers."""

import logging
from collections.abc import Callable
from typing import Any

from .answers import logits_of, rms_ratio
from .calibration import Choice, Range, observe
from .precision import Float32, Mixed, MixedInt8, Precision
from .weights import ClassificationHead, ModelWeights

log = logging.getLogger("edgedistil")
# Texts that the ranges are not taken from, for judging them.
_JUDGED = 64


def all_token_products(weights: ModelWeights) -> list[str]:
    """Names of the products with a row for every token; the others are too small for a static range to pay."""
    layers = len(weights.encoder.layers) - isinstance(weights.head, ClassificationHead)
    return [f"layer{i}.{part}" for i in range(layers) for part in ("qkv", "out", "ffn_in", "ffn_out")]


def choose_static(
    weights: ModelWeights,
    texts: list[list[int]],
    embeddings: bool,
    form: str,
    slack: float,
    choice: Choice | None = None,
    own: dict[str, Precision] | None = None,
) -> tuple[dict[str, Range], dict[str, Any]]:
    """Static ranges for as many products as the answers allow.

    Each product is made static alone and the logits' error against FP32 is measured; then products join in order of
    that error for as long as the whole graph errs at most ``1 + slack`` times as much as the all-dynamic one.

    Args:
        texts: token ids; the last 64 are judged on, the others observed.
        form: of the weights, see :class:`~edgedistil.export.precision.DynamicInt8`.
        choice: of a range from a histogram; :func:`~edgedistil.export.calibration.least_error` if left out.
        own: precisions of single products and tables; such a product is not made static.

    Returns:
        The chosen ranges by product, and facts: errors by product, of the dynamic and of the chosen graph.
    """
    observed, judged = texts[:-_JUDGED], texts[-_JUDGED:]
    own = own or {}
    products = [name for name in all_token_products(weights) if name not in own]
    ranges = observe(weights, observed, products, choice)
    expected = logits_of(weights, Float32(), judged)

    def error(names: list[str]) -> float:
        precision = Mixed(MixedInt8(embeddings, form, {n: ranges[n] for n in names}), own)
        return rms_ratio(logits_of(weights, precision, judged), expected)

    dynamic = error([])
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
