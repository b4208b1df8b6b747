"""bitsandbytes' quantisation of linear layers, applied when PyTorch loads a model; the folder keeps full precision."""

from typing import Any

import torch
from torch import nn

# Quantised heads cost accuracy and stopped users of these methods before (peft#1720).
_FULL_PRECISION = ("classifier", "pre_classifier", "pooler", "qa_outputs")


def quantise_linears(model: Any, method: str) -> Any:
    """Replace every linear layer but the heads by ``Linear4bit`` (NF4) or ``Linear8bitLt`` (LLM.int8), in place.

    Works on cut layers too, because it reads each layer's own shape.

    Args:
        method: ``nf4`` or ``llm_int8``.
    """
    import bitsandbytes as bnb

    for name, module in list(model.named_modules()):
        for child_name, child in list(module.named_children()):
            path = f"{name}.{child_name}".strip(".")
            if not isinstance(child, nn.Linear) or any(part in _FULL_PRECISION for part in path.split(".")):
                continue
            new: Any
            if method == "nf4":
                new = bnb.nn.Linear4bit(
                    child.in_features, child.out_features, quant_type="nf4", compute_dtype=torch.float32
                )
                new.weight = bnb.nn.Params4bit(child.weight.detach(), requires_grad=False, quant_type="nf4")
            else:
                new = bnb.nn.Linear8bitLt(child.in_features, child.out_features, has_fp16_weights=False)
                new.weight = bnb.nn.Int8Params(child.weight.detach(), requires_grad=False, has_fp16_weights=False)
            new.bias = nn.Parameter(child.bias.detach(), requires_grad=False)
            setattr(module, child_name, new)
    # The packing happens when the module moves to its device.
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
