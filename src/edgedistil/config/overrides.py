"""What a run was told on its command line."""

from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException


def told_overrides(task: Any) -> list[str]:
    """``hydra.overrides.task`` with the values of interpolations, so that a command says what ran; as typed where one
    leads nowhere (which :func:`.validation.validate` says)."""
    try:
        return list(task)
    except OmegaConfBaseException:
        typed: Any = OmegaConf.to_container(task, resolve=False)
        return [str(override) for override in typed]
