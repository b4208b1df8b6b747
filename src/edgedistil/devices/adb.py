"""The Android debug bridge: one phone that is reached by the ``adb`` program, and what goes wrong on the way."""

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

# ``adb shell`` may exit with 0 when the phone vanished meanwhile: only a command that ends with this line was whole.
_MARK = "__edgedistil_exit="
_SHORT_S = 30.0
_HELP = {
    "unauthorized": "unlock it and allow this computer (USB debugging), or adb kill-server and plug it in again",
    "offline": "plug it in again, or adb reconnect",
    "no permissions": "this user may not open its USB device: see adb's udev rules, or run adb start-server as root",
}


class PhoneError(Exception):
    """The phone, or the way to it, failed; one line."""


@dataclass(frozen=True)
class Listed:
    """One line of ``adb devices``."""

    serial: str
    state: str


@dataclass(frozen=True)
class Adb:
    """One phone.

    Args:
        program: the ``adb`` binary.
        serial: as ``adb devices`` shows it.
        environment: more variables for the program (another server's port).
    """

    program: str
    serial: str
    environment: Mapping[str, str] = field(default_factory=dict)

    def command(self, *arguments: str) -> list[str]:
        """The words that run adb on this phone."""
        return [self.program, "-s", self.serial, *arguments]

    def run(self, *arguments: str, timeout_s: float = _SHORT_S) -> str:
        """Standard output of one adb command that is no shell.

        Raises:
            PhoneError: it failed, or took longer than ``timeout_s``.
        """
        done = call(self.command(*arguments), self.environment, timeout_s)
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise PhoneError(f"adb {arguments[0]} on {self.serial}: {said[-1] if said else 'failed without a word'}")
        return done.stdout

    def shell(self, words: Sequence[str], timeout_s: float = _SHORT_S) -> str:
        """Standard output of one program on the phone; every word reaches it as it is.

        Raises:
            PhoneError: another exit code than 0, a run that was torn, or too long a one.
        """
        return self.script(shlex.join(words), timeout_s=timeout_s)

    def script(self, text: str, *words: str, timeout_s: float = _SHORT_S) -> str:
        """Standard output of a piece of shell of our own, in which ``{}`` stands for each of ``words``, quoted."""
        body = text.format(*(shlex.quote(word) for word in words)) if words else text
        whole = f"( {body}\n); echo {_MARK}$?"
        done = call(self.command("shell", whole), self.environment, timeout_s)
        said, mark, code = done.stdout.rpartition(_MARK)
        ended = whole_number(code.strip())
        if not mark or ended is None:
            last = (done.stderr.strip() or "the phone is gone or the connection broke").splitlines()[-1]
            raise PhoneError(f"a command on {self.serial} was torn: {last}")
        if ended:
            last = (done.stderr.strip() or said.strip() or "no message").splitlines()[-1]
            raise PhoneError(f"on {self.serial}: {body.split()[0]}: {last} (exit code {ended})")
        return said


def whole_number(text: str) -> int | None:
    """A number of up to 18 plain digits; None of everything else (``isdigit`` takes ² for one)."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


def listed(program: str) -> list[Listed]:
    """What ``adb devices`` lists, in any state. Starts adb's server if none runs.

    Raises:
        PhoneError: adb itself fails.
    """
    done = call([program, "devices"], {}, _SHORT_S)
    if done.returncode:
        raise PhoneError(f"adb devices: {(done.stderr.strip() or 'no message').splitlines()[-1]}")
    found = []
    for line in done.stdout.splitlines()[1:]:
        serial, _, state = line.partition("\t")
        if state:
            found.append(Listed(serial.strip(), state.strip().partition(";")[0].partition(" (")[0]))
    return found


def choose(found: Sequence[Listed], serial: str | None) -> str:
    """The phone that is meant.

    Raises:
        PhoneError: none, several without ``serial`` saying which, or one that can't be used yet.
    """
    if serial is None and len(found) > 1:
        names = ", ".join(f"{one.serial} ({one.state})" for one in found)
        raise PhoneError(
            f"{len(found)} phones are connected: {names}; say which: device.phone.serial={found[0].serial}"
        )
    meant = [one for one in found if serial in (None, one.serial)]
    if not meant:
        names = ", ".join(one.serial for one in found) or "none"
        raise PhoneError(f"device.phone.serial={serial} is not connected; connected: {names}")
    state = meant[0].state
    if state != "device":
        why = next((help for name, help in _HELP.items() if state.startswith(name)), "see adb devices -l")
        raise PhoneError(f"phone {meant[0].serial} is {state}: {why}")
    return meant[0].serial


def call(
    command: Sequence[str], environment: Mapping[str, str], timeout_s: float
) -> "subprocess.CompletedProcess[str]":
    """One run of adb without standard input.

    Raises:
        PhoneError: too long, or no such program.
    """
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            env={**os.environ, **environment},
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        words = " ".join(command[1:])[:80]
        raise PhoneError(f"adb gave no answer within {timeout_s:g} s: {words}") from error
    except OSError as error:
        raise PhoneError(f"adb can't be run: {error}") from error
