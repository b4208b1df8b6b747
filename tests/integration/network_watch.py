"""What processes ask the kernel for: each connection that leaves the machine (refused and noted), each program begun.

The kernel itself tells (seccomp's user notifications), so that libraries in C, Rust and Go are seen like Python, in
every descendant. Linux on x86-64 and arm64, no rights needed. ``python network_watch.py SOCKET COMMAND...`` is the
process that hands the kernel's listener over and becomes the command.
"""

import array
import ctypes
import errno
import fcntl
import ipaddress
import os
import platform
import select
import socket
import struct
import sys
import threading
from pathlib import Path
from types import TracebackType

# Numbers of the system calls, from the kernel's own headers.
_CALLS = {
    "x86_64": {"seccomp": 317, "connect": 42, "sendto": 44, "sendmsg": 46, "sendmmsg": 307, "execve": 59},
    "aarch64": {"seccomp": 277, "connect": 203, "sendto": 206, "sendmsg": 211, "sendmmsg": 269, "execve": 221},
}
_NO_NEW_PRIVILEGES, _FILTER, _NEW_LISTENER = 38, 1, 8
_ALLOW, _NOTIFY = 0x7FFF0000, 0x7FC00000
# id, pid, flags; then the call's number, architecture, instruction pointer and six arguments
_ASKED = struct.Struct("QIIiIQ6Q")
# id, value, error, flags
_ANSWER = struct.Struct("QqiI")
_RECEIVE = 0xC0002100 | _ASKED.size << 16
_SEND = 0xC0002101 | _ANSWER.size << 16
_CONTINUE = 1
_DOMAIN_NAMES = 53


def unavailable() -> str | None:
    """Why nothing can be watched here; None when it can."""
    if sys.platform != "linux" or platform.machine() not in _CALLS:
        return f"no seccomp on {sys.platform} {platform.machine()}"
    actions = Path("/proc/sys/kernel/seccomp/actions_avail")
    return None if actions.exists() and "user_notif" in actions.read_text() else "a kernel without seccomp's user_notif"


