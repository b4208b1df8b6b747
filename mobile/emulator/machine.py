"""Whether this machine can carry the phone, and what to do when not."""

import errno
import os
import platform
import re
import shutil
from pathlib import Path

import namespaces
from faults import PhoneError

# Since this release programs of another processor can be registered inside a namespace of users.
_LINUX = (6, 7)
# Releases of Debian that have adbd 34 and QEMU 10, and the suite that brings them.
_RELEASES = {"bookworm": "bookworm-backports", "trixie": ""}


def check_kernel(release: str, machine: str) -> None:
    """Raises PhoneError when the kernel can't register another processor's programs in a namespace, or isn't x86-64."""
    if machine != "x86_64":
        raise PhoneError(f"the emulated phone needs an x86-64 machine, this one is {machine}")
    match = re.match(r"(\d+)\.(\d+)", release)
    if match and (int(match[1]), int(match[2])) < _LINUX:
        raise PhoneError(
            f"Linux {release} can't register arm64 programs in a user namespace: 6.7 or later is needed "
            "(Debian 12: apt-get install -t bookworm-backports linux-image-amd64, then restart)"
        )


def debian_release(text: str) -> tuple[str, str]:
    """(release, suite that brings what the release lacks or '') from the text of ``/etc/os-release``.

    Raises:
        PhoneError: it is no Debian, or one without a real adbd.
    """
    fields = {key: value.strip('"') for key, value in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE)}
    name, release = fields.get("PRETTY_NAME", "this system"), fields.get("VERSION_CODENAME", "")
    if fields.get("ID") != "debian" or release not in _RELEASES:
        raise PhoneError(
            f"{name} is not among the systems whose packages make the phone (Debian {', '.join(_RELEASES)}): "
            "set it up in a container of debian:trixie"
        )
    return release, _RELEASES[release]


def check_tools() -> None:
    """Raises PhoneError when apt-get or dpkg-deb is missing."""
    for tool in ("apt-get", "dpkg-deb"):
        if not shutil.which(tool):
            raise PhoneError(f"no {tool} on the path: Debian's packages apt and dpkg have what the set-up needs")


def check_namespaces() -> None:
    """Tries what the phone does first, in a process of its own. Raises PhoneError with the reason."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            enter()
            _as_first_process(writer)
        except PhoneError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        fault = stream.read()
    os.waitpid(child, 0)
    if fault:
        raise PhoneError(fault)


def _as_first_process(writer: int) -> None:
    """The mounts that the new namespaces have to allow; what is wrong with them goes to ``writer``."""
    first = os.fork()
    if first:
        os.waitpid(first, 0)
        return
    try:
        namespaces.mount("none", "/", flags=namespaces.RECURSIVE | namespaces.PRIVATE)
        mount_proc(Path("/proc"))
        mount_binfmt(Path("/sys"))
    except PhoneError as error:
        os.write(writer, str(error).encode())
    finally:
        os._exit(0)


def enter() -> None:
    """Moves this process into namespaces of its own: users, mounts, network, processes (its children), names, IPC.

    Raises:
        PhoneError: the system forbids it.
    """
    kinds = namespaces.NEW_MOUNTS | namespaces.NEW_NETWORK | namespaces.NEW_PROCESSES
    try:
        namespaces.unshare(kinds | namespaces.NEW_HOST_NAME | namespaces.NEW_IPC, 0)
    except OSError as error:
        raise PhoneError(
            f"user namespaces are forbidden here ({error.strerror}): allow them with sysctl "
            "kernel.unprivileged_userns_clone=1 or user.max_user_namespaces=10000, on Ubuntu "
            "kernel.apparmor_restrict_unprivileged_userns=0, in Docker --security-opt seccomp=unconfined"
        ) from error


def mount_proc(target: Path) -> None:
    """The processes of this namespace. Raises PhoneError."""
    try:
        namespaces.mount("proc", target, "proc", namespaces.NO_SUID | namespaces.NO_DEVICES | namespaces.NO_EXEC)
    except OSError as error:
        raise PhoneError(
            f"no /proc of its own for the phone ({error.strerror}): a container hides parts of the machine's; "
            "start it with --security-opt systempaths=unconfined"
        ) from error


def mount_binfmt(target: Path) -> None:
    """Where programs of other processors are registered for these namespaces. Raises PhoneError."""
    try:
        namespaces.mount("binfmt_misc", target, "binfmt_misc")
    except OSError as error:
        absent = error.errno == errno.ENODEV
        how = "load it: modprobe binfmt_misc, as root" if absent else "Linux 6.7 or later is needed"
        raise PhoneError(f"the kernel gives no binfmt_misc to a user namespace ({error.strerror}): {how}") from error


def check() -> None:
    """Everything that the phone needs of the kernel. Raises PhoneError."""
    check_kernel(platform.release(), platform.machine())
    check_namespaces()
