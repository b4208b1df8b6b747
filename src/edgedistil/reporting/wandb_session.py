"""How a run of W&B begins and ends, so that neither a missing account nor a server that is away holds anything up.

Nothing here imports wandb before a run is asked for. Keys stay where wandb finds them (environment, ``.netrc``); none
is read, passed on or written by us.
"""

import atexit
import logging
import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..credentials import masked
from ..errors import UserError
from .wandb_files import last_summary, mend

log = logging.getLogger("edgedistil")
# A folder that one command and its steps share; a file in it says that the server did not answer one of them.
_SHARED = "EDGEDISTIL_WANDB_SESSION"
# wandb writes its log this often; what a kill loses is never older.
_FLUSH_S = 0.1
# Whether this process has begun a run.
_begun: list[bool] = []
# The program's own output stays readable, and nothing is reported to W&B's makers.
_QUIET = {"WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"}


def quiet() -> None:
    """Set what :data:`_QUIET` says, unless the user has set it."""
    os.environ.update({k: v for k, v in _QUIET.items() if k not in os.environ})


def settle(node: dict[str, Any]) -> str:
    """Decide once for a command and all its steps: ``online``, ``offline`` or ``disabled``.

    ``WANDB_MODE`` wins (over a run that :func:`begin` is asked to keep offline only as ``disabled``); then
    ``logger.wandb.offline``; then ``wandb offline`` in this folder; without an account it is ``offline``, and one line
    says so.
    """
    _share()
    quiet()
    mode = os.environ.get("WANDB_MODE")
    if mode:
        return {"dryrun": "offline", "run": "online"}.get(mode, mode)
    # An entry of the config is no business of the next job's.
    if node.get("offline"):
        return "offline"
    from wandb.sdk import wandb_setup

    # Not wandb.setup(), which starts a process.
    settings = wandb_setup.singleton().settings
    mode = str(settings.mode or "online")
    if mode == "online" and not has_account(str(settings.base_url)):
        mode = "offline"
        log.warning(
            "W&B: no account found for %s (wandb login or WANDB_API_KEY): runs are kept in %s; `%s` uploads them later",
            masked(str(settings.base_url)),
            settings.wandb_dir,
            upload_command(settings.wandb_dir),
        )
    os.environ["WANDB_MODE"] = mode
    return mode


def begin(wait_s: float, stats: bool, **init: Any) -> Any:
    """``wandb.init(**init)``; where the server has not answered within ``wait_s`` seconds, to this run or to an earlier
    one of the command, the run is kept on disk instead.

    Args:
        stats: sample the machine (processor, memory, GPU) along with the run.
    """
    import wandb

    quiet()
    if not _begun:
        # The process of wandb that serves the command: a step's runs would stay in it when the step has given up.
        os.environ.pop("WANDB_SERVICE", None)
        _begun.append(True)
    settings: dict[str, Any] = {
        "silent": True,
        # Never another run that could not be ended.
        "reinit": "create_new",
        "console": "off",
        # A remote's address may hold a token, and the difference to the last commit is nobody's business.
        "disable_git": True,
        "disable_code": True,
        "x_disable_stats": not stats,
        "x_transaction_log_flush_interval": _FLUSH_S,
        "init_timeout": wait_s,
        "finish_timeout": wait_s,
        "finish_timeout_raises": True,
    }

    def start(mode: Any) -> Any:
        return wandb.init(**init, mode=mode, resume="allow", settings=wandb.Settings(**settings))

    told, asked = os.environ.get("WANDB_MODE"), init.pop("mode", None)
    # Who wants nothing of W&B gets nothing, not even a folder.
    mode = told if told == "disabled" else asked or told or "online"
    if mode == "online" and away():
        mode = "offline"
    before = _folders(str(init["id"]))
    try:
        run = start(mode)
    except Exception as error:
        if mode != "online":
            raise
        # The failed run keeps its id until then.
        wandb.teardown()
        for folder in _folders(str(init["id"])) - before:
            shutil.rmtree(folder, ignore_errors=True)
        run = start("offline")
        _note(f"{masked(run.settings.base_url)} gave no answer ({in_short(error)})", run)
    if mode != "disabled":
        place = Path(run.settings.wandb_dir), run.id, Path(run.settings.sync_dir)
        mend(*place)
        if run.offline:
            run.summary.update(last_summary(*place))
    return run


def end(run: Any, failed: bool = False) -> None:
    """``run.finish()``; what has not reached the server in time stays on disk."""
    try:
        run.finish(exit_code=int(failed))
    except Exception as error:
        _note(f"{masked(run.settings.base_url)} did not take everything ({in_short(error)})", run)


@contextmanager
def unharmed(what: str) -> Iterator[None]:
    """What is done already, and only has to be logged, is no failure where W&B fails: one line says so."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        log.warning("W&B: %s was not logged (%s)", what, in_short(error))
        log.debug("", exc_info=True)


def away() -> bool:
    """Whether the server has failed this command before."""
    shared = os.environ.get(_SHARED)
    return bool(shared) and (Path(str(shared)) / "away").is_file()


def _note(what: str, run: Any) -> None:
    """One line a command, however many of its steps see it."""
    known = away()
    if shared := os.environ.get(_SHARED):
        Path(shared).mkdir(exist_ok=True)
        (Path(shared) / "away").touch()
    if not known:
        folder = run.settings.wandb_dir
        command = upload_command(folder)
        log.warning("W&B: %s: runs are kept in %s and work goes on; `%s` uploads them later", what, folder, command)


def upload_command(folder: str) -> str:
    """What uploads all runs of a folder, one after another in the order in which they were written: one `wandb sync` of
    all would send them at once, and the parts of one run over each other where an entity was set for some of them."""
    runs = f"{shlex.quote(folder)}/*run-*/*.wandb"
    # A loop, for folders with spaces: xargs of macOS can't be told to split at line ends alone.
    return f'ls -rt {runs} | while read -r run; do wandb sync --include-online "$run"; done'


def _folders(run_id: str) -> set[Path]:
    from wandb.sdk import wandb_setup

    return set(Path(wandb_setup.singleton().settings.wandb_dir).glob(f"run-*-{run_id}"))


def _share() -> None:
    if _SHARED in os.environ:
        return
    folder, owner = tempfile.mkdtemp(prefix="edgedistil-wandb-"), os.getpid()
    os.environ[_SHARED] = folder
    # Workers of a launcher are forks of this process, and it outlives them.
    atexit.register(lambda: shutil.rmtree(folder, ignore_errors=True) if os.getpid() == owner else None)


def has_account(base_url: str) -> bool:
    """Whether wandb finds a key for a server; nobody is asked."""
    from wandb.errors import AuthenticationError
    from wandb.sdk.lib import wbauth

    try:
        return (
            wbauth.authenticate_session(host=base_url, source="edgedistil", prompt=False, update_session=False)
            is not None
        )
    except AuthenticationError:
        # Its message might quote the key.
        log.warning("W&B: the key for %s has a form that keys do not have", masked(base_url))
        return False


def in_short(error: Exception) -> str:
    """An exception in few words, without credentials."""
    text = masked(" ".join(str(error).split()))
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
