"""The phone itself, started by ``phone.py`` and of no use alone: namespaces, mounts, adbd, the cable.

``python inside.py SETTINGS`` with JSON: ``root``, ``qemu``, ``cpu``, ``storage_mb``, and the numbers of open files
``listener`` (a socket bound out there), ``lifeline`` (ends when whoever started this ends) and ``report`` (gets the
number of the phone's first process). What goes wrong is a line ``error: ...`` on standard error.
"""

import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import sys
import threading
from pathlib import Path
from typing import Any, NoReturn

import machine
import namespaces
import seccomp
from faults import PhoneError
from relay import Cable
from root import ADBD, write_cores

ADBD_PORT = 5555
# Android's user of adb shell.
_SHELL_USER = 2000
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
# Where the phone's user would be the machine's root if root started it, and could change the machine by writing.
_KERNEL_FILES = ("acpi", "bus", "fs", "irq", "scsi", "sys", "sysrq-trigger")
_SET_FLAGS, _UP = 0x8914, 0x1


def main() -> int:
    """Leaves the machine's namespaces and waits for the phone's first process, which every other one dies with."""
    settings = json.loads(sys.argv[1])
    for name in ("listener", "lifeline", "report"):
        # adbd is to have none of them: the listener belongs to the machine's network.
        os.set_inheritable(settings[name], False)
    try:
        machine.enter()
        namespaces.die_with_parent()
        first = os.fork()
        if not first:
            _run_phone(settings)
        os.write(settings["report"], f"{first}\n".encode())
        # The phone's alone from here on.
        for name in ("listener", "report"):
            os.close(settings[name])
        _, status = os.waitpid(first, 0)
        return os.waitstatus_to_exitcode(status) and 1
    except PhoneError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _run_phone(settings: dict[str, Any]) -> NoReturn:
    """As process 1 of the namespaces. Whatever happens, it ends, and with it everything in them."""
    try:
        namespaces.die_with_parent()
        root = Path(settings["root"])
        _mount_root(root, Path(settings["qemu"]), settings["storage_mb"])
        socket.sethostname("phone")
        _raise_loopback()
        namespaces.make_root(root)
        adbd = _start_adbd(settings["cpu"])
        _serve(adbd, settings)
    except PhoneError as error:
        print(f"error: {error}", file=sys.stderr)
    except OSError as error:
        print(f"error: the phone can't start: {error}", file=sys.stderr)
    finally:
        sys.stderr.flush()
        os._exit(1)


def _mount_root(root: Path, qemu: Path, storage_mb: int) -> None:
    namespaces.mount("none", "/", flags=namespaces.RECURSIVE | namespaces.PRIVATE)
    if os.statvfs(root).f_flag & namespaces.NO_EXEC:
        raise PhoneError(f"{root} lies on a file system that is mounted noexec: set the phone up elsewhere")
    _make_read_only(root)
    # What is registered is forgotten with its last mount, which so stays, out of sight below the phone's own /proc.
    machine.mount_binfmt(root / "proc")
    (root / "proc" / "register").write_bytes(binfmt_line(str(qemu)))
    machine.mount_proc(root / "proc")
    for name in _KERNEL_FILES:
        if (root / "proc" / name).exists():
            _make_read_only(root / "proc" / name)
    plain = namespaces.NO_SUID | namespaces.NO_DEVICES
    namespaces.mount("phone", root / "sys", "tmpfs", plain, "size=1m,mode=755")
    write_cores(root / "sys", os.cpu_count() or 1)
    namespaces.mount("phone", root / "data", "tmpfs", plain, "size=4m,mode=771")
    (root / "data" / "phone").mkdir()
    shutil.copyfile(root / "system" / "etc" / "figures", root / "data" / "phone" / "figures")
    (root / "data" / "local" / "tmp").mkdir(parents=True)
    namespaces.mount("phone", root / "data" / "local" / "tmp", "tmpfs", plain, f"size={storage_mb}m,mode=771")
    _mount_devices(root / "dev")


