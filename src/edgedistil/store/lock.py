"""Locks by ``flock``: the kernel frees them when their holder dies, so a dead owner never blocks anybody."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def locked(path: Path, on_wait: Callable[[str], None] | None = None, poll_s: float = 0.2) -> Iterator[int]:
    """Hold the exclusive lock ``path``; yields its descriptor, which a child process may inherit.

    A child that inherits the descriptor keeps the lock while it lives, even when its parent was killed: so nobody
    starts the same work beside a child that has not yet noticed.

    Args:
        on_wait: called once, with the text that the present holder left, when somebody else has the lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    waited = False
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            waited = _taken(descriptor, on_wait, poll_s, waited)
        except BaseException:
            os.close(descriptor)
            raise
        if _is_at(path, descriptor):
            break
        # Whoever had it has removed the file: others would lock another.
        os.close(descriptor)
    try:
        # For people; on a full disk the lock is as good without, and what makes space there takes it.
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} on {os.uname().nodename}".encode(), 0)
        yield descriptor
    finally:
        # Closing drops our share only: a child that inherited the descriptor still holds the lock.
        os.close(descriptor)


def _taken(descriptor: int, on_wait: Callable[[str], None] | None, poll_s: float, waited: bool) -> bool:
    """Wait until the lock is ours; returns whether somebody was told of the wait, or had been (``waited``)."""
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return waited
        except BlockingIOError:
            if on_wait and not waited:
                on_wait(_who(descriptor))
            waited = True
            time.sleep(poll_s)


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def refuse(holder: str) -> None:
    """``on_wait`` of who leaves alone what somebody else is at.

    Raises:
        BlockingIOError: always.
    """
    raise BlockingIOError(holder)


def holder(path: Path) -> str | None:
    """What the present holder of the lock ``path`` left in it (``process 12 on host``); None when nobody holds it.

    Nothing is written, so that a store of others can be looked at.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        # Shared: two that look at once do not take each other for a holder.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _who(descriptor)
    finally:
        os.close(descriptor)
    return None


def _who(descriptor: int) -> str:
    """What the holder left, on one line."""
    return " ".join(os.pread(descriptor, 200, 0).decode(errors="replace").split()) or "another process"
