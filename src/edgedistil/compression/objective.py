"""What a cut is judged by: the answers of a model to a batch, and the losses whose curvature importance scores take.

Everything that tells kinds of models apart is here. A model gives one or several *answers* to a text: a classifier
one, over its classes; a model that answers by spans two, over the tokens (start and end). All else (Kullback-Leibler
divergence, losses, agreement) follows from them.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ..models.kinds import is_regression, takes_token_types
from ..models.masked_lm import encode_tokens, token_logits
from ..models.spans import is_span_model

Batch = dict[str, Tensor]
# Where a batch keeps the answers of the dense model, one entry an answer: answers_0, answers_1 ...
_OWN = "answers_"
# Where it keeps the true ids of hidden tokens.
_MASKED = "masked_labels"
# Classes up to which the curvature is exact, one backward pass for each; beyond, it is estimated.
EXACT_CLASSES = 4


def answers(model: Any, batch: Batch) -> list[Tensor]:
    """Logits of each answer, ``[texts, options]``; of spans, those of padding are −10,000; of texts with hidden tokens
    (``masked_labels``, the true ids there and −100 elsewhere) ``[hidden tokens, vocabulary]``."""
    if _MASKED in batch:
        target = batch[_MASKED] >= 0
        return [token_logits(model, encode_tokens(model, batch["input_ids"], batch["attention_mask"])[target])]
    wanted = {"input_ids", "attention_mask"} | ({"token_type_ids"} if takes_token_types(model) else set())
    found = model(**{k: v for k, v in batch.items() if k in wanted})
    if not is_span_model(model):
        return [found.logits]
    padding = batch["attention_mask"] == 0
    return [x.masked_fill(padding, -1e4) for x in (found.start_logits, found.end_logits)]


def answered(dense: Any, batches: Iterable[Batch], labels: bool = False) -> list[Batch]:
    """The batches with the dense model's answers beside their texts, and without labels unless they are wanted."""
    dense.eval()
    result = []
    with torch.no_grad():
        for batch in batches:
            if _MASKED in batch:
                # Over a vocabulary they would fill the memory.
                result.append(batch)
                continue
            kept = {k: v for k, v in batch.items() if labels or not k.endswith(("labels", "positions"))}
            result.append(kept | {f"{_OWN}{i}": x for i, x in enumerate(answers(dense, batch))})
    return result


def losses(model: Any, batch: Batch) -> Tensor:
    """Each text's loss ``[texts]`` against its label, or without labels against the dense model's (else its own) best
    answer; of a regression half the squared error, a Gaussian's negative log-likelihood; of hidden tokens the sum over
    them."""
    found = answers(model, batch)
    if _MASKED in batch:
        true = batch[_MASKED][batch[_MASKED] >= 0]
        return _by_text(cross_entropy(found[0], true, reduction="none"), batch)
    if is_regression(model):
        target = batch["labels"] if "labels" in batch else _reference(found, batch)[0][:, 0]
        return 0.5 * (found[0][:, 0] - target) ** 2
    targets = _labels(batch) or [x.argmax(-1) for x in _reference(found, batch)]
    per_answer = [cross_entropy(x, y, reduction="none") for x, y in zip(found, targets, strict=True)]
    return torch.stack(per_answer).sum(0)


def curvature(model: Any, batch: Batch) -> list[Tensor]:
    """Rows ``[texts]`` whose squared gradients add up to the curvature of each text's loss.

    With labels that is the loss itself (the empirical Fisher). Without, the rows are ``sqrt(p_c) (z_c − Σ p z)`` for
    every class c with the model's own probabilities p held fixed: their squared gradients sum to the Fisher information
    of its answers, which is the Gauss-Newton Hessian of the divergence from them (Martens 2020, arXiv 1412.1193,
    section 9.2). Two classes share one row; more than ``EXACT_CLASSES`` are added up with random signs, which gives the
    same in expectation.
    """
    if _labels(batch):
        return [losses(model, batch)]
    if is_regression(model):
        # Of a Gaussian of variance 1 around the output the Fisher information is 1.
        return [answers(model, batch)[0][:, 0]]
    rows: list[Tensor] = []
    for logits in answers(model, batch):
        p = logits.detach().softmax(-1)
        centred = p.sqrt() * (logits - (p * logits).sum(-1, keepdim=True))
        if logits.shape[-1] == 2:
            rows.append((p[:, 0] * p[:, 1]).sqrt() * (logits[:, 0] - logits[:, 1]))
        elif logits.shape[-1] <= EXACT_CLASSES:
            rows += list(centred.unbind(-1))
        else:
            rows.append((centred * (torch.randint(0, 2, centred.shape, device=centred.device) * 2.0 - 1)).sum(-1))
    # Each hidden token is an answer of its own.
    return [_by_text(row, batch) for row in rows] if _MASKED in batch else rows


def _by_text(values: Tensor, batch: Batch) -> Tensor:
    """Sums ``[texts]`` of values of hidden tokens ``[hidden tokens]``."""
    text = (batch[_MASKED] >= 0).nonzero()[:, 0]
    return torch.zeros(len(batch["input_ids"]), device=values.device).index_add(0, text, values)


def compare(model: Any, batches: Iterable[Batch]) -> dict[str, float]:
    """How far a model is from the dense one, whose answers the batches hold (:func:`answered`).

    Returns:
        ``agreement``, the share of equal answers, and ``divergence``, KL(dense ‖ model) in nats a text.
    """
    equal = divergence = 0.0
    count = texts = 0
    with torch.no_grad():
        for batch in batches:
            found = answers(model, batch)
            for mine, theirs in zip(found, _reference(found, batch), strict=True):
                equal += float((mine.argmax(-1) == theirs.argmax(-1)).sum())
                count += len(mine)
                divergence += float(kl(mine, theirs).sum())
            texts += len(batch["input_ids"])
    return {"agreement": equal / max(1, count), "divergence": divergence / max(1, texts)}


def kl(logits: Tensor, dense: Tensor) -> Tensor:
    """KL(dense ‖ model) in nats of each text, ``[texts]``, from logits ``[texts, options]``; of a single output that of
    two Gaussians of variance 1."""
    if logits.shape[-1] == 1:
        return 0.5 * (logits - dense)[:, 0] ** 2
    theirs = dense.log_softmax(-1)
    return (theirs.exp() * (theirs - logits.log_softmax(-1))).sum(-1)


def _reference(found: list[Tensor], batch: Batch) -> list[Tensor]:
    return [batch.get(f"{_OWN}{i}", x.detach()) for i, x in enumerate(found)]


def _labels(batch: Batch) -> list[Tensor]:
    if "labels" in batch:
        return [batch["labels"]]
    return [batch[k] for k in ("start_positions", "end_positions") if k in batch]
