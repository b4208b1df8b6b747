"""Losses of distillation."""

import torch
from torch import Tensor
from torch.nn import functional


def soft_target_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """KL(teacher ‖ student) of softened class distributions, times T², mean over the batch.

    Args:
        student, teacher: logits ``[batch, classes]``.
        temperature: T; the factor T² keeps the gradient's size (Hinton et al. 2015, arXiv 1503.02531, section 2).
    """
    log_student = functional.log_softmax(student / temperature, dim=-1)
    log_teacher = functional.log_softmax(teacher / temperature, dim=-1)
    return functional.kl_div(log_student, log_teacher, log_target=True, reduction="batchmean") * temperature**2


def hidden_state_loss(student: Tensor, teacher: Tensor, attention_mask: Tensor) -> Tensor:
    """Mean squared error of hidden states over real tokens, relative to the teacher's mean square.

    Args:
        student, teacher: ``[layers, batch, tokens, width]``, the same widths.
        attention_mask: ``[batch, tokens]``, 1 for real tokens; padding counts for nothing.
    """
    mask = attention_mask[None, :, :, None].to(student.dtype)
    error = ((student - teacher) ** 2 * mask).sum(dim=(1, 2, 3))
    size = (teacher**2 * mask).sum(dim=(1, 2, 3))
    return torch.mean(error / size.clamp_min(1e-12))


def attention_loss(student: Tensor, teacher: Tensor, attention_mask: Tensor) -> Tensor:
    """Mean squared error of attention scores before softmax, over heads and pairs of real tokens, mean over layers.

    TinyBERT's L_attn (Jiao et al. 2020, arXiv 1909.10351, equation 7), which averages over padding too.

    Args:
        student, teacher: ``[layers, batch, heads, tokens, tokens]``, the same numbers of heads.
        attention_mask: ``[batch, tokens]``, 1 for real tokens; padding counts for nothing.
    """
    mask = attention_mask.to(student.dtype)
    pairs = (mask[:, :, None] * mask[:, None, :])[None, :, None]
    error = (student - teacher) ** 2 * pairs
    return error.sum() / (pairs.sum() * student.shape[0] * student.shape[2])
