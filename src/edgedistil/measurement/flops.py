"""Floating-point operations of one text, counted from the shapes that are really there."""

import copy
from typing import Any


def graph_flops(weights: Any, tokens: int, trimmed: bool = True) -> int:
    """Operations (multiply and add count as two) of the exported graph for one text of ``tokens`` tokens.

    Matrix products only, as the graph executes them: where the head reads the first token alone, the last layer's
    products with key and value have one row a head.

    Args:
        weights: :class:`edgedistil.export.weights.ModelWeights`.
        trimmed: as our graphs do it; False counts whole last layers, as PyTorch computes them.
    """
    encoder, head = weights.encoder, weights.head
    classifier = hasattr(head, "classifier")
    total = 0 if encoder.words_shared is None else tokens * encoder.words_shared.size
    for index, layer in enumerate(encoder.layers):
        only_first = trimmed and classifier and index == len(encoder.layers) - 1
        rows = 1 if only_first else tokens
        inner, width = layer.query.bias.size, layer.out.bias.size
        total += rows * layer.query.weight.size
        total += (layer.heads if only_first else tokens) * (layer.key.weight.size + layer.value.weight.size)
        total += 2 * tokens * (layer.heads * width if only_first else rows * inner)
        total += rows * (layer.out.weight.size + layer.ffn_in.weight.size + layer.ffn_out.weight.size)
    if classifier:
        total += head.dense.weight.size + head.classifier.weight.size
    elif hasattr(head, "outputs"):
        total += tokens * head.outputs.weight.size
    else:
        total += tokens * (head.transform.weight.size + encoder.words.size)
    return 2 * int(total)


def module_flops(model: Any, tokens: int) -> int:
    """Operations of a transformers model for one text of ``tokens`` tokens, as :func:`graph_flops` counts them
    (matrix products only, a multiply and an add are two), of architectures whose weights we don't read.

    PyTorch counts the products that the model really calls, on tensors without values.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    shadow = copy.deepcopy(model).to("meta").eval()
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        shadow(input_ids=torch.zeros(1, tokens, dtype=torch.long, device="meta"))
    return int(counter.get_total_flops())
