"""Outliers of activations moved into the weights before both are quantised, without changing what a model computes.

Xiao et al. 2022 ("SmoothQuant", arXiv 2211.10438). A channel that is large in every text stretches the 256 steps of the
whole activation; divided by a factor there and multiplied by it in the weights' row, the product is the same.
"""

from dataclasses import replace

import numpy as np

from .calibration import channel_maxima
from .sensitivity import all_token_products
from .weights import Array, EncoderWeights, LayerWeights, Linear, ModelWeights, Norm


def smooth(weights: ModelWeights, texts: list[list[int]], alpha: float) -> ModelWeights:
    """Equal weights whose activations have less of outlier channels, as seen on ``texts`` (token ids).

    The input of query, key and value and that of the FFN come out of a LayerNorm, which gives its gain and bias up to
    the division. In BERT that output is also added to what follows, so the sum takes it times the factors again
    (``attention_residual``, ``ffn_residual``: one more multiplication each, where a model with its norms in front has
    none). The context before ``out`` is divided in the value's columns. What goes into ``ffn_out`` comes from GELU,
    which lets no factor pass, and stays as it is; so does a last layer that computes the first token only.

    Args:
        alpha: 0 leaves all to the activations, 1 all to the weights; the paper's 0.5 shares it evenly.
    """
    wanted = [name for name in all_token_products(weights) if not name.endswith(".ffn_out")]
    maxima = channel_maxima(weights, texts, wanted)
    encoder, layers = weights.encoder, list(weights.encoder.layers)
    for index, layer in enumerate(layers):
        if f"layer{index}.qkv" not in maxima:
            continue
        joined = np.concatenate([layer.query.weight, layer.key.weight, layer.value.weight], 1)
        factors = factors_of(maxima[f"layer{index}.qkv"], joined, alpha)
        encoder = _divide_norm_before(encoder, layers, index, factors)
        layers[index] = _smoothed(replace(layer, attention_residual=factors), maxima, index, alpha, factors)
    return replace(weights, encoder=replace(encoder, layers=layers))


def factors_of(maxima: Array, weight: Array, alpha: float) -> Array:
    """``max|X_j|^α / max|W_j|^(1−α)`` for each input channel ``j`` (equation 4); 1 where either is nothing but 0.

    Args:
        maxima: largest magnitude of each channel of the input, ``[in]``.
        weight: ``[in, out]``.
    """
    rows = np.abs(weight).max(1)
    usable = (maxima > 0) & (rows > 0)
    factors = np.where(usable, maxima, 1.0) ** alpha / np.where(usable, rows, 1.0) ** (1 - alpha)
    return factors.astype(np.float32)


def _smoothed(layer: LayerWeights, maxima: dict[str, Array], index: int, alpha: float, factors: Array) -> LayerWeights:
    into_ffn = factors_of(maxima[f"layer{index}.ffn_in"], layer.ffn_in.weight, alpha)
    context = factors_of(maxima[f"layer{index}.out"], layer.out.weight, alpha)
    value = _times(layer.value, factors)
    return replace(
        layer,
        query=_times(layer.query, factors),
        key=_times(layer.key, factors),
        value=Linear(value.weight / context, value.bias / context),
        out=_times(layer.out, context),
        attention_norm=_divided(layer.attention_norm, into_ffn),
        ffn_in=_times(layer.ffn_in, into_ffn),
        ffn_residual=into_ffn,
    )


def _divide_norm_before(
    encoder: EncoderWeights, layers: list[LayerWeights], index: int, factors: Array
) -> EncoderWeights:
    if index == 0:
        return replace(encoder, embedding_norm=_divided(encoder.embedding_norm, factors))
    layers[index - 1] = replace(layers[index - 1], ffn_norm=_divided(layers[index - 1].ffn_norm, factors))
    return encoder


def _divided(norm: Norm, factors: Array) -> Norm:
    return replace(norm, gain=norm.gain / factors, bias=norm.bias / factors)


def _times(layer: Linear, factors: Array) -> Linear:
    return Linear(layer.weight * factors[:, None], layer.bias)
