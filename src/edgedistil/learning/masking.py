"""Dynamic masking as DistilBERT was trained with: rare tokens favoured, drawn anew for every batch.

Facts from huggingface/transformers-research-projects@fccd0cd, distillation (``distiller.py``, ``train.py``); the
smoothing exponent is that of XLM (Lample and Conneau 2019, arXiv 1901.07291).
"""

import hashlib
import math
from collections.abc import Sequence

import torch
from torch import Tensor

# Label of a token that is no target, as torch's cross_entropy skips it.
NO_TARGET = -100


class Vocabulary:
    """What masking must know: ``counts`` of each token in the corpus (int64 ``[vocabulary]``), and the special ids.

    No dataclass: Hydra's ``instantiate``, which hands it to the objective, would turn one into a config.
    """

    def __init__(self, counts: Tensor, mask: int, special: Sequence[int]) -> None:
        self.counts, self.mask, self.special = counts, mask, list(special)


class DynamicMasking:
    """Chooses the targets of a batch and hides them.

    ``ceil(probability × real tokens of the batch)`` targets are drawn without replacement over the whole batch, with
    weights ``max(count, 1) ** -smoothing``; special tokens and padding never. Of the targets the shares ``masked``,
    ``kept`` and ``swapped`` become [MASK], stay, or become any token of the vocabulary. The original also rounds the
    number of targets to multiples of 8 for fp16; bf16 and fp32 need no such thing.

    Args:
        vocabulary: see :class:`Vocabulary`.

    Raises:
        ValueError: shares that do not sum to 1, or a probability outside 0..1.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        probability: float = 0.15,
        smoothing: float = 0.7,
        masked: float = 0.8,
        kept: float = 0.1,
        swapped: float = 0.1,
    ) -> None:
        if abs(masked + kept + swapped - 1) > 1e-9 or min(masked, kept, swapped) < 0:
            raise ValueError(f"masked + kept + swapped must be 1, not {masked + kept + swapped:g}")
        if not 0 < probability <= 1:
            raise ValueError(f"masking.probability={probability:g} must be above 0 and at most 1")
        self._probability, self._mask = probability, vocabulary.mask
        self._weights = vocabulary.counts.double().clamp_min(1) ** -smoothing
        self._weights[vocabulary.special] = 0
        self._shares = torch.tensor([masked, kept, swapped], dtype=torch.float64)

    def targets(self, tokens: int) -> int:
        """How many of a batch's real tokens become targets, where enough of them may."""
        return math.ceil(self._probability * tokens)

    def __call__(self, ids: Tensor, attention_mask: Tensor, chance: torch.Generator) -> tuple[Tensor, Tensor]:
        """Hide targets in a batch.

        Args:
            ids, attention_mask: int64 ``[batch, tokens]`` on the CPU.
            chance: the same state gives the same mask.

        Returns:
            (ids with targets hidden, labels: the true id at targets and :data:`NO_TARGET` elsewhere), both
            ``[batch, tokens]``.
        """
        real = attention_mask.bool()
        weights = self._weights[ids] * real
        wanted = min(self.targets(int(real.sum())), int((weights > 0).sum()))
        labels = torch.full_like(ids, NO_TARGET)
        hidden = ids.clone()
        if wanted == 0:
            return hidden, labels
        places = torch.multinomial(weights.flatten(), wanted, replacement=False, generator=chance)
        true = ids.flatten()[places]
        fate = torch.multinomial(self._shares, wanted, replacement=True, generator=chance)
        any_token = torch.randint(len(self._weights), (wanted,), generator=chance)
        shown = torch.where(fate == 0, torch.full_like(true, self._mask), torch.where(fate == 1, true, any_token))
        labels.view(-1)[places] = true
        hidden.view(-1)[places] = shown
        return hidden, labels


def generator(seed: int, *place: int | str) -> torch.Generator:
    """A CPU generator for one place of a run, e.g. (epoch, micro-batch): a resumed run draws the same again."""
    digest = hashlib.sha256("-".join(map(str, (seed, *place))).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
