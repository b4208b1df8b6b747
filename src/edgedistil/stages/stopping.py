"""SIGTERM to a command, which schedulers send before they take a machine away, and Ctrl-C.

The process of a step is told at once, by SIGTERM for both. One that trains saves a checkpoint first; all others end
like at a kill, which costs what they had done. The command itself ends with exit code 75, after Ctrl-C with 130, and
the same command goes on. A second Ctrl-C does not wait for the checkpoint.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from ..errors import EXIT_INTERRUPTED, EXIT_START_AGAIN, Stopped

# The signal that came.
_told: list[signal.Signals] = []
_children: list["subprocess.Popen[bytes]"] = []
# Exit codes of a step's process that was told: after a checkpoint, or where there is none to save.
_STOPPED = (EXIT_START_AGAIN, -signal.SIGTERM)
_CODES = {signal.SIGTERM: EXIT_START_AGAIN, signal.SIGINT: EXIT_INTERRUPTED}
_NAMES = {signal.SIGTERM: "SIGTERM", signal.SIGINT: "Ctrl-C"}
# Set where a command started the process of a step.
PARENT = "EDGEDISTIL_PARENT"


def listen(keyboard: bool = False) -> None:
    """Have SIGTERM end this process after its steps; a handler that somebody else has put there stays.

    Args:
        keyboard: Ctrl-C, too.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _hear)
    if keyboard and signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, _hear)


def _hear(number: int, _: Any = None) -> None:
    _told.append(signal.Signals(number))
    if number == signal.SIGINT:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if _children:
            os.write(2, b"stopping: a step that trains saves a checkpoint first (Ctrl-C again does not wait for it)\n")
    for child in _children:
        child.send_signal(signal.SIGTERM)
    if not _children:
        check()


@contextmanager
def passed_on(children: Sequence["subprocess.Popen[bytes]"]) -> Iterator[None]:
    """Tell these processes, too, until the end of the block."""
    _children.extend(children)
    try:
        if _told:
            _hear(_told.pop())
        yield
    finally:
        for child in children:
            _children.remove(child)


def check(code: int = EXIT_START_AGAIN, what: str = "") -> None:
    """End here if SIGTERM or Ctrl-C came.

    Args:
        code: of the process of a step: one that ended in another way has its own story.
        what: which step was at work.

    Raises:
        Stopped: it came.
    """
    if _told and code in _STOPPED:
        where, exit_code = f" in {what}" if what else "", _CODES[_told[-1]]
        raise Stopped(f"stopped by {_NAMES[_told[-1]]}{where}; {_again(exit_code)}", exit_code)


def _again(code: int) -> str:
    return f"what is made is kept, and the same command goes on from there (exit code {code})"


def heard(code: int) -> str | None:
    """Why a step's process ended, if it was told to by others than its command."""
    if code not in _STOPPED:
        return None
    # A training has saved a checkpoint; of a step of several trainings the finished ones are kept.
    kept = ", and the same command goes on from what it kept" if code == EXIT_START_AGAIN else ""
    return f"the process was ended by SIGTERM{kept}"


def end(stopped: Stopped) -> None:
    """The last line of a command that was stopped, and its end."""
    print(stopped.message or f"stopped; {_again(int(stopped.code or 0))}", file=sys.stderr, flush=True)
    sys.exit(stopped.code)


def interrupted() -> NoReturn:
    """The last line of a command that would not wait for its steps, and its end."""
    what = f"what is finished is kept, the same command goes on (exit code {EXIT_INTERRUPTED})"
    print(f"stopped by Ctrl-C; {what}", file=sys.stderr)
    sys.exit(EXIT_INTERRUPTED)


def leave_ctrl_c_to_the_command() -> None:
    """For the process of a step: a terminal sends Ctrl-C to all processes, and its command passes it on as SIGTERM,
    which ends a process whatever library it is in."""
    if os.environ.get(PARENT):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
