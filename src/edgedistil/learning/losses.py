"""Losses of distillation. All are means over rows, so that what else is in the batch does not matter to a row."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def soft_target_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """KL(teacher ‖ student) of softened class distributions, times T², mean over the batch.

    Args:
        student, teacher: logits ``[rows, classes]``: a row is a text of a classifier, a token of a language model.
        temperature: T; the factor T² keeps the gradient's size (Hinton et al. 2015, arXiv 1503.02531, section 2).
    """
    log_student = functional.log_softmax(student / temperature, dim=-1)
    log_teacher = functional.log_softmax(teacher / temperature, dim=-1)
    return functional.kl_div(log_student, log_teacher, log_target=True, reduction="batchmean") * temperature**2


def span_loss(logits: Tensor, spans: Tensor, attention_mask: Tensor) -> Tensor:
    """Cross-entropy in nats of the right first and last token, mean of the two and over the batch.

    BERT's fine-tuning on SQuAD (arXiv 1810.04805, section 4.2), over real tokens: padding, which BERT's own code lets
    into the softmax, counts for nothing, as the model later answers windows without any.

    Args:
        logits: ``[batch, 2, tokens]``, start and end.
        spans: int64 ``[batch, 2]``, first and last token of the answer.
        attention_mask: ``[batch, tokens]``, 1 for real tokens.
    """
    return functional.cross_entropy(_without_padding(logits, attention_mask).flatten(0, 1), spans.flatten())


def span_soft_target_loss(student: Tensor, teacher: Tensor, attention_mask: Tensor, temperature: float) -> Tensor:
    """Mean of :func:`soft_target_loss` over tokens for the start and for the end.

    The second distillation step of DistilBERT (arXiv 1910.01108, section 4.1), as the original's
    ``run_squad_w_distillation.py`` has it, but for padding, which counts for nothing. As there, all real tokens are
    classes: [CLS] is where windows without the answer point, and the question's tokens are no answer to either model.

    Args:
        student, teacher: logits ``[batch, 2, tokens]``.
        attention_mask: ``[batch, tokens]``, 1 for real tokens.
    """
    ours, theirs = (_without_padding(x, attention_mask).flatten(0, 1) for x in (student, teacher))
    return soft_target_loss(ours, theirs, temperature)


def _without_padding(logits: Tensor, attention_mask: Tensor) -> Tensor:
    # Not minus infinity: the divergence would become 0 times infinity.
    return logits.masked_fill(attention_mask[:, None, :] == 0, -1e9)


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


def masked_token_loss(logits: Tensor, tokens: Tensor) -> Tensor:
    """Cross-entropy in nats of the true tokens at masked places (L_mlm; Devlin et al. 2019, arXiv 1810.04805).

    Args:
        logits: ``[targets, vocabulary]``, at masked places only.
        tokens: int64 ``[targets]``; 0 rows give 0, so that a batch without targets does not make a NaN.
    """
    return functional.cross_entropy(logits, tokens, reduction="sum") / max(1, len(tokens))


def cosine_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean of 1 − cos(student, teacher) over tokens (L_cos of DistilBERT, arXiv 1910.01108, section 3).

    Args:
        student, teacher: hidden states ``[tokens, width]`` of real tokens.
    """
    return (1 - functional.cosine_similarity(student, teacher, dim=-1)).mean()


def logit_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared distance of logits, summed over the vocabulary and averaged over tokens (the original's alpha_mse).

    Args:
        student, teacher: logits ``[tokens, vocabulary]``.
    """
    return ((student - teacher) ** 2).sum(-1).mean()


def sliced_soft_target_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """:func:`soft_target_loss` for vocabularies: the same value and gradient, some rows at a time.

    Logits over 30,522 tokens for some thousand rows are hundreds of megabytes, and the plain way keeps half a dozen
    copies for its backward pass. This one keeps the gradient alone, which is all that the backward pass needs:
    ``T · (softmax(student / T) − softmax(teacher / T))`` over the number of rows.

    Args:
        student, teacher: logits ``[tokens, vocabulary]``; the gradient goes to the student only, and only once (no
            second derivative).
    """
    loss: Tensor = _SlicedSoftTargets.apply(student, teacher, temperature)
    return loss


class _SlicedSoftTargets(torch.autograd.Function):
    # Rows of float32 that still fit a cache of the last level.
    ROWS = 128

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        gradient = torch.empty_like(student)
        total = torch.zeros((), dtype=torch.float32, device=student.device)
        for start in range(0, len(student), _SlicedSoftTargets.ROWS):
            rows = slice(start, start + _SlicedSoftTargets.ROWS)
            ours = functional.log_softmax(student[rows] / temperature, dim=-1)
            theirs = functional.log_softmax(teacher[rows] / temperature, dim=-1)
            expected = theirs.exp()
            total += (expected * (theirs - ours)).sum()
            gradient[rows] = (ours.exp() - expected) * (temperature / len(student))
        ctx.save_for_backward(gradient)
        return total * (temperature**2 / len(student))

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * outer[0], None, None
