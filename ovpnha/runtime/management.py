"""The channel to one OpenVPN's management socket: bytes in, bytes out, up and down.

Decides when to connect again: at once, then after at most 0.2 s, for ever. It understands nothing
of what it carries (``ovpnha.management`` does), and must never log it: it may hold keys.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import structlog

from ovpnha.model import Unreachable

FIRST_DELAY = 0.02
LAST_DELAY = 0.2
LASTING = 1.0
CONNECT_TIMEOUT = 2.0
WRITE_LIMIT = 64 * 1024 * 1024

log = structlog.get_logger()


class ManagementChannel(asyncio.Protocol):
    """Keeps one connection to the socket at ``path``.

    Args:
        path: The unix socket.
        up: Called when connected.
        down: Called with the reason when the connection is gone.
        received: Called with the bytes read, cut anywhere.
        missed: Called with the reason when it cannot be connected, once while that stays the same.
    """

    def __init__(
        self,
        path: Path,
        *,
        up: Callable[[], None],
        down: Callable[[str], None],
        received: Callable[[bytes], None],
        missed: Callable[[Unreachable], None],
    ) -> None:
        self._path = path
        self._up = up
        self._down = down
        self._received = received
        self._missed = missed
        self._transport: asyncio.WriteTransport | None = None
        self._closed = asyncio.Event()
        self._reason = ""
        self.peer = 0  # OpenVPN's process id, as far as it is one of ours

    async def run(self) -> None:
        """Stay connected, for ever; closes when cancelled."""
        delay = 0.0
        problem: Unreachable | None = None
        while True:
            await asyncio.sleep(delay)
            try:
                await self._connect()
            except (OSError, TimeoutError) as error:
                problem = self._tell(problem, error)
                delay = _next_delay(delay)
                continue
            problem = None
            delay = 0.0 if await self._lasts() else _next_delay(delay)

    def write(self, data: bytes) -> None:
        """Send; what cannot be sent now is kept. Without a connection the bytes are dropped."""
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > WRITE_LIMIT:
            self.close("openvpn does not read")

    def close(self, reason: str) -> None:
        """Drop this connection; ``run`` makes the next one."""
        if self._transport is not None:
            self._reason = reason
            self._transport.abort()

    async def _lasts(self) -> bool:
        """Wait for the end of the connection; returns whether it lasted, so that a retry is due."""
        loop = asyncio.get_running_loop()
        begin = loop.time()
        try:
            await self._closed.wait()
        finally:
            self.close("closing")
        return loop.time() - begin > LASTING

    async def _connect(self) -> None:
        self._closed.clear()
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_TIMEOUT):
            await loop.create_unix_connection(lambda: self, str(self._path))

    def _tell(self, before: Unreachable | None, error: OSError) -> Unreachable:
        """Tell of a failure to connect, once while it stays the same."""
        problem = _describe(self._path, error)
        if problem != before:
            log.warning(
                "management unreachable",
                path=str(self._path),
                reason=error.strerror or type(error).__name__,
                errno=error.errno,
            )
            self._missed(problem)
        return problem

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """For the event loop."""
        assert isinstance(transport, asyncio.WriteTransport)  # noqa: S101 - asyncio promises it
        self._transport = transport
        self._reason = ""
        self.peer = _peer(transport)
        self._up()

    def data_received(self, data: bytes) -> None:
        """For the event loop."""
        self._received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """For the event loop; follows the end of the stream at once."""
        self._transport = None
        self.peer = 0
        self._closed.set()
        reason = getattr(exc, "strerror", None) or "closed by openvpn"
        self._down(self._reason or reason)


def _peer(transport: asyncio.BaseTransport) -> int:
    """The process at the other end; 0 when it is in another namespace."""
    size = struct.calcsize("3i")
    found = transport.get_extra_info("socket").getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, size
    )
    return int(struct.unpack("3i", found)[0])


def _next_delay(delay: float) -> float:
    return min(max(FIRST_DELAY, 2 * delay), LAST_DELAY)


def _describe(path: Path, error: OSError) -> Unreachable:
    """Path, reason and error number for an administrator, and what to look at."""
    number = error.errno or 0
    name = f" (errno {number}, {errno.errorcode.get(number, 'unknown')})" if number else ""
    fix = FIXES.get(number, "see the log of OpenVPN")
    return Unreachable(
        f"management socket {path}: {error.strerror or 'no answer'}{name}",
        fix.format(path=path),
        absent=number in ABSENT,
    )


ABSENT = (errno.ENOENT, errno.ECONNREFUSED)
"""What says that no process has the socket open."""


FIXES = {
    errno.ENOENT: "does OpenVPN run, and does its configuration say: management {path} unix?",
    errno.ECONNREFUSED: "OpenVPN has ended and left the socket behind; start it",
    errno.EACCES: "let this user through: management-client-user and -group in OpenVPN's"
    " configuration, systemd-tmpfiles --create for the directory",
    errno.EAGAIN: "another program has this socket (ss -xp); OpenVPN serves one at a time",
}