class Watch:
    """While it is open, what :meth:`command` wraps is watched: ``connections`` as (program, address), ``started`` as
    words of each program's command line.

    Connections within the machine are let through, all but those to a name server.
    """

    def __init__(self, folder: Path) -> None:
        self.connections: list[tuple[str, str]] = []
        self.started: list[list[str]] = []
        self._numbers = {number: name for name, number in _CALLS[platform.machine()].items()}
        self._path = folder / "watch.socket"
        self._server = socket.socket(socket.AF_UNIX)
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> "Watch":
        self._server.bind(str(self._path))
        self._server.listen()
        self._begin(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._server.close()
        self._path.unlink()

    def command(self, *words: str) -> list[str]:
        """The command line that runs ``words`` watched."""
        return [sys.executable, "-I", __file__, str(self._path), *words]

    def _begin(self, work, *arguments) -> None:  # type: ignore[no-untyped-def]
        self._threads.append(threading.Thread(target=work, args=arguments))
        self._threads[-1].start()

    def _accept(self) -> None:
        while not self._over.is_set():
            if select.select([self._server], [], [], 0.05)[0]:
                connection, _ = self._server.accept()
                with connection:
                    _, found, _, _ = socket.recv_fds(connection, 1, 1)
                self._begin(self._listen, found[0])

    def _listen(self, listener: int) -> None:
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        while not self._over.is_set():
            ready = poll.poll(50)
            if ready and ready[0][1] & select.POLLHUP:
                break
            if ready:
                self._answer(listener)
        os.close(listener)

    def _answer(self, listener: int) -> None:
        asked = array.array("B", bytes(_ASKED.size))
        try:
            fcntl.ioctl(listener, _RECEIVE, asked)
        except OSError:
            # It died meanwhile.
            return
        identity, pid, _, number, _, _, *arguments = _ASKED.unpack(asked.tobytes())
        refused = self._note(pid, self._numbers[number], arguments)
        answer = (identity, 0, -errno.ENETUNREACH, 0) if refused else (identity, 0, 0, _CONTINUE)
        try:
            fcntl.ioctl(listener, _SEND, array.array("B", _ANSWER.pack(*answer)))
        except FileNotFoundError:
            return

    def _note(self, pid: int, call: str, arguments: list[int]) -> bool:
        """Keep what a call is about; True when it is to be refused."""
        try:
            with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
                if call == "execve":
                    self.started.append(_words(memory, arguments[1]))
                    return False
                place = _address(memory, call, arguments)
        except (OSError, ValueError) as error:
            self.connections.append((f"process {pid}", f"{call} that could not be read ({error})"))
            return True
        if place is None:
            return False
        try:
            program = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            program = f"process {pid}"
        self.connections.append((program, place))
        return True


def _read(memory, place: int, size: int) -> bytes:  # type: ignore[no-untyped-def]
    memory.seek(place)
    return memory.read(size)  # type: ignore[no-any-return]


def _words(memory, place: int) -> list[str]:  # type: ignore[no-untyped-def]
    found: list[str] = []
    while pointer := struct.unpack("Q", _read(memory, place + 8 * len(found), 8))[0]:
        text = b""
        while b"\0" not in text:
            # Never over the end of a page: the next one may not be there.
            text += _read(memory, pointer + len(text), 4096 - (pointer + len(text)) % 4096)
        found.append(text.split(b"\0", 1)[0].decode(errors="replace"))
    return found


def _address(memory, call: str, arguments: list[int]) -> str | None:  # type: ignore[no-untyped-def]
    """Where a call would send to outside of this machine; None for what stays inside."""
    place, size = arguments[1], arguments[2]
    if call == "sendto":
        place, size = arguments[4], arguments[5]
    elif call != "connect":
        # struct msghdr begins with the address and its length; of several messages the first.
        place, size = struct.unpack("QI", _read(memory, arguments[1], 12))
    if not place or size < 2:
        return None
    raw = _read(memory, place, min(size, 28))
    family = struct.unpack("H", raw[:2])[0]
    if family not in (socket.AF_INET, socket.AF_INET6):
        return None
    port = struct.unpack(">H", raw[2:4])[0]
    address = ipaddress.ip_address(raw[4:8] if family == socket.AF_INET else raw[8:24])
    inner = getattr(address, "ipv4_mapped", None) or address
    return None if inner.is_loopback and port != _DOMAIN_NAMES else f"{address} port {port}"


def _become(path: str, words: list[str]) -> None:
    """Let the kernel ask whoever listens at ``path`` about this process and all that it starts; then be ``words``."""
    numbers = _CALLS[platform.machine()]
    watched = [number for name, number in numbers.items() if name != "seccomp"]
    # Load the call's number; one comparison each; allow; notify.
    code = [(0x20, 0, 0, 0)]
    code += [(0x15, len(watched) - n, 0, number) for n, number in enumerate(watched)]
    code += [(0x06, 0, 0, _ALLOW), (0x06, 0, 0, _NOTIFY)]
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
    described = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(code), ctypes.addressof(program)))
    libc = ctypes.CDLL(None, use_errno=True)
    made: list[int] = []
    ready = threading.Event()

    def hand_over() -> None:
        # A thread that was there before is not watched: its own call needs nobody's answer.
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(path)
            begun.set()
            ready.wait()
            socket.send_fds(connection, [b"x"], made)

    begun = threading.Event()
    thread = threading.Thread(target=hand_over)
    thread.start()
    begun.wait()
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    listener = libc.syscall(numbers["seccomp"], _FILTER, _NEW_LISTENER, described)
    if listener < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    made.append(listener)
    ready.set()
    thread.join()
    os.execvp(words[0], words)


if __name__ == "__main__":
    _become(sys.argv[1], sys.argv[2:])
