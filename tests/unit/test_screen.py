"""What stands in a terminal while a run goes on: lines above, bars below, and nothing of that elsewhere."""

import fcntl
import io
import os
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.tiny_records import leave, manifest

from edgedistil.stages import screen


class Terminal:
    """A terminal that somebody looks at; a test makes it standard error itself, since pytest puts its own stream there
    before every phase."""

    def __init__(self) -> None:
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self.stream = os.fdopen(slave, "w", buffering=1)
        self._found = b""

    def shown(self) -> str:
        """All that was written so far."""
        os.set_blocking(self._master, False)
        try:
            while part := os.read(self._master, 65536):
                self._found += part
        except (BlockingIOError, OSError):
            pass
        return self._found.decode(errors="replace")

    def until(self, text: str, seconds: float = 20) -> None:
        """Wait until it was written; another thread does that, when the machine lets it."""
        end = time.monotonic() + seconds
        while text not in self.shown():
            assert time.monotonic() < end, self.shown()
            time.sleep(0.01)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    one = Terminal()
    monkeypatch.setattr(screen, "_EVERY_S", 0.02)
    yield one
    one.stream.close()


def sweep(folder: Path) -> Path:
    manifest(folder, [["a=1"], ["a=2"]])
    leave(folder, 0, {"status": "done", "stage": "bench", "label": "the first", "seconds": 3.0})
    return folder


def say(step: str) -> None:
    subprocess.run([sys.executable, "-c", "print('a line of the step')"], check=True, **screen.streams(step))


def test_lines_of_steps_stand_above_the_bars(terminal: Terminal, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(sys, "stderr", terminal.stream)
    from edgedistil.store.lock import locked

    with locked(sweep(tmp_path) / "running.lock"), screen.following(tmp_path):
        terminal.until("cells 1 of 2  50 %|")
        say("bench")
        terminal.until("a line of the step")
    shown = terminal.shown()
    assert "cell 1 of 2 done after 3 s: the first" in shown
    assert "cells 1 of 2  50 %|" in shown
    # The bar is wiped before the line is written.
    before, after = shown.split("a line of the step", 1)
    assert before.endswith("\r")
    assert "cells 1 of 2" in after
    assert screen.streams("bench") == {"stdout": terminal.stream.fileno()}


def test_steps_with_bars_of_their_own_have_the_terminal(terminal: Terminal, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(sys, "stderr", terminal.stream)
    with screen.following(sweep(tmp_path), own_bars=("train",)):
        assert screen.streams("train") == {"stdout": terminal.stream.fileno()}
        assert screen.streams("bench")["stderr"] == subprocess.STDOUT


def test_standard_output_stands_above_too(terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal.stream)
    monkeypatch.setattr(sys, "stdout", terminal.stream)
    with screen.following(sweep(tmp_path)):
        print("one", "line")
        print("no end", end="")
        assert sys.stdout.isatty()
    assert sys.stdout is terminal.stream
    shown = terminal.shown()
    assert "one line\r\n" in shown
    assert "no end\r\n" in shown


def test_elsewhere_there_are_lines_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    monkeypatch.setattr(screen, "_EVERY_S", 0.02)
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with screen.following(sweep(tmp_path)):
        time.sleep(0.1)
    assert stream.getvalue() == "cell 1 of 2 done after 3 s: the first (1 left)\n"


def test_a_folder_that_is_not_there_stops_nothing(terminal: Terminal, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(sys, "stderr", terminal.stream)
    with screen.following(tmp_path / "nowhere"):
        time.sleep(0.1)
    assert "error" not in terminal.shown().lower()
