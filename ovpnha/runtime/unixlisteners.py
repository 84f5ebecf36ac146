"""Who listens at a unix socket, by what the kernel tells of all sockets.

Nobody is connected to for it: OpenVPN has one management client at a time. A path alone says less:
whoever binds it anew removes it before, and the process that was there goes on listening, where
nobody can connect any more. The kernel lists both by the path that they were bound to, and with
them those of all containers on this network, which have files of their own at the same path: only
who was bound on the file system of the path is at it. Decides nothing.
"""

from __future__ import annotations

import os.path
from pathlib import Path

from ovpnha.runtime.sockdiag import SocketAddress, dump_listeners, find_device

LISTENS = 0x10000
"""Among the flags of a socket (``__SO_ACCEPTCON``)."""

INODE_BITS = 0xFFFFFFFF
"""Of a file's number, what the kernel tells with a socket."""

TABLE = Path("/proc/self/net/unix")


def is_listened_at(path: Path) -> bool:
    """Whether a process of this network namespace does; not, where that cannot be seen."""
    return bool(count_listeners(path))


def is_surely_listened_at(path: Path) -> bool:
    """Whether one does; not, where it may be at another file of the same path.

    One that was bound by a relative path is, where the file of that path is its own.
    """
    told = [one for one in _find_listeners(path) or () if one.device is not None]
    sure = {one.device for one in told if os.path.isabs(one.path) or _is_file_of(path, one)}
    return bool(sure) and find_device(path.parent) in sure


def _is_file_of(path: Path, bound: SocketAddress) -> bool:
    try:
        return bound.inode == path.lstat().st_ino & INODE_BITS
    except OSError:
        return False


def count_listeners(path: Path) -> int | None:
    """How many sockets of this network namespace may do; None where that cannot be seen."""
    found = _find_listeners(path)
    return len(found) if found is not None else None


def _find_listeners(path: Path) -> list[SocketAddress] | None:
    try:
        listeners = dump_listeners()
    except OSError:
        try:
            listeners = _read_table()
        except OSError:
            return None
    named = [one for one in listeners if os.path.basename(one.path) == path.name]
    device = find_device(path.parent) if named else None
    return [one for one in named if _may_be(path, device, one)]


def _read_table() -> list[SocketAddress]:
    """What is told without ``sock_diag``: paths, and not of which file system they are."""
    lines = TABLE.read_text(errors="replace").splitlines()[1:]
    rows = (line.split(maxsplit=7) for line in lines)
    return [SocketAddress(row[7]) for row in rows if len(row) == 8 and int(row[3], 16) & LISTENS]


def _may_be(path: Path, device: int | None, bound: SocketAddress) -> bool:
    """Whether one of that name is at that path: through a link too, or relative to who knows what.

    Relative to anything at all does not count, where nothing tells even the file system.
    """
    if None not in {device, bound.device} and device != bound.device:
        return False
    if not os.path.isabs(bound.path):
        return bound.device is not None
    directory = os.path.dirname(bound.path)
    return os.path.realpath(directory) == os.path.realpath(path.parent)
