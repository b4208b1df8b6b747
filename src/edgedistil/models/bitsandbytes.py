"""bitsandbytes' quantisation of linear layers, applied when PyTorch loads a model; the folder keeps full precision."""

from typing import Any

import torch
from torch import nn

# Quantised heads cost accuracy and stopped users of these methods before (peft#1720).
_FULL_PRECISION = ("classifier", "pre_classifier", "pooler", "qa_outputs")


def quantise_linears(model: Any, method: str, device: str = "cpu", rest: torch.dtype = torch.float32) -> Any:
    """Replace every linear layer but the heads by ``Linear4bit`` (NF4) or ``Linear8bitLt`` (LLM.int8), in place.

    Works on cut layers too, because it reads each layer's own shape. NF4 is of QLoRA (Dettmers et al. 2023, arXiv
    2305.14314, section 3), with its block scales quantised once more. LLM.int8 (Dettmers et al. 2022, arXiv 2208.07339)
    is its vector-wise part, section 3.1: the outlier threshold is bitsandbytes' default of 0, so that no column is
    computed apart.

    Args:
        method: ``nf4`` or ``llm_int8``.
        device: where the layers are packed and the model stays; the processor unless another is asked for.
        rest: type of what is neither quantised nor a head (embeddings, LayerNorm, biases), and the type that the
            quantised layers compute in. Heads keep float32 and cast what comes in.
    """
    import bitsandbytes as bnb

    if rest != torch.float32:
        _narrow(model, rest)
    for name, module in list(model.named_modules()):
        for child_name, child in list(module.named_children()):
            path = f"{name}.{child_name}".strip(".")
            if not isinstance(child, nn.Linear) or _is_head(path):
                continue
            new: Any
            if method == "nf4":
                new = bnb.nn.Linear4bit(child.in_features, child.out_features, quant_type="nf4", compute_dtype=rest)
                new.weight = bnb.nn.Params4bit(child.weight.detach(), requires_grad=False, quant_type="nf4")
            else:
                new = bnb.nn.Linear8bitLt(child.in_features, child.out_features, has_fp16_weights=False)
                new.weight = bnb.nn.Int8Params(child.weight.detach(), requires_grad=False, has_fp16_weights=False)
            # A factored word table's shared matrix has none.
            new.bias = None if child.bias is None else nn.Parameter(child.bias.detach(), requires_grad=False)
            setattr(module, child_name, new)
    # The packing happens when the module moves to its device.
    return model.to(device).eval()


def _is_head(path: str) -> bool:
    return any(part in _FULL_PRECISION for part in path.split("."))


def _narrow(model: Any, rest: torch.dtype) -> None:
    """Everything but the heads in this type; heads cast what comes in, and are never rounded on the way."""

    def cast(module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(x.to(module.weight.dtype) for x in inputs)

    for path, module in model.named_modules():
        if isinstance(module, nn.Linear) and _is_head(path):
            module.register_forward_pre_hook(cast)
        elif not any(True for _ in module.children()):
            module.to(rest)
