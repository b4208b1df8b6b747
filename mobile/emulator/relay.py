"""The phone's cable: joins connections to a socket out here with adbd's port in there."""

import contextlib
import socket
import struct
import threading

_CHUNK = 1 << 18
# A connection message of the adb protocol (docs/dev/protocol.md of adb): command, version, largest packet.
_CONNECT, _VERSION, _LARGEST = 0x4E584E43, 0x01000000, 4096


class Cable:
    """Serves a listening socket until it is pulled; each connection goes on to ``port`` of this network's loopback.

    Args:
        listener: bound to a port of its own (asked for by number, or pulling the cable would give the port away).
    """

    def __init__(self, listener: socket.socket, port: int) -> None:
        self._listener, self._port, self._lock = listener, port, threading.Lock()
        self._plugged, self._open = threading.Event(), set[socket.socket]()

    def plug(self) -> None:
        """Connections are taken from now on."""
        self._listener.listen()
        self._plugged.set()

    def pull(self) -> None:
        """Cuts every connection; new ones are refused."""
        self._plugged.clear()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        with self._lock:
            for end in self._open:
                _shut(end)

    def serve(self) -> None:
        """Takes connections for ever."""
        while True:
            self._plugged.wait()
            try:
                outer, _ = self._listener.accept()
            except OSError:  # pulled
                continue
            inner = socket.socket()
            try:
                # Not create_connection: it would load Python's codec of names, which the phone's root has not.
                inner.connect(("127.0.0.1", self._port))
            except OSError:
                outer.close()
                inner.close()
                continue
            with self._lock:
                self._open |= {outer, inner}
            threading.Thread(target=self._join, args=(outer, inner), daemon=True).start()

    def _join(self, outer: socket.socket, inner: socket.socket) -> None:
        back = threading.Thread(target=_pump, args=(inner, outer), daemon=True)
        back.start()
        _pump(outer, inner)
        back.join()
        with self._lock:
            self._open -= {outer, inner}
        outer.close()
        inner.close()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK):
            target.sendall(data)
    _shut(source)
    _shut(target)


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


def greeting() -> bytes:
    """What an adb client says first."""
    body = b"host::\0"
    header = struct.pack("<6I", _CONNECT, _VERSION, _LARGEST, len(body), sum(body), _CONNECT ^ 0xFFFFFFFF)
    return header + body


def adbd_answers(port: int, seconds: float = 2) -> bool:
    """Whether what listens on a port of the loopback greets as adbd does."""
    try:
        with socket.create_connection(("127.0.0.1", port), seconds) as connection:
            connection.sendall(greeting())
            return connection.recv(4) == struct.pack("<I", _CONNECT)
    except OSError:
        return False
