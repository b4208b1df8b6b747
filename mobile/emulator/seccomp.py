"""A filter of system calls that leaves no vsock socket to the phone.

adbd listens on vsock port 5555 beside TCP. Vsock knows no network namespaces: on a virtual machine, whoever runs it
could connect to the phone. So ``socket(AF_VSOCK, ...)`` fails in the phone as on a kernel without vsock, which adbd
takes.
"""

import ctypes
import errno
import socket
import struct

from namespaces import prctl

# linux/filter.h, linux/seccomp.h, linux/audit.h, and x86-64's number of socket(2).
_LOAD_WORD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_X86_64, _SOCKET = 0xC000003E, 41
_NO_NEW_PRIVILEGES, _SET_SECCOMP, _MODE_FILTER = 38, 22, 2


def program() -> list[tuple[int, int, int, int]]:
    """The filter: (operation, instructions to skip if true, if false, operand) each."""
    return [
        (_LOAD_WORD, 0, 0, _ARCHITECTURE),
        (_JUMP_IF_EQUAL, 1, 0, _X86_64),
        (_RETURN, 0, 0, _KILL),
        (_LOAD_WORD, 0, 0, _NUMBER),
        (_JUMP_IF_EQUAL, 0, 3, _SOCKET),
        (_LOAD_WORD, 0, 0, _FIRST_ARGUMENT),
        (_JUMP_IF_EQUAL, 0, 1, socket.AF_VSOCK),
        (_RETURN, 0, 0, _ERRNO | errno.EAFNOSUPPORT),
        (_RETURN, 0, 0, _ALLOW),
    ]


def packed(instructions: list[tuple[int, int, int, int]]) -> bytes:
    """The instructions as the kernel reads them, 8 bytes each."""
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)


def forbid_vsock() -> None:
    """For this process and all that it starts, for good; no program gains privileges any more.

    Raises:
        OSError: the kernel refuses.
    """
    code = packed(program())
    kept = ctypes.create_string_buffer(code, len(code))
    header = ctypes.create_string_buffer(struct.pack("=H6xQ", len(code) // 8, ctypes.addressof(kept)))
    prctl(_NO_NEW_PRIVILEGES, 1)
    prctl(_SET_SECCOMP, _MODE_FILTER, ctypes.addressof(header))
