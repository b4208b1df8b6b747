"""What belongs to a whole multirun: its manifest, written when it starts."""

import shutil
import sys
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from ..reporting.outcomes import MANIFEST_FILE
from ..store.files import write_json

# The sweep that this process started; jobs may run elsewhere and tell by files only.
started: dict[str, Path] = {}


class SweepCallback(Callback):
    """Hydra callback: notes the sweep's folder and lists its jobs before the first one runs."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        folder = Path(config.hydra.sweep.dir).absolute()
        started["folder"] = folder
        write_json(
            folder / MANIFEST_FILE,
            {
                "schema_version": 1,
                "jobs": _jobs(config),
                "command": sys.argv,
                "overrides": list(config.hydra.overrides.task),
                "params": {str(k): str(v) for k, v in (config.hydra.sweeper.params or {}).items()},
            },
        )
        started["folder"] = folder


def _jobs(config: DictConfig) -> list[list[str]] | None:
    """The overrides of every job to come, as the sweeper will split them; None for sweepers of others."""
    from hydra_plugins.compose_once import jobs_of

    if not str(config.hydra.sweeper._target_).endswith(("BasicSweeper", "ComposeOnceSweeper")):
        return None
    sweeper = config.hydra.sweeper
    return jobs_of(sweeper.params, sweeper.get("also"), list(config.hydra.overrides.task))


def forget_if_no_job_ran() -> None:
    """Remove the folder of a sweep that stopped before its first job, and the day's folder if it is empty now."""
    folder = started.get("folder")
    if folder is None or not folder.is_dir() or any(p.is_dir() and p.name.isdigit() for p in folder.iterdir()):
        return
    remove_with_empty_parents(folder)


def remove_with_empty_parents(folder: Path) -> None:
    """Remove ``folder`` and up to two parents that hold nothing else (Hydra's date folders)."""
    shutil.rmtree(folder, ignore_errors=True)
    for parent in list(folder.parents)[:2]:
        try:
            parent.rmdir()
        except OSError:
            return
