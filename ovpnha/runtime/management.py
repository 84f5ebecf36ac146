"""The channel to one OpenVPN's management socket: bytes in, bytes out, up and down.

Decides when to connect again: at once, then after at most 0.2 s, for ever. It understands nothing
of what it carries (``ovpnha.management`` does), and must never log it: it may hold keys. A process
that was connected is watched until it is dead, whatever becomes of the connection.

Decides too when it is certain that no process is there: a path that is gone, or refuses, proves
nothing. Another start of OpenVPN takes the path from the one that serves, and takes it along when
it ends. What counts is that the kernel knows no socket that was bound to the path and listens.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path

import structlog

from ovpnha.model import Unreachable
from ovpnha.replication.pacing import next_beat
from ovpnha.runtime.descriptors import DescriptorPair
from ovpnha.runtime.descriptorstream import DescriptorStream
from ovpnha.runtime.peerprocess import (
    NumberedProcess,
    PeerProcess,
    Watched,
    find_pid,
    is_told,
    open_peer,
)
from ovpnha.runtime.unixlisteners import count_listeners

FIRST_DELAY = 0.02
LAST_DELAY = 0.2
LASTING = 1.0
WRITE_LIMIT = 64 * 1024 * 1024
DESCRIPTORS_KEPT = 1.0
"""Seconds for which descriptors that came wait for the line that they came with to be read."""

log = structlog.get_logger()


class ManagementChannel:
    """Keeps one connection to the socket at ``path``.

    Args:
        path: The unix socket.
        up: Called when connected.
        down: Called with the reason when the connection is gone.
        received: Called with the bytes read, cut anywhere.
        missed: Called with the reason when it cannot be connected, once while that stays the same.
        ended: Called with the number of a process that was connected once, when it is dead.
        exclusive: Whether to talk to no other process before that.
        expected: Whether an absence is worth a word in the log.
    """

    def __init__(
        self,
        path: Path,
        *,
        up: Callable[[], None],
        down: Callable[[str], None],
        received: Callable[[bytes], None],
        missed: Callable[[Unreachable], None],
        ended: Callable[[int], None] = lambda _pid: None,
        exclusive: bool = False,
        expected: bool = True,
    ) -> None:
        self._path = path
        self._up = up
        self._down = down
        self._received = received
        self._missed = missed
        self._ended = ended
        self._exclusive = exclusive
        self._expected = expected
        self._stream: DescriptorStream | None = None
        self._closed = asyncio.Event()
        self._reason = ""
        self._beside: DescriptorPair | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._processes: list[Watched] = []
        self._told = True  # whether these are told from all others
        self._refused: tuple[int, ...] | None = None  # the file of who may not be talked to
        self.peer = 0  # OpenVPN's process id, as far as it is one of ours

    async def run(self) -> None:
        """Stay connected, for ever; closes when cancelled."""
        try:
            await self._stay()
        finally:
            for process in self._processes:
                process.forget()

    async def _stay(self) -> None:
        delay = 0.0
        problem: Unreachable | None = None
        while True:
            await asyncio.sleep(_wait(delay, asyncio.get_running_loop().time()))
            try:
                self._connect(absent=problem is not None and problem.absent)
            except OSError as error:
                problem = self._tell(problem, error)
                delay = _next_delay(delay)
                continue
            problem = None
            delay = 0.0 if await self._lasts() else _next_delay(delay)

    def write(self, data: bytes, beside: DescriptorPair | None = None) -> None:
        """Send; what cannot be sent now is kept. Without a connection the bytes are dropped.

        DescriptorPair leave with the first byte and are closed here, whatever becomes of them.
        """
        if self._stream is None:
            if beside is not None:
                beside.close()
            return
        self._stream.write(data, beside)
        if self._stream.buffered > WRITE_LIMIT:
            self.close("openvpn does not read")

    def take_descriptors(self) -> DescriptorPair | None:
        """Those that OpenVPN has just sent, if any: the caller's to close from now on."""
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        beside, self._beside = self._beside, None
        return beside

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return self._stream is not None

    def end(self) -> None:
        """End the process that is or was connected, whatever it does.

        Raises:
            PermissionError: This process may not.
        """
        for process in self._processes:
            process.kill()

    def close(self, reason: str) -> None:
        """Drop this connection; ``run`` makes the next one."""
        if self._stream is not None:
            self._reason = reason
            self._stream.abort()

    async def _lasts(self) -> bool:
        """Wait for the end of the connection; returns whether it lasted, so that a retry is due."""
        loop = asyncio.get_running_loop()
        begin = loop.time()
        try:
            await self._closed.wait()
        finally:
            self.close("closing")
        return loop.time() - begin > LASTING

    def _connect(self, *, absent: bool) -> None:
        """``absent``: it is certain that nobody listened the last time."""
        self._closed.clear()
        file = _identify_file(self._path)
        if absent and file is None:  # still the same problem, and cheaper to see so
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        if self._exclusive and (reason := self._foresee(file)):
            raise BlockingIOError(errno.EAGAIN, reason)
        source = socket.socket(socket.AF_UNIX)
        try:
            source.setblocking(False)
            self._reach(source)
            self._watch(source, file)
        except BaseException:
            source.close()
            raise
        self._refused = None
        self._reason = ""
        self._stream = DescriptorStream(source, received=self._take, lost=self._lost)
        self._up()

    def _reach(self, source: socket.socket) -> None:
        """Connect at once, or not at all.

        Not the event loop's way: where no more may wait for OpenVPN (EAGAIN) that waits until the
        socket can be written to, as one without a connection can be at once.
        """
        try:
            source.connect(str(self._path))
        except BlockingIOError:
            if self._processes and self._refused is not None:  # still the same problem
                raise BlockingIOError(errno.EAGAIN, ALIVE) from None
            raise

    def _watch(self, source: socket.socket, file: tuple[int, ...] | None) -> None:
        """Know whom we talk to, until its end. One that was there before is watched to its own.

        Raises:
            BlockingIOError: It may be another one than who serves.
        """
        pid, dead = find_pid(source), False
        descriptor: int | None = None
        try:
            descriptor = open_peer(source, pid)
        except ProcessLookupError:
            dead = True
        known = any(one.is_at(pid, descriptor) for one in self._processes)
        reason = self._doubt(known=known) if self._exclusive else ""
        told = is_told(pid, descriptor)
        if descriptor is not None and (known or reason):
            os.close(descriptor)
        if reason:
            self._refused = file if reason == ALIVE else self._refused
            raise BlockingIOError(errno.EAGAIN, reason)
        self.peer, self._told = pid, told
        if dead:
            asyncio.get_running_loop().call_soon(self._ended, pid)
        elif not known and descriptor is not None:
            self._processes.append(PeerProcess(pid, descriptor, self._dead))
        elif not known and pid:
            self._processes.append(NumberedProcess(pid, self._dead))

    def _foresee(self, file: tuple[int, ...] | None) -> str:
        """Why nobody is even connected to; nothing: who is there is to be seen.

        A socket that is connected to, and closed again, is a client that it serves meanwhile.
        """
        if self._processes and file is not None and file == self._refused:
            return ALIVE
        return "" if self._processes and self._told else self._count()

    def _doubt(self, *, known: bool) -> str:
        """Why who is at the path may be another one than who serves; nothing: it is not."""
        if known and self._told:
            return ""
        return ALIVE if self._processes and not known else self._count()

    def _count(self) -> str:
        return SEVERAL if (count_listeners(self._path) or 0) > 1 else ""

    def _dead(self, process: Watched) -> None:
        self._processes.remove(process)
        self._ended(process.pid)

    def _take(self, data: bytes, beside: DescriptorPair | None) -> None:
        if beside is not None:
            self._drop_descriptors()
            self._beside = beside
            loop = asyncio.get_running_loop()
            self._expiry = loop.call_later(DESCRIPTORS_KEPT, self._drop_descriptors)
        self._received(data)

    def _drop_descriptors(self) -> None:
        if (beside := self.take_descriptors()) is not None:
            beside.close()

    def _tell(self, before: Unreachable | None, error: OSError) -> Unreachable:
        """Tell of a failure to connect, once while it stays the same."""
        problem = _describe(self._path, error, before)
        if problem != before:
            level = log.warning if self._expected or not problem.absent else log.debug
            level(
                "management unreachable",
                path=str(self._path),
                reason=error.strerror or type(error).__name__,
                errno=error.errno,
            )
            self._missed(problem)
        return problem

    def _lost(self, error: OSError | None) -> None:
        self._stream = None
        self.peer = 0
        self._drop_descriptors()
        self._closed.set()
        reason = (error.strerror if error is not None else None) or "closed by openvpn"
        self._down(self._reason or reason)


