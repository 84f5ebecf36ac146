"""Which unix sockets listen, and on which file system each was bound, by netlink (``sock_diag``).

The answer is of the whole network namespace, whose processes may see different files at one path:
the file system tells them apart. Nobody needs a privilege to ask. Decides nothing.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
NLM_F_REQUEST = 0x1
NLM_F_DUMP = 0x300
NLMSG_ERROR = 2
NLMSG_DONE = 3
TCP_LISTEN = 10
UDIAG_SHOW_NAME = 0x1
UDIAG_SHOW_VFS = 0x2
UNIX_DIAG_NAME = 0
UNIX_DIAG_VFS = 1

HEADER = struct.Struct("=IHHII")
REQUEST = struct.Struct("=BBHIII2I")
ANSWER = struct.Struct("=BBBBIII")
ATTRIBUTE = struct.Struct("=HH")
FILE = struct.Struct("=II")
CODE = struct.Struct("=i")

READ_SIZE = 128 * 1024
TIMEOUT = 1.0
"""Seconds; the kernel has its answer ready when it is asked."""

MINOR_BITS = 20
"""Of a device's number as the kernel itself has it, which no call of ours gives."""

PROC = Path("/proc/self")


@dataclass(frozen=True, slots=True)
class SocketAddress:
    """What a socket that listens was bound to.

    path: As whoever bound it gave it.
    device: The file system with that, though the path may be gone; None where that is not told.
    inode: The file's number there, as far as the kernel tells it: the lower 32 bits.
    """

    path: str
    device: int | None = None
    inode: int | None = None


def dump_listeners() -> list[SocketAddress]:
    """All of this network namespace that were bound to a path.

    Raises:
        OSError: This kernel, or what this process is confined by, does not let it ask.
    """
    states, show = 1 << TCP_LISTEN, UDIAG_SHOW_NAME | UDIAG_SHOW_VFS
    request = REQUEST.pack(socket.AF_UNIX, 0, 0, states, 0, show, 0, 0)
    size, flags = HEADER.size + len(request), NLM_F_REQUEST | NLM_F_DUMP
    found: list[SocketAddress] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(TIMEOUT)
        kernel.send(HEADER.pack(size, SOCK_DIAG_BY_FAMILY, flags, 1, 0) + request)
        while True:
            for kind, body in _split(kernel.recv(READ_SIZE)):
                if kind in {NLMSG_ERROR, NLMSG_DONE}:
                    _check(body)
                    return found
                if (address := _read_address(body)) is not None:
                    found.append(address)


def find_device(directory: Path) -> int | None:
    """The file system with that, or of what it would be made in; None where that is not seen.

    Not what ``stat`` gives, which for some file systems (btrfs) is a part of one.
    """
    try:
        opened = os.open(directory, os.O_PATH)
    except FileNotFoundError:
        return find_device(directory.parent) if directory != directory.parent else None
    except OSError:
        return None
    try:
        return _find_mount(opened)
    except OSError:
        return None
    finally:
        os.close(opened)


def _find_mount(opened: int) -> int | None:
    (mount,) = (
        words[1]
        for words in map(str.split, (PROC / f"fdinfo/{opened}").read_text().splitlines())
        if words[0] == "mnt_id:"
    )
    for line in (PROC / "mountinfo").read_text(errors="replace").splitlines():
        words = line.split(maxsplit=3)
        if words[0] == mount:
            major, minor = words[2].split(":")
            return os.makedev(int(major), int(minor))
    return None


def _split(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The kind and the body of each message."""
    while len(data) >= HEADER.size:
        size, kind, *_ = HEADER.unpack_from(data)
        yield kind, data[HEADER.size : size]
        data = data[_align(size) :]


def _check(body: bytes) -> None:
    """Raise OSError if the answer ends with one."""
    code = -CODE.unpack_from(body)[0] if len(body) >= CODE.size else 0
    if code:
        raise OSError(code, os.strerror(code))


def _read_address(body: bytes) -> SocketAddress | None:
    """What one message tells; None: it was bound to no path."""
    parts = dict(_read_attributes(body[ANSWER.size :]))
    path = parts.get(UNIX_DIAG_NAME, b"").split(b"\0")[0]  # an abstract name begins with it
    if not path:
        return None
    file = parts.get(UNIX_DIAG_VFS)
    if file is None:
        return SocketAddress(os.fsdecode(path))
    inode, device = FILE.unpack(file)
    major, minor = device >> MINOR_BITS, device & ((1 << MINOR_BITS) - 1)
    return SocketAddress(os.fsdecode(path), os.makedev(major, minor), inode)


def _read_attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= ATTRIBUTE.size:
        size, kind = ATTRIBUTE.unpack_from(data)
        yield kind, data[ATTRIBUTE.size : size]
        data = data[_align(size) :]


def _align(size: int) -> int:
    return (size + 3) & ~3
