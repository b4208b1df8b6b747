"""The host's side of the set-up: QEMU, and adb where the machine has none."""

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

from faults import PhoneError
from packages import unpack

_QEMU = "./usr/bin/qemu-aarch64"
_ADB = "usr/lib/android-sdk/platform-tools/adb"
_WRAPPER = """#!/bin/sh
# Debian's adb with the libraries that lie beside it.
here=$(dirname "$(readlink -f "$0")")
LD_LIBRARY_PATH="$here/usr/lib/x86_64-linux-gnu/android:$here/usr/lib/x86_64-linux-gnu${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export LD_LIBRARY_PATH
exec "$here/PROGRAM" "$@"
"""


def take_qemu(package: Path, target: Path) -> None:
    """The one program that is needed of Debian's qemu-user, which has 370 MB of others.

    Raises:
        PhoneError: the package lacks it.
    """
    command = ["dpkg-deb", "--fsys-tarfile", str(package)]
    reading = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert reading.stdout is not None
    try:
        with tarfile.open(fileobj=reading.stdout, mode="r|") as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.name == _QEMU and member.isfile() else None
                if stream:
                    with target.open("wb") as file:
                        shutil.copyfileobj(stream, file)
                    target.chmod(0o755)
                    return
    except tarfile.TarError as error:
        raise PhoneError(f"{package.name} can't be read: {error}") from error
    finally:
        reading.stdout.close()
        reading.wait()
    raise PhoneError(f"{package.name} has no {_QEMU}: its layout is unknown here")


def installed_adb() -> str | None:
    """The adb on the path, if any."""
    found = shutil.which("adb")
    return os.path.realpath(found) if found else None


def take_adb(packages: list[Path], folder: Path) -> dict[str, dict[str, str]]:
    """Unpacks adb and its libraries, and puts the script ``adb`` beside them. Returns the packages' facts."""
    facts = unpack(packages, folder)
    if not (folder / _ADB).is_file():
        raise PhoneError(f"Debian's package adb has no /{_ADB}: its layout is unknown here")
    for name in ("usr/share", "lib"):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / "adb").write_text(_WRAPPER.replace("PROGRAM", _ADB))
    (folder / "adb").chmod(0o755)
    return facts
