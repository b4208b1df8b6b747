"""The wrapper around Hydra's main: one-line errors, exit codes, and the table and JSON line at the end."""

import atexit
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ..config.schemas import register
from ..errors import UserError
from ..reporting.outcomes import outcomes
from ..store.store import Store
from . import sweep

# The outcome of a single run, told by the job that ran in this process.
_single: list[dict[str, Any]] = []
_wrong: list[UserError] = []


def job(stage: str, cfg: DictConfig) -> None:
    """What an entry script's Hydra main calls."""
    from .job import run_job

    try:
        outcome = run_job(stage, cfg)
    except UserError as error:
        # Raised here, Hydra would print lines of its own around it.
        _wrong.append(error)
        return
    if "folder" not in sweep.started:
        _single.append(outcome)


def launch(main: Callable[[], Any]) -> None:
    """Run a ``hydra.main`` function as a command: exit 0 when all cells are done or skipped, 1 when one failed, 2 on
    bad input. ``HYDRA_FULL_ERROR=1`` and Hydra's own flags keep their meaning."""
    import hydra._internal.utils as internals

    from . import ranks

    if ranks.launched() and ranks.rank():
        sys.exit(ranks.follow())
    register()
    _share_config_store()
    if not os.environ.get("HYDRA_FULL_ERROR"):
        internals.run_and_report = _one_line(internals.run_and_report)  # type: ignore[assignment]
    if ranks.launched():
        from .runner import leader

        atexit.register(leader().end)
    main()
    if _wrong:
        _stop(_wrong[0])
    folder = sweep.started.get("folder") or (Path(_single[0]["output_dir"]) if _single else None)
    if folder is None:
        # One of Hydra's own flags (--cfg, --info, ...): it has answered.
        return
    cells = outcomes(folder)
    if not cells:
        _stop(UserError(f"no cell of the sweep left an outcome in {folder}"))
    from ..reporting.show import show

    try:
        show(cells, folder, Store(Path(cells[0]["store"])), cells[0]["references"])
    except UserError as error:
        _stop(error)
    failed = [c for c in cells if c["status"] == "failed"]
    if failed:
        sys.exit(2 if all(c.get("kind") == "user" for c in failed) else 1)


def _share_config_store() -> None:
    """Hydra deep-copies its sources for every composition and every group of ``--help``, and with them the one store of
    all schemas, which it never changes (what is read from it is copied again)."""
    from hydra.core.config_store import ConfigStore

    ConfigStore.__deepcopy__ = lambda self, memo: self  # type: ignore[attr-defined]


def _one_line(original: Callable[[Any], Any]) -> Callable[[Any], Any]:
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    def run_and_report(action: Callable[[], Any]) -> Any:
        try:
            return action()
        except (UserError, HydraException, OmegaConfBaseException) as error:
            _stop(error)
        except ValueError as error:
            if _raised_by_hydra(error):
                _stop(error)
            return original(_again(error))
        except Exception as error:
            return original(_again(error))

    return run_and_report


def _stop(error: BaseException) -> None:
    sweep.forget_if_no_job_ran()
    if os.environ.get("HYDRA_FULL_ERROR"):
        raise error
    print(f"error: {explain(error)}", file=sys.stderr)
    sys.exit(2)


def _raised_by_hydra(error: Exception) -> bool:
    """Whether Hydra itself stopped, over an override that it could not read."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith("hydra.")


def _again(error: Exception) -> Callable[[], Any]:
    def action() -> Any:
        raise error

    return action


def explain(error: BaseException) -> str:
    """A composition error in one line, with what is allowed where Hydra or the config knows it."""
    if isinstance(error, UserError):
        return str(error)
    text = " ".join(line.strip() for line in str(error).splitlines() if _says_something(line))
    if error.__cause__ is not None and text.startswith("Error merging override"):
        return f"{text}: {str(error.__cause__).splitlines()[0]}"
    cause: BaseException | None = error
    while cause is not None:
        parent, key = getattr(cause, "parent_node", None), getattr(cause, "key", None)
        if parent is not None and key is not None and OmegaConf.is_dict(parent) and "not in" in str(cause):
            from ..config.validation import closest

            names = sorted(str(k) for k in parent)
            return f"{text.split(' To append')[0]} Allowed here: {', '.join(names)}{closest(str(key), names)}"
        cause = cause.__cause__
    return text


def _says_something(line: str) -> bool:
    noise = ("full_key:", "object_type=", "Set the environment variable", "Config search path", "provider=")
    return bool(line.strip()) and not any(n in line for n in noise)
