"""SIGTERM and Ctrl-C to a command whose step is a process of its own."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

# A step that takes a moment to save what it has, as a training does; Ctrl-C of the terminal is not its own to hear.
STEP = """
import os, signal, sys, time
from edgedistil.stages import stopping
stopping.leave_ctrl_c_to_the_command()
def save(*_):
    time.sleep(float(sys.argv[1]))
    print("saved", flush=True)
    os._exit(75)
signal.signal(signal.SIGTERM, save)
print("ready", flush=True)
time.sleep(60)
"""
COMMAND = """
import os, subprocess, sys
from edgedistil.errors import Stopped
from edgedistil.stages import stopping
stopping.listen(keyboard=True)
try:
    child = subprocess.Popen([sys.executable, *sys.argv[1:]], env={**os.environ, stopping.PARENT: "0"})
    with stopping.passed_on([child]):
        code = child.wait()
    stopping.check(code, "train (m on t)")
except Stopped as stopped:
    stopping.end(stopped)
except KeyboardInterrupt:
    child.kill()
    stopping.interrupted()
print("unstopped", code)
"""


SAVING = "stopping: a step that trains saves a checkpoint first (Ctrl-C again does not wait for it)"


def _stopped(tmp_path: Path, saving_s: float, *signals: signal.Signals) -> tuple[int, str, str]:
    """Exit code, standard output and error of the command, after signals to its whole group, as terminals send them."""
    (tmp_path / "step.py").write_text(STEP)
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(tmp_path / "step.py"), str(saving_s)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        # Who runs tests in the background of a shell runs them with Ctrl-C ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    said = ""
    try:
        for number in signals:
            if number == signal.SIGTERM:
                process.send_signal(number)
            else:
                os.killpg(process.pid, number)
            # Two that come before the first was heard are one.
            if len(signals) > 1 and SAVING not in said:
                assert process.stderr
                said += process.stderr.readline()
        out, err = process.communicate(timeout=30)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, out, said + err


@pytest.mark.parametrize(
    ("number", "code", "name"), [(signal.SIGTERM, 75, "SIGTERM"), (signal.SIGINT, 130, "Ctrl-C")]
)
def test_the_step_is_waited_for_and_one_line_says_how_to_go_on(
    tmp_path: Path, number: signal.Signals, code: int, name: str
) -> None:
    found, out, err = _stopped(tmp_path, 0.5, number)
    assert (found, out) == (code, "saved\n")
    *first, last = err.splitlines()
    assert first == [SAVING] * (name == "Ctrl-C")
    assert last == (
        f"stopped by {name} in train (m on t); what is made is kept, and the same command goes on from there "
        f"(exit code {code})")


def test_a_second_ctrl_c_does_not_wait(tmp_path: Path) -> None:
    code, out, err = _stopped(tmp_path, 20.0, signal.SIGINT, signal.SIGINT)
    assert (code, out) == (130, "")
    assert err.splitlines() == [
        SAVING, "stopped by Ctrl-C; what is finished is kept, the same command goes on (exit code 130)"]
