"""The emulated phone for tests: started as anyone starts it, asked through an adb whose server is the tests' own."""

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EMULATOR = Path(__file__).resolve().parents[2] / "mobile" / "emulator"


@dataclass
class Phone:
    """A started phone that adb is connected to."""

    process: subprocess.Popen[str]
    said: dict[str, Any]
    environment: dict[str, str]
    seconds: float
    serial: str = field(init=False)

    def __post_init__(self) -> None:
        self.serial = self.said["serial"]

    @property
    def command(self) -> list[str]:
        """adb for this phone."""
        return [self.said["adb"], "-s", self.serial]

    def adb(self, *words: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*self.command, *words], capture_output=True, text=True, env=self.environment,
                              stdin=subprocess.DEVNULL, timeout=timeout)

    def shell(self, command: str, timeout: float = 60) -> str:
        """Standard output of a command that succeeds, without the last newline."""
        done = self.adb("shell", command, timeout=timeout)
        assert done.returncode == 0, f"{command}: {done}"
        return done.stdout.removesuffix("\n")

    def connect(self) -> None:
        subprocess.run([self.said["adb"], "disconnect", self.serial], capture_output=True, env=self.environment)
        done = subprocess.run([self.said["adb"], "connect", self.serial], capture_output=True, text=True,
                              env=self.environment, timeout=30)
        assert "connected to" in done.stdout, done

    def processes(self) -> list[int]:
        """All processes of this machine that descend from the phone's."""
        parents = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                text = stat.read_text()
            except OSError:
                continue
            parents[int(stat.parent.name)] = int(re.sub(r"^.*\) ", "", text).split()[1])
        found = [self.process.pid]
        for number in found:
            found += [child for child, parent in parents.items() if parent == number]
        return found

    def cable(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
        port = int(self.serial.split(":")[1])
        until(lambda: port_open(port) == (number == signal.SIGUSR2), f"the cable to follow {number.name}")


def until(condition: Any, what: str, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.02)


def port_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def start(folder: Path, environment: dict[str, str], cpu: str, *options: str) -> Phone:
    """``phone.py`` up to its line of JSON; what it says instead fails the test."""
    began = time.monotonic()
    command = [sys.executable, str(EMULATOR / "phone.py"), "--phone", str(folder), "--cpu", cpu, *options]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, env=environment)
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], 60)
    line = process.stdout.readline() if readable else ""
    if not line:
        process.kill()
        raise AssertionError(f"no phone: {process.communicate()}")
    return Phone(process, json.loads(line), environment, time.monotonic() - began)


def stop(phone: Phone) -> None:
    subprocess.run([phone.said["adb"], "disconnect", phone.serial], capture_output=True, env=phone.environment)
    if phone.process.poll() is None:
        phone.process.terminate()
    phone.process.communicate(timeout=20)


def adb_environment(home: Path) -> dict[str, str]:
    """An adb server of one's own: on a free port, with keys in a folder of one's own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return {**os.environ, "ANDROID_ADB_SERVER_PORT": str(port), "HOME": str(home), "TMPDIR": str(home)}
