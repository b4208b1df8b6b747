"""A lock excludes other processes and dies with whoever holds it."""

import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgedistil.store.lock import locked

HOLD = """
import sys, time
from pathlib import Path
from edgedistil.store.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
HOLD_WITH_CHILD = """
import subprocess, sys
from pathlib import Path
from edgedistil.store.lock import locked
with locked(Path(sys.argv[1])) as descriptor:
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], pass_fds=(descriptor,))
    print(child.pid, flush=True)
    sys.stdin.read()
"""


class Busy(Exception):
    pass


def refuse(holder: str) -> None:
    raise Busy(holder)


def is_free(path: Path) -> bool:
    try:
        with locked(path, on_wait=refuse):
            return True
    except Busy:
        return False


def wait_until_free(path: Path, seconds: float = 5) -> None:
    end = time.monotonic() + seconds
    while not is_free(path):
        assert time.monotonic() < end, "the lock was not released"
        time.sleep(0.02)


@contextmanager
def process(program: str, path: Path) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    holder = subprocess.Popen([sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True)
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        yield holder, holder.stdout.readline().strip()
    finally:
        holder.kill()
        holder.wait()
        holder.stdin.close()
        holder.stdout.close()


def test_lock_excludes_another_process_and_names_it(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "k.lock"
    with process(HOLD, path) as (holder, said):
        assert said == "held"
        with pytest.raises(Busy, match=f"process {holder.pid} on {os.uname().nodename}"), locked(path, on_wait=refuse):
            pass
        assert not is_free(path)
        assert holder.stdin is not None
        holder.stdin.close()
        holder.wait(timeout=5)
        assert is_free(path)


def test_lock_is_released_when_its_holder_is_killed(tmp_path: Path) -> None:
    with process(HOLD, tmp_path / "k.lock") as (holder, _):
        assert not is_free(tmp_path / "k.lock")
        holder.kill()
        assert holder.wait(timeout=5) == -9
        assert is_free(tmp_path / "k.lock")


def test_child_that_inherited_the_lock_keeps_it_when_its_parent_is_killed(tmp_path: Path) -> None:
    with process(HOLD_WITH_CHILD, tmp_path / "k.lock") as (holder, child):
        holder.kill()
        holder.wait(timeout=5)
        os.kill(int(child), 0)
        assert not is_free(tmp_path / "k.lock")
        # The child's standard input is the pipe that this test holds.
        assert holder.stdin is not None
        holder.stdin.close()
        wait_until_free(tmp_path / "k.lock")


def test_waiting_is_told_once_and_ends_with_the_lock(tmp_path: Path) -> None:
    told: list[str] = []
    with process(HOLD, tmp_path / "k.lock") as (holder, _):

        def end_later(text: str) -> None:
            told.append(text)
            assert holder.stdin is not None
            holder.stdin.close()

        with locked(tmp_path / "k.lock", on_wait=end_later, poll_s=0.01):
            assert holder.wait(timeout=5) == 0
    assert told == [f"process {holder.pid} on {os.uname().nodename}"]


def test_lock_is_held_where_its_holder_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.pwrite", full)
    with locked(tmp_path / "k.lock"):
        assert not is_free(tmp_path / "k.lock")
        with pytest.raises(Busy, match="another process"), locked(tmp_path / "k.lock", on_wait=refuse):
            pass


def test_lock_is_released_when_the_work_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "k.lock"):
        raise ZeroDivisionError
    assert is_free(tmp_path / "k.lock")


def test_a_lock_whose_file_was_removed_by_its_holder_still_keeps_others_out(tmp_path: Path) -> None:
    path = tmp_path / "k.lock"
    with process(HOLD, path) as (holder, _):

        def removed_and_let_go(_: str) -> None:
            path.unlink()
            assert holder.stdin is not None
            holder.stdin.close()

        with locked(path, on_wait=removed_and_let_go, poll_s=0.01):
            assert path.is_file()
            assert not is_free(path)


def test_a_refused_lock_leaves_no_file_open(tmp_path: Path) -> None:
    with process(HOLD, tmp_path / "k.lock"):
        before = os.listdir("/proc/self/fd")
        assert not is_free(tmp_path / "k.lock")
        assert os.listdir("/proc/self/fd") == before
