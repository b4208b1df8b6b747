"""The ways in which a run ends early: the user's input is wrong, a step failed, or somebody asked it to stop."""

import argparse
import errno
import sys
from typing import NoReturn

from .credentials import masked

# sysexits.h calls it EX_TEMPFAIL: nothing is wrong, the same command goes on when it is started again.
EXIT_START_AGAIN = 75
# As of a command that Ctrl-C has ended: 128 + SIGINT.
EXIT_INTERRUPTED = 130
# Characters of a line that somebody will still read.
_LONGEST = 1900
# What is wrong with the right to a place, which may be the machine's or the path's that was given.
_NO_RIGHT = (errno.EROFS, errno.EACCES, errno.EPERM)
# What a machine answers that has no room, no memory or no right for what was asked.
_REFUSED = (*_NO_RIGHT, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOMEM)
# What is wrong with a path that was given, not with the machine.
_OF_A_PATH = (
    *(*_NO_RIGHT, errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.EISDIR),
    *(errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL),
)


class UserError(Exception):
    """Bad input, said in one line: what was wrong, the value, what is allowed, what to do next. Exit code 2.

    Credentials in the message, which may quote a library's, are masked.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(masked(str(message)))


class StepError(Exception):
    """A step could not be finished; the cell is recorded as failed and the sweep goes on. Exit code 1.

    ``detail`` holds the child's traceback, for logs only.
    """

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(masked(message))
        self.detail = masked(detail)


class Stopped(SystemExit):
    """SIGTERM came (a scheduler wants the machine) or Ctrl-C: what is made is kept, and no other cell begins. Exit code
    75, after Ctrl-C 130.

    No ``Exception``, so that neither Hydra nor Lightning takes it for a failure of one job.
    """

    def __init__(self, message: str = "", code: int = EXIT_START_AGAIN) -> None:
        super().__init__(code)
        self.message = message


def first_line(error: BaseException) -> str:
    """Kind and first line of what a library raised, to be quoted in a message of ours."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def refusal(error: BaseException) -> str | None:
    """What the machine refused, where an error is about that: no mistake of this program, nor of the command."""
    if isinstance(error, MemoryError):
        return "out of memory"
    if isinstance(error, OSError) and error.errno in _REFUSED:
        return f"{error.filename or 'a file'} can't be written or read: {error.strerror}"
    return None


def of_a_path(error: OSError) -> bool:
    """Whether an error is about a path that can't be what it was given for."""
    return error.filename is not None and error.errno in _OF_A_PATH


def error_line(error: BaseException | str) -> str:
    """The line that is printed of an error: values with line ends in them stay on it, and very long ones are cut."""
    text = masked(" ".join(str(error).splitlines()))
    return f"error: {text}" if len(text) <= _LONGEST else f"error: {text[: _LONGEST - 500]} [...] {text[-450:]}"


class OneLineParser(argparse.ArgumentParser):
    """A parser of arguments that says what is wrong in one line, as everything here does, in place of the usage."""

    def error(self, message: str) -> NoReturn:
        print(error_line(f"{message}; see {self.prog} --help"), file=sys.stderr)
        sys.exit(2)
