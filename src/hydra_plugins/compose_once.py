"""Hydra's basic sweeper, but the config of each job is composed once.

Hydra composes every job's config to see that it is legal, throws it away, and composes it again when the job starts:
half of a sweep of finished cells is spent on that. (Hydra takes sweepers from the package ``hydra_plugins`` only.)
"""

from collections.abc import Sequence
from typing import Any, cast

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class ComposeOnceSweeper(BasicSweeper):
    """Checks every job before the first one runs, as Hydra does, and hands what it composed to the launcher."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        context = HydraContext(
            config_loader=cast(ConfigLoader, _KeepsComposed(hydra_context.config_loader)),
            callbacks=hydra_context.callbacks,
        )
        super().setup(hydra_context=context, task_function=task_function, config=config)


class _KeepsComposed:
    """A config loader whose sweep configs, asked for a second time, are the ones composed the first time."""

    def __init__(self, loader: ConfigLoader) -> None:
        self._loader = loader
        self._composed: dict[tuple[str, ...], DictConfig] = {}

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: Sequence[str]) -> DictConfig:
        key = tuple(sweep_overrides)
        # Given away for good: the launcher writes the job's number into it.
        kept = self._composed.pop(key, None)
        if kept is not None:
            return kept
        self._composed[key] = self._loader.load_sweep_config(master_config, list(sweep_overrides))
        return self._composed[key]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)