def _make_read_only(place: Path) -> None:
    """Mounts a file or folder over itself. What the mount below forbids must stay forbidden, or the system refuses."""
    namespaces.mount(str(place), place, flags=namespaces.BIND)
    kept = os.statvfs(place).f_flag & (namespaces.NO_SUID | namespaces.NO_DEVICES | namespaces.NO_EXEC)
    flags = namespaces.REMOUNT | namespaces.BIND | namespaces.READ_ONLY | namespaces.NO_SUID
    namespaces.mount("none", place, flags=flags | kept)


def _mount_devices(folder: Path) -> None:
    """Those that give nothing of the machine away."""
    namespaces.mount("phone", folder, "tmpfs", namespaces.NO_SUID, "size=64k,mode=755")
    for name in _DEVICES:
        (folder / name).touch()
        namespaces.mount(f"/dev/{name}", folder / name, flags=namespaces.BIND)
    (folder / "pts").mkdir()
    plain = namespaces.NO_SUID | namespaces.NO_EXEC
    namespaces.mount("devpts", folder / "pts", "devpts", plain, "newinstance,ptmxmode=0666")
    links = {"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
    for name, target in links.items():
        (folder / name).symlink_to(target)


def binfmt_line(qemu: str) -> bytes:
    """Tells the kernel to start 64-bit little-endian ARM programs and libraries (ELF types 2 and 3) with QEMU.

    "F" has it open QEMU now, out here. The separator is a byte that no path has in practice.
    """
    magic = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xb7\x00"
    # Byte 7 is the system's interface, which some compilers set; the last bit of byte 16 tells types 2 and 3 apart.
    mask = b"\xff" * 7 + b"\x00" + b"\xff" * 8 + b"\xfe\xff\xff\xff"
    written = ["".join(f"\\x{byte:02x}" for byte in part) for part in (magic, mask)]
    words = ["", "edgedistil-arm64", "M", "", *written, qemu, "F"]
    return "\x1f".join(words).encode()


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh14x", b"lo", _UP))


def _start_adbd(cpu: str) -> int:
    """adbd as Android's shell user, who may do nothing to these namespaces. Returns its number."""
    child = os.fork()
    if child:
        return child
    try:
        os.setsid()
        # Without the phone's standard input and output; its errors are kept for whoever started the phone.
        for stream in (0, 1):
            os.dup2(os.open("/dev/null", os.O_RDWR), stream)
        seccomp.forbid_vsock()
        namespaces.unshare(0, _SHELL_USER)
        environment = {
            "PATH": "/system/bin", "HOME": "/", "TMPDIR": "/data/local/tmp", "SHELL": "/system/bin/sh",
            "ANDROID_DATA": "/data", "ANDROID_ROOT": "/system", "QEMU_CPU": cpu,
        }  # fmt: skip
        # A program of the phone's own image, without a shell.
        os.execve(f"/{ADBD}", ["adbd"], environment)  # noqa: S606  # nosec B606
    except OSError as error:
        print(f"error: adbd can't start: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(1)


def _serve(adbd: int, settings: dict[str, Any]) -> NoReturn:
    """Until adbd ends: SIGUSR1 pulls the cable, SIGUSR2 plugs it in again."""
    signals = {signal.SIGCHLD, signal.SIGUSR1, signal.SIGUSR2}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    listener = socket.socket(fileno=settings["listener"])
    cable = Cable(listener, ADBD_PORT)
    cable.plug()
    threading.Thread(target=cable.serve, daemon=True).start()
    threading.Thread(target=_end_with, args=(settings["lifeline"],), daemon=True).start()
    while True:
        while True:
            try:
                ended, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if ended == adbd:
                raise PhoneError(f"adbd ended with {os.waitstatus_to_exitcode(status)}")
            if not ended:
                break
        received = signal.sigwait(signals)
        if received == signal.SIGUSR1:
            cable.pull()
        elif received == signal.SIGUSR2:
            cable.plug()


def _end_with(lifeline: int) -> None:
    """Ends the phone when the other end of a pipe is closed."""
    os.read(lifeline, 1)
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
