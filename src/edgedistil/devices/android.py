"""A phone for the time of one step: found, checked, given the runner, kept cool, left as it was."""

import secrets
import shlex
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import phone
from .adb import Adb, PhoneError, choose, listed
from .emulated import adb_of, emulated_phone, find_phone, identity, why_no_emulator
from .phone_files import ROOT, PhoneFiles
from .runner import Runner, find_runner

_LOOK_S = 5.0


def why_missing(options: dict[str, Any]) -> str | None:
    """Why there is no phone at all to measure on, or None. A phone that is there and can't be used is an error instead.

    Args:
        options: the group ``device.phone``.
    """
    if options["emulated_cpu"]:
        return why_no_emulator(find_phone(options["emulator"]))
    program = shutil.which(options["adb"])
    if program is None:
        return f"no Android device: there is no {options['adb']!r} (apt-get install adb, or device.phone.adb=FILE)"
    if options["serial"] is None and not listed(program):
        return "no Android device: adb devices lists none"
    return None


def identify(options: dict[str, Any], threads: int) -> dict[str, Any]:
    """What enters the fingerprint of everything that is measured on the phone; its cores are checked too.

    Raises:
        PhoneError: several phones, one that is locked or of another kind.
        UserError: no runner is built.
    """
    cpu = options["emulated_cpu"]
    if cpu:
        made_of = {"cpu": cpu, "emulated": True, **identity(find_phone(options["emulator"]))}
        if options["cores"] not in ("big", "all"):
            phone.listed_cores(options["cores"])
        return {"host": f"emulated {cpu}", "isa": [], **made_of, **_runner(options)}
    adb = _reached(options)
    # A governor changes with the battery; it is noted at each run.
    facts = {key: value for key, value in phone.facts(adb).items() if key != "governors"}
    phone.chosen_cores(options["cores"], facts["cores_max_khz"], threads)
    return {"host": facts["serial"], "cpu": facts["soc"] or facts["platform"], "isa": [], **facts, **_runner(options)}


def _runner(options: dict[str, Any]) -> dict[str, Any]:
    return {"runner": find_runner(options["runner"], bool(options["emulated_cpu"])).identity}


def _reached(options: dict[str, Any]) -> Adb:
    program = shutil.which(options["adb"])
    if program is None:
        raise PhoneError(f"there is no {options['adb']!r} any more")
    return Adb(program, choose(listed(program), options["serial"]))


class Phone:
    """One phone with the runner on it.

    Attributes:
        facts: :func:`edgedistil.devices.phone.facts`.
        cores: where workers run; None leaves it to the scheduler.
    """

    def __init__(self, adb: Adb, options: dict[str, Any], runner: Runner, threads: int) -> None:
        self.adb, self._options, self._runner = adb, options, runner
        self.facts = phone.facts(adb)
        self.cores = phone.chosen_cores(options["cores"], self.facts["cores_max_khz"], threads)
        self.files = PhoneFiles(adb, self.facts["emulated"], options["timeout_s"])
        self.files.sweep()
        self._program = self.files.put(runner.files, executable=True)

    @property
    def timeout_s(self) -> float:
        """How long an answer may take."""
        return float(self._options["timeout_s"])

    def command(self, cores: Sequence[int] | None) -> list[str]:
        """The words that start a runner on the phone; standard input and output are its own."""
        note = f"{ROOT}/{secrets.token_hex(8)}.pid"
        words = [*self._runner.manifest["start"], "--own-clock"]
        if cores is not None:
            words += ["--cores", ",".join(map(str, cores))]
        # The shell becomes the runner, so its number is the runner's.
        started = f"cd {shlex.quote(self._program)} && echo $$ > {note} && exec {shlex.join(words)}"
        return self.adb.command("shell", started)

    def state(self) -> dict[str, Any]:
        """:func:`edgedistil.devices.phone.state`."""
        return phone.state(self.adb)

    def cool_down(self) -> dict[str, Any]:
        """Wait until the phone is no hotter than allowed; ``waited_s`` and the state then."""
        began = time.monotonic()
        while True:
            now = self.state()
            status, waited = now["thermal_status"], time.monotonic() - began
            cool = status is None or status <= self._options["max_thermal_status"]
            if cool or waited > self._options["cool_down_s"]:
                return {"waited_s": round(waited, 1), **now}
            time.sleep(_LOOK_S)

    def end_runs(self) -> None:
        """End every runner that was started and has not ended (its adb may be gone while it computes on)."""
        self.files.sweep()


@contextmanager
def connected(options: dict[str, Any], threads: int) -> Iterator[Phone]:
    """The phone that ``device.phone`` names; an emulated one is started for it.

    Raises:
        PhoneError: it can't be reached or used; what failed inside the block while the phone was gone says so.
    """
    runner = find_runner(options["runner"], bool(options["emulated_cpu"]))
    if options["emulated_cpu"]:
        folder = find_phone(options["emulator"])
        program = adb_of(folder, options["adb"])
        with emulated_phone(folder, options["emulated_cpu"], options["storage_mb"], program) as adb:
            yield from _used(adb, options, runner, threads)
    else:
        yield from _used(_reached(options), options, runner, threads)


def _used(adb: Adb, options: dict[str, Any], runner: Runner, threads: int) -> Iterator[Phone]:
    found: Phone | None = None
    try:
        found = Phone(adb, options, runner, threads)
        yield found
    except Exception as error:
        gone = _gone(adb)
        if gone:
            found = None
            raise PhoneError(f"{gone}; meanwhile: {error}") from error
        raise
    finally:
        if found:
            found.end_runs()


def _gone(adb: Adb) -> str | None:
    """One line when the phone no longer answers."""
    try:
        adb.script("true")
    except PhoneError as error:
        return f"the phone {adb.serial} is gone ({error})"
    return None


def model_files(folder: Path) -> dict[str, Path]:
    """What of a model folder the runner opens."""
    return {path.name: path for path in sorted(folder.glob("model.onnx*"))}
