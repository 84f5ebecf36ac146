"""The process at the other end of a unix socket, and the proof that it is dead.

The end of a connection proves nothing: a process that has closed it, or hangs, goes on sending to
clients. What the kernel tells of a process by a pidfd is its end, and no later process of the same
number is taken for it. Where there is none to be had the process is looked at by its number and its
beginning: its end is seen as surely, a moment later, and it is not killed by a number.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
import struct
from collections.abc import Callable

from ovpnha.runtime.processstat import read_stat

SO_PEERPIDFD = 77
"""Linux 6.5 and later: the process itself, so that its number cannot have gone to another one."""

CREDENTIALS = struct.Struct("3i")
NUMBER = struct.Struct("i")
LOOK_EVERY = 0.05
"""Seconds between two looks at a process that tells nothing by itself."""


class PeerProcess:
    """One process, watched until its end.

    Args:
        pid: Its number; 0 when it is in another namespace.
        descriptor: Its pidfd, which is closed here.
        ended: Called once, by the event loop, when it is dead.
    """

    def __init__(self, pid: int, descriptor: int, ended: Callable[[PeerProcess], None]) -> None:
        self.pid = pid
        self._descriptor = descriptor
        self._identity = identify(descriptor)
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(descriptor, self._readable)

    @property
    def alive(self) -> bool:
        """Whether its end has not been told yet."""
        return self._descriptor >= 0

    def is_at(self, pid: int, descriptor: int | None) -> bool:
        """Whether it is who was just found at a socket; yes, where nothing tells (``is_told``)."""
        identity = identify(descriptor) if descriptor is not None else 0
        if identity and self._identity:
            return identity == self._identity
        return self.pid == pid

    def kill(self) -> None:
        """End it at once, whatever it does. Raises OSError when this process may not."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)

    def forget(self) -> None:
        """Watch it no more; its end is not told."""
        if self.alive:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _readable(self) -> None:
        self.forget()
        self._ended(self)


class NumberedProcess:
    """One process without a pidfd, watched until its end; the face of a ``PeerProcess``.

    Args:
        pid: Its number, in our namespace.
        ended: Called once, by the event loop, when it is dead.
    """

    def __init__(self, pid: int, ended: Callable[[NumberedProcess], None]) -> None:
        self.pid = pid
        self._ended = ended
        seen = read_stat(pid)
        self._begun = seen.begun if seen is not None else None
        self._timer: asyncio.TimerHandle | None = None
        self._wait()

    def is_at(self, pid: int, _descriptor: int | None) -> bool:
        """Whether it is who was just found at a socket."""
        return self.pid == pid

    def kill(self) -> None:
        """Never: by now the number may be another's. Raises OSError, which says so."""
        raise OSError(errno.EOPNOTSUPP, f"there is no pidfd of process {self.pid}")

    def forget(self) -> None:
        """Watch it no more; its end is not told."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(LOOK_EVERY, self._look)

    def _look(self) -> None:
        if self._is_gone():
            self._timer = None
            self._ended(self)
        else:
            self._wait()

    def _is_gone(self) -> bool:
        seen = read_stat(self.pid)
        if seen is not None:
            return not seen.runs or (self._begun is not None and seen.begun != self._begun)
        try:  # /proc may hide it
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
        return False


Watched = PeerProcess | NumberedProcess


def find_pid(source: socket.socket) -> int:
    """The process that listens at the other end; 0 when it is in another namespace."""
    found = source.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    return int(CREDENTIALS.unpack(found)[0])


def identify(descriptor: int) -> int:
    """What tells the process of a pidfd from all others; 0 where it has nothing of its own.

    From Linux 6.9 on each process has an inode in a file system of pidfds. Before that all of them
    have one, which they share with whatever else is no file.
    """
    anonymous = os.eventfd(0)
    try:
        shared = os.fstat(anonymous).st_dev
    finally:
        os.close(anonymous)
    found = os.fstat(descriptor)
    return 0 if found.st_dev == shared else found.st_ino


def is_told(pid: int, descriptor: int | None) -> bool:
    """Whether that process is told from all others; all of other namespaces have number 0."""
    return pid != 0 or (descriptor is not None and identify(descriptor) != 0)


def open_peer(source: socket.socket, pid: int) -> int | None:
    """A pidfd of that process; None when it cannot be had.

    A kernel without ``SO_PEERPIDFD`` is asked by the number; whoever has that by then is watched.

    Raises:
        ProcessLookupError: It is dead already.
    """
    try:
        found = source.getsockopt(socket.SOL_SOCKET, SO_PEERPIDFD, NUMBER.size)
        return int(NUMBER.unpack(found)[0])
    except OSError as error:
        if error.errno in {errno.ESRCH, errno.EINVAL}:
            raise ProcessLookupError from None
        if error.errno != errno.ENOPROTOOPT or not pid:
            return None
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        raise
    except OSError:
        return None
