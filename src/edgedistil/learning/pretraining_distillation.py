"""DistilBERT's triple loss as a LightningModule (Sanh et al. 2019, arXiv 1910.01108, section 3).

As the original code has it (huggingface/transformers-research-projects@fccd0cd, distillation/distiller.py): soft
targets over all real tokens, not only masked ones; the cosine of the last hidden layer over all real tokens.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from ..models.masked_lm import encode_tokens, token_logits, width
from .losses import cosine_loss, logit_loss, masked_token_loss, sliced_soft_target_loss
from .masking import NO_TARGET, DynamicMasking, Vocabulary
from .pretraining import MaskedLanguageModelling
from .work import TRAINED, encoder_flops, head_flops


class PretrainingDistillation(MaskedLanguageModelling):
    """A student learns a frozen teacher's masked-language-model answers, the true tokens, and its last hidden states.

    The loss is ``soft_target_weight`` · KL · T² + ``masked_token_weight`` · L_mlm + ``cosine_weight`` · L_cos
    + ``logit_weight`` · squared distance of logits. A loss of weight 0 costs nothing in training and is still
    measured in validation.

    Args:
        network, teacher: masked language models of one vocabulary. Widths may differ: a learnt projection (no bias)
            then leads from the student's hidden states to the teacher's; it is no part of what is saved.
        temperature: T of the soft targets, on both sides.
        masked_only: soft targets at masked places alone instead of at all real tokens.
    """

    measured = ("mlm_loss", "soft_target_loss", "cosine_loss", "teacher_mlm_loss")

    def __init__(
        self,
        network: Any,
        teacher: Any,
        optimizer: Callable[[Iterable[Any]], torch.optim.Optimizer],
        scheduler: Callable[..., Any],
        masking: Callable[[Vocabulary], DynamicMasking],
        vocabulary: Vocabulary,
        seed: int,
        soft_target_weight: float = 5.0,
        masked_token_weight: float = 2.0,
        cosine_weight: float = 1.0,
        logit_weight: float = 0.0,
        temperature: float = 2.0,
        masked_only: bool = False,
    ) -> None:
        super().__init__(network, optimizer, scheduler, masking, vocabulary, seed)
        # In a list, so that Lightning neither moves it to train mode nor writes it into checkpoints.
        self._teacher = [teacher.eval().requires_grad_(False)]
        self._weights = {
            "soft_target_loss": soft_target_weight,
            "mlm_loss": masked_token_weight,
            "cosine_loss": cosine_weight,
            "logit_loss": logit_weight,
        }
        self._temperature, self._masked_only = temperature, masked_only
        same = width(network) == width(teacher)
        self.projection = torch.nn.Identity() if same else torch.nn.Linear(width(network), width(teacher), bias=False)
        # Read by no loss it would get no gradient, which several processes can't agree on.
        self.projection.requires_grad_(cosine_weight > 0)

    def losses(self, ids: Tensor, attention_mask: Tensor, labels: Tensor) -> dict[str, tuple[Tensor, int]]:
        wanted = {name for name, weight in self._weights.items() if weight} if self.training else set(self.measured)
        real = attention_mask.bool()
        # Rows from here on are real tokens; padding costs no vocabulary logits.
        target = labels[real] != NO_TARGET
        tokens = labels[real][target]
        chosen = target if self._masked_only else torch.ones_like(target)
        everywhere = bool({"soft_target_loss", "logit_loss"} & wanted)
        student = encode_tokens(self.network, ids, attention_mask)[real]
        rows = chosen if everywhere else target
        logits = token_logits(self.network, student[rows]).float()
        at_targets = logits[target[rows]]
        found = {"mlm_loss": (masked_token_loss(at_targets, tokens), len(tokens))}
        if everywhere or "cosine_loss" in wanted:
            with torch.no_grad():
                teacher = self._frozen()
                theirs = encode_tokens(teacher, ids, attention_mask)[real]
                answers = token_logits(teacher, theirs[rows]).float() if everywhere else None
            if "cosine_loss" in wanted:
                found["cosine_loss"] = (cosine_loss(self.projection(student).float(), theirs.float()), len(theirs))
            if answers is not None:
                found |= self._answers(logits, answers, wanted)
                if "teacher_mlm_loss" in wanted:
                    found["teacher_mlm_loss"] = (masked_token_loss(answers[target[rows]], tokens), len(tokens))
        return found

    def _answers(self, student: Tensor, teacher: Tensor, wanted: set[str]) -> dict[str, tuple[Tensor, int]]:
        found = {}
        if "soft_target_loss" in wanted:
            found["soft_target_loss"] = (sliced_soft_target_loss(student, teacher, self._temperature), len(student))
        if "logit_loss" in wanted:
            found["logit_loss"] = (logit_loss(student, teacher), len(student))
        return found

    def combine(self, losses: dict[str, tuple[Tensor, int]]) -> Tensor:
        parts = [weight * losses[name][0] for name, weight in self._weights.items() if weight]
        return torch.stack(parts).sum()

    def flop(self, lengths: Tensor) -> int:
        taught = self._weights["soft_target_loss"] or self._weights["logit_loss"]
        tokens = int(lengths.sum())
        rows = tokens if taught and not self._masked_only else self._masking.targets(tokens)
        total = TRAINED * (encoder_flops(self.network, lengths) + head_flops(self.network, rows))
        if taught or self._weights["cosine_loss"]:
            total += encoder_flops(self._teacher[0], lengths)
        return total + (head_flops(self._teacher[0], rows) if taught else 0)

    def _frozen(self) -> Any:
        """The teacher where the student is; in bf16 on a GPU, where half the bytes are twice the speed."""
        dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        return self._teacher[0].to(device=self.device, dtype=dtype)
