"""What the phone needs on this machine's side: QEMU and adb, installed ones or out of Debian's packages."""

import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

from faults import PhoneError
from packages import unpack

# Older ones show programs the host's /proc/cpuinfo, on which ONNX Runtime dies, and don't know cortex-a710.
_OLDEST_QEMU = 10
_QEMU = "./usr/bin/qemu-aarch64"
_ADB = "usr/lib/android-sdk/platform-tools/adb"
_WRAPPER = """#!/bin/sh
# Debian's adb with the libraries that lie beside it.
here=$(dirname "$(readlink -f "$0")")
LD_LIBRARY_PATH="$here/usr/lib/x86_64-linux-gnu/android:$here/usr/lib/x86_64-linux-gnu${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export LD_LIBRARY_PATH
exec "$here/PROGRAM" "$@"
"""


def installed_qemu() -> Path | None:
    """The installed QEMU, when it is new enough and needs no library (the phone's root has none of this machine's)."""
    for name in ("qemu-aarch64", "qemu-aarch64-static"):
        found = shutil.which(name)
        if found and qemu_fits(Path(found)):
            return Path(found).resolve()
    return None


def qemu_fits(program: Path) -> bool:
    """Whether a program is QEMU 10 or later, linked statically."""
    shown = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    version = re.search(r"version (\d+)", shown)
    return bool(version) and int(version[1]) >= _OLDEST_QEMU and is_static(program)


def is_static(program: Path) -> bool:
    """Whether a 64-bit ELF file names no interpreter (a loader of shared libraries)."""
    with program.open("rb") as stream:
        header = stream.read(64)
        if header[:5] != b"\x7fELF\x02":
            return False
        stream.seek(int.from_bytes(header[32:40], "little"))
        size, count = (int.from_bytes(header[at : at + 2], "little") for at in (54, 56))
        kinds = [stream.read(size)[:4] for _ in range(count)]
    return (3).to_bytes(4, "little") not in kinds  # PT_INTERP


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
