"""Lets the kernel throw away what cannot be opened here, before it wakes the sidecar.

    magic, cluster tag ours? -- no --> thrown away, and counted
     | yes
    key one of ours? -- yes --> read
     | no, or a version whose key stands elsewhere
    one in four, drawn at random --> read, and refused with its reason

Decides nothing that the protocol would decide otherwise: these are its first checks (docs/wire.md,
"Datagrams"). A flood of junk then costs little time of ours, and does not push real datagrams out
of the socket's buffer. Why some under another key are read all the same: the protocol tells the
administrator of a node with another key or version, and nobody else would. A node's own broadcasts
are read, too: thrown away here they would be counted with what was lost (docs/adr/0064). Must never
hold back a key that opens: who reads keys again says so here first.
"""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
from collections.abc import Collection

SO_ATTACH_FILTER = 26
SO_DETACH_FILTER = 27
SO_MEMINFO = 55
MEMINFO_DROPS = 8
UDP_HEADER = 8  # a filter of a UDP socket sees the header first
KEY_AT = 16  # the number of the key, in every datagram (docs/wire.md)
READ_ONE_IN = 4  # of those under another key; a power of two

_INSTRUCTION = struct.Struct("=HBBI")
_PROGRAM = struct.Struct("@HP")
_LOAD_WORD = 0x20
_AND = 0x54
_JUMP_EQUAL = 0x15
_RETURN = 0x06
_WHOLE = 0xFFFFFFFF
_RANDOM = 0xFFFFF038  # where a filter reads a random word (SKF_AD_RANDOM)


def attach_filter(one: socket.socket, prefix: bytes, keys: Collection[bytes]) -> None:
    """Take only datagrams with these first twelve bytes, and few under other keys than these.

    Raises:
        OSError: The kernel has refused the filter; there is none then.
    """
    code = ctypes.create_string_buffer(b"".join(_assemble(prefix, keys)))
    count = (len(code) - 1) // _INSTRUCTION.size
    program = _PROGRAM.pack(count, ctypes.addressof(code))
    try:
        one.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
    except OSError:
        detach_filter(one)
        raise


def detach_filter(one: socket.socket) -> None:
    """Take whatever comes: an older filter would hold back what is sealed by a newer key."""
    with contextlib.suppress(FileNotFoundError):
        one.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)


def _assemble(prefix: bytes, keys: Collection[bytes]) -> list[bytes]:
    code: list[bytes] = []
    for at, word in enumerate(struct.unpack("!3I", prefix)):
        code += [_load(UDP_HEADER + 4 * at), _skip_if(word), _give(0)]
    if keys:
        code.append(_load(UDP_HEADER + KEY_AT))
        for key in keys:
            code += [_skip_unless(int.from_bytes(key, "big")), _give(_WHOLE)]
        code += [_load(_RANDOM), _INSTRUCTION.pack(_AND, 0, 0, READ_ONE_IN - 1)]
        code += [_skip_if(0), _give(0)]
    return [*code, _give(_WHOLE)]


def _load(at: int) -> bytes:
    """A word of the datagram; one that ends before is thrown away."""
    return _INSTRUCTION.pack(_LOAD_WORD, 0, 0, at)


def _skip_if(word: int) -> bytes:
    return _INSTRUCTION.pack(_JUMP_EQUAL, 1, 0, word)


def _skip_unless(word: int) -> bytes:
    return _INSTRUCTION.pack(_JUMP_EQUAL, 0, 1, word)


def _give(size: int) -> bytes:
    """The end: so much of the datagram is for us."""
    return _INSTRUCTION.pack(_RETURN, 0, 0, size)


def count_dropped(one: socket.socket) -> int:
    """Datagrams that the kernel threw away: not ours, or more than the buffer holds."""
    info = one.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 4 * (MEMINFO_DROPS + 1))
    return int(struct.unpack_from("=I", info, 4 * MEMINFO_DROPS)[0])