def _next_delay(delay: float) -> float:
    return min(max(FIRST_DELAY, 2 * delay), LAST_DELAY)


def _wait(delay: float, now: float) -> float:
    """So long; all that wait for the longest time wake at the same moments, and this process once.

    A host of many instances has a second process of none of them, as a rule, and looks for each.
    """
    return next_beat(now, LAST_DELAY) - now if delay == LAST_DELAY else delay


def _identify_file(path: Path) -> tuple[int, ...] | None:
    """What tells the file at a path from all others there, and so who was bound to it."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_ctime_ns


def _describe(path: Path, error: OSError, before: Unreachable | None) -> Unreachable:
    """Path, reason and error number for an administrator, and what to look at."""
    number = error.errno or 0
    name = f" (errno {number}, {errno.errorcode.get(number, 'unknown')})" if number else ""
    fix = DOUBTS.get(error.strerror or "") or FIXES.get(number, "see the log of OpenVPN")
    absent = False
    if number in NOBODY:  # once that is certain it stays so, until somebody is connected
        absent = (before is not None and before.absent) or count_listeners(path) == 0
        fix = fix if absent else TAKEN
    return Unreachable(
        f"management socket {path}: {error.strerror or error}{name}",
        fix.format(path=path),
        absent=absent,
    )


NOBODY = (errno.ENOENT, errno.ECONNREFUSED)
"""What says that nobody can be connected to by this path: not that no process is there."""

SEVERAL = "more than one process listens at this path"
"""The one that cannot be reached by it any more may serve."""

TAKEN = (
    "OpenVPN runs and listens there still (ss -xlp), but another start of it has taken its path:"
    " end that one if it runs, and restart OpenVPN when its clients may reconnect"
)

ALIVE = "the process that was there before still runs"
"""It may serve: whoever is at its socket now is not talked to before it is dead."""

DOUBTS = {
    SEVERAL: "ss -xlp src {path} shows them (as root): end the one that was started by hand; if the"
    " other one cannot be reached then, restart OpenVPN when its clients may reconnect",
    ALIVE: "another process has taken the path from it: ss -xlp src {path} shows both (as root);"
    " end the one that was started by hand, and restart OpenVPN when its clients may reconnect",
}

FIXES = {
    errno.ENOENT: "does OpenVPN run, and does its configuration say: management {path} unix?",
    errno.ECONNREFUSED: "OpenVPN has ended and left the socket behind; start it",
    errno.EACCES: "let this user through: management-client-user and -group in OpenVPN's"
    " configuration, systemd-tmpfiles --create for the directory",
    errno.EAGAIN: "another program has this socket (ss -xp); OpenVPN serves one at a time",
}
