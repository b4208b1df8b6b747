"""The phases of a start: a clock and the memory at the end of each, without the time that looking at them takes."""

import mmap
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .memory import memory, reset_peak

# madvise(2): fault all pages in for reading; Python has no name for it.
_POPULATE_READ = 22
_WINDOW_BYTES = 1 << 22


class Phases(dict[str, int]):
    """Phase → end (ns of the system-wide monotonic clock); :attr:`memory` holds the same phases' memory in MB.

    The kernel's high-water mark is set back at the end of each phase, so ``peak_rss_mb`` is that phase's own. Reading
    ``/proc`` takes milliseconds in a large process: later ends are put forward by them, as if it had taken no time.

    Args:
        folder: the model's folder, whose mapped files are told apart.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.memory: dict[str, dict[str, Any]] = {}
        # What another device's memory holds, asked at the end of each phase once it is set.
        self.device_memory: Callable[[], dict[str, float | None]] | None = None
        self._folder, self._looked_ns = folder, 0
        reset_peak()

    def end(self, name: str) -> None:
        """Close the phase that runs and begin the next one."""
        with self.aside() as now:
            self[name] = now - self._looked_ns
            self.memory[name] = memory(self._folder)
            if self.device_memory is not None:
                self.memory[name]["gpu"] = self.device_memory()
            reset_peak()

    @contextmanager
    def aside(self) -> Iterator[int]:
        """A look at something, whose time is no part of any phase; gives the clock at its beginning."""
        now = time.monotonic_ns()
        yield now
        self._looked_ns += time.monotonic_ns() - now


def read_through(file: Path) -> None:
    """Bring all of a file into the page cache, so that the engine's own loading waits for no disk.

    Mapped and faulted in rather than read: no copy, so a file that is there already costs about a millisecond per
    100 MB. One window after another, so that this reading is no part of the process's peak. Where the kernel can't
    (before Linux 5.14), it is read in pieces.
    """
    with open(file, "rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        for start in range(0, size, _WINDOW_BYTES):
            length = min(_WINDOW_BYTES, size - start)
            with mmap.mmap(stream.fileno(), length, access=mmap.ACCESS_READ, offset=start) as view:
                try:
                    view.madvise(_POPULATE_READ)
                except (OSError, ValueError, AttributeError):
                    break
        else:
            return
        stream.seek(0)
        while stream.read(1 << 20):
            pass
