"""Learning-rate schedules by share of the run, for configs that do not know its length."""

from typing import Any


def linear_warmup(optimizer: Any, total_steps: int, warmup_fraction: float) -> Any:
    """Linear warm-up over ``warmup_fraction`` of ``total_steps`` optimiser steps, then linear decay to 0."""
    from transformers import get_linear_schedule_with_warmup

    return get_linear_schedule_with_warmup(optimizer, int(total_steps * warmup_fraction), total_steps)
