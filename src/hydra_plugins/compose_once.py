"""Hydra's basic sweeper, but the config of each job is composed once, and a sweep may hold more than one product.

Hydra composes every job's config to see that it is legal, throws it away, and composes it again when the job starts:
half of a sweep of finished cells is spent on that. And its basic sweeper knows one product of options, where a table
often needs a few cells besides (``hydra.sweeper.also``). (Hydra takes sweepers from the package ``hydra_plugins``
only.)
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

Options = Mapping[str, Any]


def jobs_of(
    params: Options | None, also: Mapping[str, Options | None] | None, arguments: list[str], loader: Any = None
) -> list[list[str]]:
    """The overrides of every job of a sweep: the product of ``params``, then for each block of ``also`` that of
    ``params`` with the block's own values in place of theirs.

    Arguments of the command line take the place of ``params`` as in Hydra. What a block sets itself is cut down to the
    values that they name too, and a block without such a value has no jobs.
    """
    parser = OverridesParser.create(config_loader=loader)

    def product(texts: list[str]) -> list[list[str]]:
        (jobs,) = BasicSweeper.split_arguments(parser.parse_overrides(texts), max_batch_size=None)
        return [list(job) for job in jobs]

    found = product([*_texts(params), *arguments])
    wanted = _values(product, arguments)
    for block in (also or {}).values():
        own = _values(product, _texts(block))
        kept = {key: [v for v in values if key not in wanted or v in wanted[key]] for key, values in own.items()}
        if own and all(kept.values()):
            inherited = [text for text in _texts(params) if _key(text) not in own]
            rest = [a for a in arguments if _key(a) not in own]
            found += product([*inherited, *(f"{key}={','.join(values)}" for key, values in kept.items()), *rest])
    once: dict[Any, list[str]] = {}
    for job in found:
        # The same options in another order are the same job, where none is there twice.
        once.setdefault(frozenset(job) if len({_key(o) for o in job}) == len(job) else tuple(job), job)
    return list(once.values())


def _texts(options: Options | None) -> list[str]:
    return [f"{key}={value}" for key, value in (options or {}).items()]


def _values(product: Any, texts: list[str]) -> dict[str, list[str]]:
    """Each option's values, in order."""
    found: dict[str, list[str]] = {}
    for text in texts:
        found[_key(text)] = [job[0].split("=", 1)[1] for job in product([text]) if "=" in job[0]]
    return found


def _key(text: str) -> str:
    return text.split("=", 1)[0].lstrip("+")


class ComposeOnceSweeper(BasicSweeper):
    """Checks every job before the first one runs, as Hydra does, and hands what it composed to the launcher.

    Args:
        max_batch_size, params: as Hydra's basic sweeper has them.
        also: blocks by a name of their own, each a further product of options: :func:`jobs_of`.
    """

    def __init__(
        self, max_batch_size: int | None, params: dict[str, str] | None = None, also: dict[str, Any] | None = None
    ) -> None:
        super().__init__(max_batch_size, params)
        self.also = also

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        context = HydraContext(
            config_loader=cast(ConfigLoader, _KeepsComposed(hydra_context.config_loader)),
            callbacks=hydra_context.callbacks,
        )
        super().setup(hydra_context=context, task_function=task_function, config=config)

    def sweep(self, arguments: list[str]) -> Any:
        assert self.hydra_context is not None
        self._jobs = jobs_of(self.params, self.also, arguments, self.hydra_context.config_loader)
        return super().sweep(arguments)

    def get_job_batch(self) -> Sequence[Sequence[str]]:
        start, size = self.batch_index * (self.max_batch_size or 0), self.max_batch_size or len(self._jobs)
        self.batch_index += 1
        return self._jobs[start : start + size]

    def is_done(self) -> bool:
        return self.batch_index * (self.max_batch_size or len(self._jobs)) >= len(self._jobs)


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

    def __reduce__(self) -> Any:
        # A launcher may send it to other processes, a job at a time: they compose the one that they run themselves.
        return _KeepsComposed, (self._loader,)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)
