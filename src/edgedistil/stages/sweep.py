"""What belongs to a whole multirun: its manifest, written when it starts."""

import atexit
import os
import re
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from .. import credentials
from ..config.overrides import told_overrides
from ..errors import error_line
from ..reporting.outcomes import BEGUN_FILE, LOCK_FILE, MANIFEST_FILE
from ..store.files import write_json
from ..store.lock import locked
from .screen import following

# What a run that did nothing has in its folder, beside logs.
_OURS = (".hydra", "multirun.yaml", MANIFEST_FILE, LOCK_FILE, BEGUN_FILE)
# The sweep that this process started; jobs may run elsewhere and tell by files only.
started: dict[str, Path] = {}
# Held until the sweep's launcher is through: its lock says that the sweep goes on.
_held = ExitStack()
atexit.register(_held.close)


class SweepCallback(Callback):
    """Hydra callback: notes the sweep's folder and lists its jobs before the first one runs."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        told = told_overrides(config.hydra.overrides.task)
        given = OmegaConf.to_container(config, resolve=False)
        # Of ${oc.env:NAME} the manifest would hold the value.
        if found := credentials.in_options(given) or credentials.in_words(told):
            # Hydra only warns of an error here, and would write all options into the sweep's folder.
            print(error_line(credentials.refusal(*found)), file=sys.stderr)
            sys.exit(2)
        swept: Any = OmegaConf.to_container(config.hydra.sweep, resolve=False)
        subdir = str(swept["subdir"])
        if "${" not in subdir:
            why = "the same for every job, and each leaves its outcome in a folder of its own"
            print(error_line(f"hydra.sweep.subdir={subdir!r} is {why}: give it ${{hydra.job.num}}"), file=sys.stderr)
            sys.exit(2)
        folder = Path(config.hydra.sweep.dir).absolute()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            # Hydra only warns of what a callback raises, and stops over the same folder in a moment.
            return
        started["folder"] = folder
        _held.enter_context(locked(folder / LOCK_FILE, lambda who: print(f"waiting for {folder}: {who} is at it")))
        write_json(
            folder / MANIFEST_FILE,
            {
                "schema_version": 1,
                "jobs": _jobs(config),
                "command": sys.argv,
                "directory": os.getcwd(),
                "overrides": told,
                "params": {str(k): str(v) for k, v in (config.hydra.sweeper.params or {}).items()},
            },
        )
        if not config.get("plan"):
            _held.enter_context(following(folder))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        (Path(config.hydra.sweep.dir) / LOCK_FILE).unlink(missing_ok=True)
        _held.close()


def sweep_name(folder: Path) -> str:
    """What a sweep is called elsewhere: its folder's name, after the day where Hydra's default folders have one."""
    day = folder.parent.name
    return f"{day}_{folder.name}" if re.fullmatch(r"\d{4}-\d{2}-\d{2}", day) else folder.name


def _jobs(config: DictConfig) -> list[list[str]] | None:
    """The overrides of every job to come, as the sweeper will split them; None for sweepers of others."""
    from hydra_plugins.compose_once import jobs_of

    if not str(config.hydra.sweeper._target_).endswith(("BasicSweeper", "ComposeOnceSweeper")):
        return None
    sweeper = config.hydra.sweeper
    return jobs_of(sweeper.params, sweeper.get("also"), told_overrides(config.hydra.overrides.task))


def forget_if_no_job_ran() -> None:
    """Remove the folder of a sweep that stopped before its first job, and the day's folder if it is empty now."""
    folder = started.get("folder")
    if folder is None or not folder.is_dir() or any(p.is_dir() and p.name.isdigit() for p in folder.iterdir()):
        return
    remove_with_empty_parents(folder)


def remove_with_empty_parents(folder: Path) -> None:
    """Remove the folder of a run that did nothing and up to two parents that hold nothing else (Hydra's date folders).

    One that holds anything else stays as it is: whoever says ``hydra.run.dir=.`` or gives the folder of an earlier run
    has more in it than this run.
    """
    if not folder.is_dir():
        return
    if not all(p.name in _OURS or (p.suffix == ".log" and p.is_file()) for p in folder.iterdir()):
        return
    shutil.rmtree(folder, ignore_errors=True)
    for parent in list(folder.parents)[:2]:
        try:
            parent.rmdir()
        except OSError:
            return
