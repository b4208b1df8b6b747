"""Scores on the part of the training split that models are chosen on, of any network of a task."""

from typing import Any, Protocol

from ..config.question_answering import QUESTION_ANSWERING


class HeldOut(Protocol):
    """The held-out part, tokenised once; empty where the task holds nothing out."""

    def __len__(self) -> int:
        """Texts or questions."""

    def scores(self, network: Any) -> dict[str, float]:
        """``task.metrics`` by name, as fractions."""


def held_out(request: dict[str, Any], tokenizer: Any) -> HeldOut:
    """What a step may judge models by; never the validation split."""
    kind = request["options"]["task"].get("kind")
    return (_Questions if kind == QUESTION_ANSWERING else _Texts)(request, tokenizer)


class _Texts:
    def __init__(self, request: dict[str, Any], tokenizer: Any) -> None:
        from ..tasks.batching import rows
        from ..tasks.training_part import held_out_part

        self._metrics, self._examples = request["options"]["task"]["metrics"], held_out_part(request)
        self._rows = rows(tokenizer, self._examples)

    def __len__(self) -> int:
        return len(self._rows)

    def scores(self, network: Any) -> dict[str, float]:
        import numpy as np
        import torch

        from ..tasks.metrics import decided, score
        from .teaching import compute_logits

        answers = decided(compute_logits(network, self._rows, torch.device("cpu")).numpy())
        return {name: round(score(name, answers, np.array(self._examples.labels)), 6) for name in self._metrics}


class _Questions:
    def __init__(self, request: dict[str, Any], tokenizer: Any) -> None:
        from ..tasks.training_part import questions_by_part
        from ..tasks.windows import windows

        self._task = request["options"]["task"]
        everything, _, held = questions_by_part(request)
        self._questions = everything.take(held)
        self._parts = windows(tokenizer, self._questions, self._task, offsets=True) if held else []

    def __len__(self) -> int:
        return len(self._questions)

    def scores(self, network: Any) -> dict[str, float]:
        from ..models.spans import span_logits
        from .answering import ids_and_types, scorer

        logits = span_logits(network, *ids_and_types(self._parts))
        found = scorer(self._questions, self._parts, self._task)(dict(enumerate(logits)))
        return {name: round(found[name], 6) for name in self._task["metrics"]}
