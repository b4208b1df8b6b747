"""The wrapper around Hydra's main: one-line errors, exit codes, and the table and JSON line at the end."""

import atexit
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from omegaconf import DictConfig

from .. import credentials
from ..config.places import store_root
from ..config.schemas import register
from ..errors import OneLineParser, Stopped, UserError, error_line, of_a_path, refusal
from ..reporting.outcomes import UNFINISHED, checked, outcomes, told
from ..store.store import Store
from . import stopping, sweep

# The outcome of a single run, told by the job that ran in this process.
_single: list[dict[str, Any]] = []
_wrong: list[UserError] = []
# Packages whose errors are about processes that run jobs, never about what a job does.
_LAUNCHERS = ("joblib", "ray", "submitit")


def job(stage: str, cfg: DictConfig) -> None:
    """What an entry script's Hydra main calls."""
    from .job import run_job

    # Other launchers run it in processes of theirs.
    stopping.listen()
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
    bad input, 75 when SIGTERM came, 130 after Ctrl-C. ``HYDRA_FULL_ERROR=1`` and Hydra's own flags keep their meaning.
    """
    try:
        _launch(main)
    except Stopped as stopped:
        stopping.end(stopped)
    except KeyboardInterrupt:
        if os.environ.get("HYDRA_FULL_ERROR"):
            raise
        stopping.interrupted()


def _launch(main: Callable[[], Any]) -> None:
    import hydra._internal.utils as internals

    from . import ranks

    broken = False
    stopping.listen(keyboard=True)
    if found := credentials.in_words(sys.argv[1:]):
        _stop(UserError(credentials.refusal(*found)))
    if ranks.launched() and ranks.rank():
        sys.exit(ranks.follow())
    register()
    _share_config_store()
    _parse_in_one_line()
    if not os.environ.get("HYDRA_FULL_ERROR"):
        internals.run_and_report = _one_line(internals.run_and_report)  # type: ignore[assignment]
        # A log file on a full disk: logging would print a traceback for each line that it can't write.
        logging.raiseExceptions = False
    if ranks.launched():
        from .runner import leader

        atexit.register(leader().end)
    try:
        main()
    except Stopped:
        raise
    except SystemExit as end:
        # A job, or what was to run it, ended in a way that nobody foresaw, and said so: the others have outcomes.
        if end.code != 1 or not (sweep.started and outcomes(sweep.started["folder"])):
            raise
        broken = True
    if _wrong:
        _stop(_wrong[0])
    _hear_out_ray()
    folder = sweep.started.get("folder") or (Path(_single[0]["output_dir"]) if _single else None)
    if folder is None:
        # One of Hydra's own flags (--cfg, --info, ...): it has answered.
        return
    cells = checked(outcomes(folder))
    if not cells:
        _stop(UserError(f"no cell of the sweep left an outcome in {folder}"))
    from ..reporting.show import show

    try:
        show(cells, folder, Store(Path(told(cells, "store", store_root()))), told(cells, "references", []))
    except UserError as error:
        _stop(error)
    except (OSError, MemoryError) as error:
        _stop_if_refused(error)
        raise
    failed = [c for c in cells if c["status"] == "failed"]
    if failed:
        sys.exit(2 if not broken and all(c.get("kind") == "user" for c in failed) else 1)
    if broken or any(c["status"] == UNFINISHED for c in cells):
        sys.exit(1)


def _hear_out_ray() -> None:
    """Ray tells what its workers said late, and what many said at its very end: all of it before our last line."""
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        ray.shutdown()


def _share_config_store() -> None:
    """Hydra deep-copies its sources for every composition and every group of ``--help``, and with them the one store of
    all schemas, which it never changes (what is read from it is copied again)."""
    from hydra.core.config_store import ConfigStore

    ConfigStore.__deepcopy__ = lambda self, memo: self  # type: ignore[attr-defined]


def _parse_in_one_line() -> None:
    """Let Hydra's parser of flags say what is wrong as ours do."""
    application = sys.modules["hydra.main"]
    original = application.get_args_parser  # type: ignore[attr-defined]

    def parser() -> Any:
        found = original()
        found.__class__ = OneLineParser
        return found

    application.get_args_parser = parser  # type: ignore[attr-defined]


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
        except OSError as error:
            if of_a_path(error) and _over_its_folder(error):
                why = f"the folder of this run can't be made: {error.filename}: {error.strerror}; give another one: "
                _stop(UserError(why + "hydra.run.dir=FOLDER, of a sweep hydra.sweep.dir=FOLDER"))
            _stop_if_refused(error)
            return original(_again(error))
        except Exception as error:
            _stop_if_refused(error)
            if type(error).__module__.split(".")[0] in _LAUNCHERS and not os.environ.get("HYDRA_FULL_ERROR"):
                _lost(error)
            return original(_again(error))

    return run_and_report


def _stop(error: BaseException) -> None:
    sweep.forget_if_no_job_ran()
    if os.environ.get("HYDRA_FULL_ERROR"):
        raise error
    from .composition_errors import explain

    print(error_line(explain(error)), file=sys.stderr)
    sys.exit(2)


def _stop_if_refused(error: Exception) -> None:
    """One line and exit code 1 for what the machine refused."""
    what = refusal(error)
    if what is None or os.environ.get("HYDRA_FULL_ERROR"):
        return
    again = "What is finished is in the store; run the same again when that is mended"
    print(error_line(f"{what}. {again}"), file=sys.stderr)
    sys.exit(1)


def _lost(error: Exception) -> NoReturn:
    """A launcher's own word that a job's process is gone."""
    words = next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")
    what = f"the launcher lost a job ({type(error).__name__}: {words[:200]})"
    print(error_line(f"{what}; the same command begins again what has no outcome"), file=sys.stderr)
    sys.exit(1)


def _raised_by_hydra(error: Exception) -> bool:
    """Whether Hydra itself stopped, over an override that it could not read."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith("hydra.")


def _over_its_folder(error: OSError) -> bool:
    """Whether Hydra could not make the folder of a run: none of our code had begun, here or in other processes."""
    if sweep.started and outcomes(sweep.started["folder"]):
        return False
    names, trace = set(), error.__traceback__
    while trace is not None:
        names.add(trace.tb_frame.f_globals.get("__name__", ""))
        trace = trace.tb_next
    return error.filename is not None and "edgedistil.stages.job" not in names


def _again(error: Exception) -> Callable[[], Any]:
    def action() -> Any:
        raise error

    return action
