"""Files on a phone: sets of files under the digest of their contents, pushed once, verified, whole or not there."""

import contextlib
import hashlib
import json
import secrets
import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path

from .adb import Adb, PhoneError

# The one place where a shell may run programs; /sdcard is not.
ROOT = "/data/local/tmp/edgedistil"
_PUSH_S = 600.0
# Moving a file over adb is quicker than adding it up on an emulated processor.
_ADD_UP_BYTES_EMULATED = 1 << 20


class PhoneFiles:
    """The sets of files on one phone.

    Args:
        emulated: an emulated processor adds up slowly, so larger files are pulled back and compared here.
        timeout_s: for pushing or checking one set.
    """

    def __init__(self, adb: Adb, emulated: bool, timeout_s: float = _PUSH_S) -> None:
        self._adb, self._emulated, self._timeout_s = adb, emulated, timeout_s
        self._known: dict[str, str] = {}

    def put(self, files: Mapping[str, Path], executable: bool = False) -> str:
        """The folder on the phone that holds these files under these names; pushed if it is not there.

        Raises:
            PhoneError: no space, a file that arrived otherwise than it left, a phone that went away. What was pushed
                so far is removed, if the phone still answers.
        """
        digests = {name: _sha256(path) for name, path in sorted(files.items())}
        key = hashlib.sha256(json.dumps(digests).encode()).hexdigest()[:32]
        folder = f"{ROOT}/{key}"
        if key in self._known:
            return folder
        there = self._adb.script("if [ -d {} ]; then echo yes; fi", folder)
        if there.strip() != "yes":
            self._push(files, digests, folder, executable)
        self._known[key] = folder
        return folder

    def sweep(self) -> None:
        """Remove what a torn push left behind, and end runners that are still there (their adb may be gone)."""
        # A number may be another program's by now.
        kill = (
            "cd {0} 2>/dev/null || exit 0; rm -rf *.part; "
            "for n in *.pid; do [ -f $n ] || continue; p=$(cat $n); "
            "case $(cat /proc/$p/cmdline 2>/dev/null) in *edgedistil_runner*) kill -9 $p;; esac; rm -f $n; done; true"
        )
        self._adb.script(kill, ROOT)

    def _push(self, files: Mapping[str, Path], digests: Mapping[str, str], folder: str, executable: bool) -> None:
        part = f"{folder}.{secrets.token_hex(4)}.part"
        try:
            self._adb.script("rm -rf {0} && mkdir -p {0}", part)
            self._make_room(sum(path.stat().st_size for path in files.values()))
            for name, path in sorted(files.items()):
                self._adb.run("push", str(path), f"{part}/{name}", timeout_s=self._timeout_s)
                self._verify(path, f"{part}/{name}", digests[name])
            if executable:
                self._adb.script("chmod 755 {}/*", part)
            self._adb.script("mv {} {}", part, folder)
        except PhoneError as error:
            # Of a phone that is gone, the next run's sweep() removes it.
            with contextlib.suppress(PhoneError):
                self._adb.script("rm -rf {}", part)
            raise PhoneError(f"{error}; nothing of it is left on the phone, or will be at the next run") from error

    def _verify(self, path: Path, remote: str, digest: str) -> None:
        if self._emulated and path.stat().st_size > _ADD_UP_BYTES_EMULATED:
            with tempfile.TemporaryDirectory() as scratch:
                back = Path(scratch) / "back"
                self._adb.run("pull", remote, str(back), timeout_s=self._timeout_s)
                found = _sha256(back)
        else:
            words = self._adb.shell(["sha256sum", remote], timeout_s=self._timeout_s).split()
            found = words[0] if words else ""
        if found != digest:
            raise PhoneError(f"{path.name} arrived on {self._adb.serial} with another SHA-256 than it has here")

    def _make_room(self, needed: int) -> None:
        """Removes sets that this run has not used, oldest first, until ``needed`` bytes fit."""
        others = self._adb.script(f"ls -1tr {shlex.quote(ROOT)}").split()
        for name in others:
            if self._free() >= needed:
                return
            if name not in self._known and "." not in name:
                self._adb.shell(["rm", "-rf", f"{ROOT}/{name}"])
        free = self._free()
        if free < needed:
            raise PhoneError(
                f"no space left on {self._adb.serial}: {needed / 1e6:.1f} MB are needed and {free / 1e6:.1f} MB are "
                f"free in {ROOT}"
            )

    def _free(self) -> int:
        lines = self._adb.shell(["df", "-k", ROOT]).splitlines()
        try:
            return int(lines[-1].split()[3]) * 1024
        except (IndexError, ValueError) as error:
            raise PhoneError(f"df on {self._adb.serial} says nothing that can be read: {lines[-1:]}") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
