"""The emulated phone (``mobile/emulator``): started for one step, behind an adb server of its own, gone with it."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import UserError
from .adb import Adb, PhoneError, call

_MOBILE = Path(__file__).resolve().parents[3] / "mobile"
_PHONE = Path(__file__).resolve().parents[3] / "build" / "mobile" / "phone"
_START_S = 120.0
# Names a folder that mobile/emulator/setup.py has made, in place of the checkout's.
PHONE_VARIABLE = "EDGEDISTIL_PHONE"


def find_phone(folder: str | None) -> Path:
    """The folder of the emulated phone: given, named by the environment, or the checkout's."""
    return Path(folder or os.environ.get(PHONE_VARIABLE) or _PHONE).expanduser().resolve()


def why_no_emulator(folder: Path) -> str | None:
    """Why the emulated phone can't be started, or None. Looks at files alone."""
    if not (_MOBILE / "emulator" / "phone.py").is_file():
        return "the emulated phone is part of a checkout (mobile/emulator), and this installation has none"
    if not (folder / "manifest.json").is_file():
        return f"no emulated phone in {folder}: make emulated-phone (Debian)"
    return None


def adb_of(folder: Path, wanted: str) -> str:
    """The adb binary for the emulated phone: the one that is wanted, else the one that came with the phone."""
    own = folder / "adb" / "adb"
    found = shutil.which(wanted) or (str(own) if own.is_file() else None)
    if found is None:
        raise UserError(f"no {wanted} on the path and none in {folder}: apt-get install adb, or device.phone.adb=FILE")
    return found


def identity(folder: Path) -> dict[str, Any]:
    """What the phone is made of, for fingerprints: versions of its packages, QEMU among them.

    Raises:
        UserError: its manifest can't be read.
    """
    file = folder / "manifest.json"
    try:
        packages = json.loads(file.read_text(encoding="utf-8"))["packages"]
        made_of = {kind: {n: p["version"] for n, p in found.items()} for kind, found in packages.items()}
        if not all(isinstance(version, str) for found in made_of.values() for version in found.values()):
            raise ValueError("versions that are no texts")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{file} can't be read: set the phone up again (make emulated-phone)") from error
    return {"packages": made_of}


# An adb server that ends, with its keys, when its standard input does: however the process that holds that ends.
_SERVER = '"$0" nodaemon server & server=$!; read _; kill $server; wait; rm -rf "$1"'


@contextmanager
def _own_server(program: str) -> Iterator[dict[str, str]]:
    """Variables for adb with a server of its own: whatever phones the user's server knows stay out of it."""
    home = tempfile.mkdtemp(prefix="edgedistil-adb-")
    environment = {"ANDROID_ADB_SERVER_PORT": str(_free_port()), "HOME": home, "ADB_VENDOR_KEYS": ""}
    server = subprocess.Popen(
        ["/bin/sh", "-c", _SERVER, program, home],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **environment},
    )
    try:
        _wait_for_port(int(environment["ANDROID_ADB_SERVER_PORT"]))
        yield environment
    finally:
        _end(server)


@contextmanager
def emulated_phone(folder: Path, cpu: str, storage_mb: int, program: str) -> Iterator[Adb]:
    """A phone with this processor that answers over adb until the block ends.

    Raises:
        PhoneError: it does not start.
    """
    command = [sys.executable, str(_MOBILE / "emulator" / "phone.py"), "--phone", str(folder), "--cpu", cpu]
    with _own_server(program) as environment, tempfile.TemporaryFile("w+") as errors:
        device = subprocess.Popen(
            [*command, "--storage-mb", str(storage_mb)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        try:
            assert device.stdout is not None
            line = device.stdout.readline()
            if not line.endswith("\n"):
                errors.seek(0)
                words = errors.read().strip().splitlines() or ["no message"]
                raise PhoneError(f"the emulated phone did not start: {words[-1]}")
            adb = Adb(program, _serial(line), environment)
            said = call([program, "connect", adb.serial], environment, _START_S)
            if "connected to" not in said.stdout:
                raise PhoneError(f"adb does not connect to the emulated phone: {(said.stdout + said.stderr).strip()}")
            adb.run("wait-for-device", timeout_s=_START_S)
            yield adb
        finally:
            _end(device)


def _serial(line: str) -> str:
    """Where the phone answers, from the one line that it says of itself."""
    try:
        found = json.loads(line)["serial"]
    except (ValueError, KeyError, TypeError, RecursionError):
        found = None
    if not isinstance(found, str) or not found:
        raise PhoneError(f"the emulated phone did not say where it is, but {line.strip()[:200]!r}")
    return found


def _end(device: "subprocess.Popen[Any]") -> None:
    """Both end when their standard input does; what does not is killed."""
    assert device.stdin is not None
    device.stdin.close()
    try:
        device.wait(20)
    except subprocess.TimeoutExpired:
        device.kill()
        device.wait()


def _wait_for_port(port: int) -> None:
    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise PhoneError(f"adb's own server did not start within {_START_S:g} s")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
