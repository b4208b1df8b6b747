"""Lightning's W&B logger, so that a server that is away neither stops nor slows a training."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import WandbLogger as LightningsLogger
from lightning.pytorch.utilities import rank_zero_only

from ..reporting import wandb_files, wandb_session
from . import ranks

log = logging.getLogger("edgedistil")


class WandbLogger(LightningsLogger):
    """Curves of a training in the run that its step has in W&B.

    Args:
        project, entity: where the run goes; ``entity`` None: where the account says.
        offline: write to disk only.
        models: how model folders are logged; what is done with it is done after the step.
        wait_s: for a server, when the run begins and when it ends.
        id, name, group, job_type, tags: which run it is; the program says so.
    """

    def __init__(
        self,
        project: str = "edgedistil",
        entity: str | None = None,
        offline: bool = False,
        models: str = "references",
        wait_s: float = 20.0,
        id: str | None = None,
        name: str | None = None,
        group: str | None = None,
        job_type: str | None = None,
        tags: list[str] | None = None,
    ) -> None:
        super().__init__(project=project, entity=entity, id=id, name=name, group=group, job_type=job_type, tags=tags)
        self._only_offline, self._wait_s, self._deaf = offline, wait_s, False
        self._last: dict[str, Any] = {}

    @property
    def experiment(self) -> Any:
        """The run; begun when it is first asked for, by the first process alone."""
        if self._experiment is None and not ranks.rank():
            known = ("project", "entity", "id", "name", "group", "job_type", "tags")
            given = {k: self._wandb_init[k] for k in known if self._wandb_init.get(k)}
            mode = {"mode": "offline"} if self._only_offline else {}
            run = wandb_session.begin(self._wait_s, True, **given, **mode)
            # As Lightning does: all curves over the optimiser's steps, which a resumed training goes on counting.
            run.define_metric("trainer/global_step")
            run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
            self._experiment = run
        return super().experiment

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if self._deaf:
            return
        self._last |= metrics if step is None else {**metrics, "trainer/global_step": step}
        try:
            super().log_metrics(metrics, step)
        except Exception as error:
            # wandb's own process died; the training does not need it.
            self._deaf = True
            log.warning("W&B stopped taking figures (%s); the training goes on", type(error).__name__)

    def close(self, failed: bool) -> None:
        """End the run of this process."""
        if self._experiment is None or ranks.rank():
            return
        if self._experiment.offline and not self._deaf:
            wandb_files.keep_summary(Path(self._experiment.settings.sync_dir), self._last)
        wandb_session.end(self._experiment, failed)
