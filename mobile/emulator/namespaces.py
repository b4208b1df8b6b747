"""The system calls that Python 3.11 lacks: namespaces, mounts, and dying with one's parent."""

import ctypes
import os
import signal
from pathlib import Path

# linux/sched.h
NEW_MOUNTS, NEW_HOST_NAME, NEW_IPC = 0x00020000, 0x04000000, 0x08000000
NEW_USERS, NEW_PROCESSES, NEW_NETWORK = 0x10000000, 0x20000000, 0x40000000
# linux/mount.h
READ_ONLY, NO_SUID, NO_DEVICES, NO_EXEC = 1, 2, 4, 8
REMOUNT, BIND, RECURSIVE, PRIVATE = 1 << 5, 1 << 12, 1 << 14, 1 << 18
_DETACH = 2
_PIVOT_ROOT = 155  # x86-64; the C library has no function for it
_SET_DEATH_SIGNAL = 1

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def prctl(option: int, *values: int) -> None:
    """prctl(2). Raises OSError."""
    padded = [ctypes.c_ulong(value) for value in (*values, 0, 0, 0, 0)[:4]]
    _checked(_libc.prctl(option, *padded), "prctl")


def die_with_parent() -> None:
    """SIGKILL for this process when the thread that started it ends. Forgotten on a change of credentials."""
    prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)


def unshare(kinds: int, user: int) -> None:
    """Moves this process into new namespaces, among them one of users, where it is user and group ``user``.

    New processes of :data:`NEW_PROCESSES` begin with its next child.

    Raises:
        OSError: the system forbids it.
    """
    uid, gid = os.getuid(), os.getgid()
    _checked(_libc.unshare(kinds | NEW_USERS), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{user} {gid} 1")


def mount(source: str, target: str | Path, kind: str = "", flags: int = 0, options: str = "") -> None:
    """mount(2). Raises OSError that names the target."""
    words = (os.fsencode(source), os.fsencode(target), kind.encode() or None)
    _checked(_libc.mount(*words, ctypes.c_ulong(flags), options.encode() or None), str(target))


def make_root(folder: Path) -> None:
    """Makes a mount point the root of this mount namespace, and lets go of the old one. Raises OSError."""
    os.chdir(folder)
    _checked(_libc.syscall(ctypes.c_long(_PIVOT_ROOT), b".", b"."), str(folder))
    _checked(_libc.umount2(b".", _DETACH), "the old root")
    os.chdir("/")
