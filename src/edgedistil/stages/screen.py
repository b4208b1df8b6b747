"""The state of a run in the terminal that started it: a line an event and, in a terminal, bars at the bottom.

It is read from files (``reporting/status.py``), so any launcher's jobs are seen. One process draws: steps that run
under it hand their lines over, so that they stand above the bars.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from ..errors import UserError
from ..reporting.estimate import Spent
from ..reporting.status import Sweep, read_sweep
from ..reporting.status_text import Live

_EVERY_S = 1.0
# While times are taken, the machine is to do as little else as can be.
_WHILE_MEASURING_S = 5.0
# Of a sweep of a thousand cells a look takes a second: many times as long passes before the next one.
_SHARE = 100
_MEASURE = ("bench", "profile")
# Where the steps' lines go while bars are drawn, the writing end of a pipe, and which steps draw themselves.
_lines: list[tuple[int, Sequence[str]]] = []


@contextmanager
def following(folder: Path, own_bars: Sequence[str] = ()) -> Iterator[None]:
    """Show the state of a run's folder on standard error until the end of the block.

    Args:
        own_bars: steps that draw a bar of their own.
    """
    live = Live(sys.stderr, own_bars=own_bars)
    over = threading.Event()
    follower = threading.Thread(target=_follow, args=(folder, live, over), daemon=True)
    with _lines_above(live, own_bars) if sys.stderr.isatty() else _nothing():
        follower.start()
        try:
            yield
        finally:
            over.set()
            follower.join()
            live.close()


def streams(step: str) -> dict[str, Any]:
    """Arguments of :class:`subprocess.Popen` for a step's output: standard error, or what stands above the bars."""
    if _lines and step not in _lines[-1][1]:
        return {"stdout": _lines[-1][0], "stderr": subprocess.STDOUT}
    return {"stdout": sys.stderr.fileno()}


def _follow(folder: Path, live: Live, over: threading.Event) -> None:
    spent, every = Spent(), _EVERY_S
    while not over.wait(every):
        every = _look(folder, live, spent)
    _look(folder, live, spent)


def _look(folder: Path, live: Live, spent: Spent) -> float:
    """Show how it is now; returns the seconds until it is time to look again."""
    began = time.monotonic()
    try:
        sweep: Sweep = read_sweep(folder, spent)
    except (UserError, OSError):
        # Nothing is there yet, or no longer: what is shown never stops what runs.
        return _EVERY_S
    live.show(sweep)
    measuring = any(job.now and job.now.step in _MEASURE for job in sweep.jobs)
    return max(_WHILE_MEASURING_S if measuring else _EVERY_S, _SHARE * (time.monotonic() - began))


@contextmanager
def _lines_above(live: Live, own_bars: Sequence[str]) -> Iterator[None]:
    reading, writing = os.pipe()
    copier = threading.Thread(target=_copy, args=(reading, live.say), daemon=True)
    copier.start()
    _lines.append((writing, own_bars))
    before = sys.stdout
    above = _Above(before, live.say)
    if before.isatty():
        sys.stdout = above  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.stdout = before
        above.finish()
        _lines.pop()
        os.close(writing)
        # What a step has started and left behind may hold the other end for ever.
        copier.join(2)


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _copy(reading: int, say: Callable[[str], None]) -> None:
    with open(reading, encoding="utf-8", errors="replace") as stream:
        for line in stream:
            say(line.rstrip("\n"))


class _Above:
    """Standard output whose lines stand above the bars; for all else it is the stream that it stands for."""

    def __init__(self, stream: TextIO, say: Callable[[str], None]) -> None:
        self._stream, self._say, self._kept = stream, say, ""

    def write(self, text: str) -> int:
        """Write whole lines; what has no end yet is kept for the next time."""
        *whole, self._kept = (self._kept + text).split("\n")
        for line in whole:
            self._say(line)
        return len(text)

    def finish(self) -> None:
        """Write what had no end."""
        if self._kept:
            self._say(self._kept)
            self._kept = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
