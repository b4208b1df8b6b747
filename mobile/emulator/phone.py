"""Starts the emulated phone: ``python mobile/emulator/phone.py --phone DIR --cpu cortex-a76 [--storage-mb 2048]``.

When its adbd answers, one line of JSON is on standard output: ``serial`` (for ``adb connect``), ``cpu``, ``pid`` (of
this process) and ``adb`` (a client). The phone runs until standard input ends or SIGTERM or SIGINT comes; when this
process is killed, everything of the phone dies with it. SIGUSR1 pulls the cable (connections break, new ones are
refused, the phone itself stays); SIGUSR2 plugs it in again.
"""

import argparse
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import IO

import machine
import setup
from faults import PhoneError
from relay import adbd_answers

# A core with neither dot products nor wider vectors, one with dot products, one with 8-bit matrix products too.
CPUS = ("cortex-a53", "cortex-a76", "cortex-a710")
_PATIENCE_S = 60.0


class Phone:
    """A running phone; use as a context manager.

    Args:
        folder: made by ``setup.py``.
        cpu: one of :data:`CPUS`.
        storage_mb: size of ``/data/local/tmp`` in 2²⁰ bytes; it is memory of this machine when it is full.

    Raises:
        PhoneError: it does not start; what the phone said.
    """

    def __init__(self, folder: Path, cpu: str, storage_mb: int) -> None:
        manifest = setup.read_manifest(folder)
        self.adb = str(folder / manifest["adb"])
        self._said: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed in close; has no name to leave behind)
        with bound_socket() as listener:
            self.port = listener.getsockname()[1]
            lifeline, self._lifeline = os.pipe()
            self._report, report = os.pipe()
            settings = {
                "root": str(folder / "root"), "qemu": str(folder / manifest["qemu"]), "cpu": cpu,
                "storage_mb": storage_mb, "listener": listener.fileno(), "lifeline": lifeline, "report": report,
            }  # fmt: skip
            # No site packages: a program for the standard library starts faster without, and whatever they hook in.
            command = [sys.executable, "-S", str(Path(__file__).resolve().with_name("inside.py")), json.dumps(settings)]
            self._process = subprocess.Popen(
                command,
                pass_fds=[listener.fileno(), lifeline, report],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C in a terminal is for this process
                stdout=self._said,
                stderr=self._said,
            )
        os.close(lifeline)
        os.close(report)
        self._first = 0

    def __enter__(self) -> "Phone":
        try:
            self._wait_for_adbd()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wait_for_adbd(self) -> None:
        number = b""
        while not number.endswith(b"\n"):
            read = os.read(self._report, 64)
            if not read:
                self.ended(5)
                raise PhoneError(self.last_words())
            number += read
        self._first = int(number)
        end = time.monotonic() + _PATIENCE_S
        while not adbd_answers(self.port):
            if self.ended():
                raise PhoneError(self.last_words())
            if time.monotonic() > end:
                raise PhoneError(f"the phone's adbd did not answer within {_PATIENCE_S:.0f} s: {self.last_words()}")
            time.sleep(0.02)

    def ended(self, seconds: float = 0) -> bool:
        """Whether the phone has ended by itself."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self._process.returncode is not None

    def last_words(self) -> str:
        """What went wrong, by the phone's own last line."""
        self._said.seek(0)
        lines = [line.strip() for line in self._said.read().splitlines() if line.strip()]
        faults = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        return (faults or lines[-1:] or ["it said nothing"])[0]

    def cable(self, received: int) -> None:
        """SIGUSR1 pulls it, SIGUSR2 plugs it in."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._first, received)

    def wait(self, wakeup: int) -> None:
        """Until standard input ends, the phone does, or a signal handler wrote to ``wakeup``.

        Raises:
            PhoneError: the phone ended by itself.
        """
        while True:
            readable, _, _ = select.select([0, self._report, wakeup], [], [])
            if self._report in readable:
                self.ended(5)
                raise PhoneError(f"the phone ended: {self.last_words()}")
            if wakeup in readable or not os.read(0, 4096):
                return

    def close(self) -> None:
        """Ends the phone and waits until all its processes are gone."""
        with contextlib.suppress(OSError):
            os.close(self._lifeline)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._report)
        self._said.close()


def bound_socket() -> socket.socket:
    """A socket on a free port of the loopback that keeps the port while it does not listen.

    A port that the system chose goes back to it with the last listener, one that was asked for by number stays.
    """
    while True:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        bound = socket.socket()
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind(("127.0.0.1", port))
            return bound
        except OSError:
            bound.close()


def main(arguments: list[str] | None = None) -> int:
    """The command line; 0 when it was told to end, 1 when the phone ended by itself, 2 when it could not start."""
    options = _parser().parse_args(arguments)
    running: list[Phone] = []
    wakeup = os.pipe()

    def stop(number: int, frame: FrameType | None) -> None:
        os.write(wakeup[1], b"x")
        if not running:
            raise KeyboardInterrupt

    def pass_on(number: int, frame: FrameType | None) -> None:
        for phone in running:
            phone.cable(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, pass_on)
    try:
        machine.check_kernel(os.uname().release, os.uname().machine)
        with Phone(options.phone.resolve(), options.cpu, options.storage_mb) as phone:
            running.append(phone)
            said = {"serial": f"127.0.0.1:{phone.port}", "cpu": options.cpu, "pid": os.getpid(), "adb": phone.adb}
            print(json.dumps(said), flush=True)
            phone.wait(wakeup[0])
    except KeyboardInterrupt:
        pass
    except (PhoneError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1 if running else 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Start the emulated arm64 phone of edgedistil.")
    parser.add_argument("--phone", type=Path, default=setup.DEFAULT, help="folder (default: build/mobile/phone)")
    parser.add_argument("--cpu", choices=CPUS, required=True)
    parser.add_argument("--storage-mb", type=_size, default=2048, help="size of /data/local/tmp (default: 2048)")
    return parser


def _size(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1 << 20:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: a whole number of MB, 1 to {1 << 20}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
