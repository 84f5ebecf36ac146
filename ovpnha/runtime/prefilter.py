"""Lets the kernel throw away datagrams that do not begin as ours do, before they wake the sidecar.

Decides nothing that the protocol would decide otherwise: magic and cluster tag are its first
checks (docs/wire.md, "Datagrams"). A flood of junk then costs no time of ours, and does not push
real datagrams out of the socket's buffer. What is thrown away, the kernel counts.
"""

from __future__ import annotations

import ctypes
import socket
import struct

SO_ATTACH_FILTER = 26
SO_MEMINFO = 55
MEMINFO_DROPS = 8
UDP_HEADER = 8  # a filter of a UDP socket sees the header first
PREFIX_SIZE = 12

_INSTRUCTION = struct.Struct("=HBBI")
_PROGRAM = struct.Struct("@HP")
_LOAD_WORD = 0x20
_JUMP_EQUAL = 0x15
_RETURN = 0x06
_WHOLE = 0xFFFFFFFF


def attach_prefix(one: socket.socket, prefix: bytes) -> None:
    """Take only datagrams that begin with these twelve bytes.

    Raises:
        OSError: The kernel has refused the filter.
    """
    code = ctypes.create_string_buffer(b"".join(_assemble(prefix)))
    count = (len(code) - 1) // _INSTRUCTION.size
    program = _PROGRAM.pack(count, ctypes.addressof(code))
    one.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


def _assemble(prefix: bytes) -> list[bytes]:
    words = struct.unpack("!3I", prefix)
    code: list[bytes] = []
    for at, word in enumerate(words):
        to_the_end = 2 * (len(words) - at) - 1
        code.append(_INSTRUCTION.pack(_LOAD_WORD, 0, 0, UDP_HEADER + 4 * at))
        code.append(_INSTRUCTION.pack(_JUMP_EQUAL, 0, to_the_end, word))
    return [*code, _INSTRUCTION.pack(_RETURN, 0, 0, _WHOLE), _INSTRUCTION.pack(_RETURN, 0, 0, 0)]


def count_dropped(one: socket.socket) -> int:
    """Datagrams that the kernel threw away: not ours, or more than the buffer holds."""
    info = one.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 4 * (MEMINFO_DROPS + 1))
    return int(struct.unpack_from("=I", info, 4 * MEMINFO_DROPS)[0])
