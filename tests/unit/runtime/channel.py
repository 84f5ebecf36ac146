"""A management channel under test: what it tells, and who may be at the other end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from ovpnha.model import Unreachable
from ovpnha.runtime.management import ALIVE, SEVERAL, ManagementChannel


class Notes:
    """What the channel told its owner."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.received = b""
        self.missed: list[Unreachable] = []
        self.ended: list[int] = []

    def take(self, data: bytes) -> None:
        self.received += data


class FakeOpenvpn:
    """The listening end of a management socket; one connection at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.listening: socket.socket | None = None
        self.connection: socket.socket | None = None

    def listen(self) -> None:
        self.path.unlink(missing_ok=True)
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(str(self.path))
        self.listening.listen(1)
        self.listening.setblocking(False)

    async def accept(self) -> socket.socket:
        assert self.listening is not None
        async with asyncio.timeout(5):
            self.connection, _ = await asyncio.get_running_loop().sock_accept(self.listening)
        return self.connection

    def close(self) -> None:
        for one in (self.connection, self.listening):
            if one is not None:
                one.close()


@contextlib.asynccontextmanager
async def running(
    path: Path, *, exclusive: bool = False
) -> AsyncIterator[tuple[ManagementChannel, Notes]]:
    notes = Notes()
    channel = ManagementChannel(
        path,
        up=lambda: notes.events.append("up"),
        down=lambda reason: notes.events.append(f"down: {reason}"),
        received=notes.take,
        missed=notes.missed.append,
        ended=notes.ended.append,
        exclusive=exclusive,
    )
    task = asyncio.create_task(channel.run())
    try:
        yield channel, notes
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)  # let the transport tell its end


SERVE = """
import socket, sys, time
one = socket.socket(socket.AF_UNIX)
one.bind(sys.argv[1])
one.listen()
while True:
    connection = one.accept()[0]
    connection.recv(1)
    connection.close()
"""


@contextlib.contextmanager
def serving(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that listens there; it is killed at the end."""
    with subprocess.Popen([sys.executable, "-c", SERVE, str(path)]) as process:
        try:
            yield process
        finally:
            process.kill()


def is_refused(notes: Notes) -> bool:
    """Whether one was not talked to while another lives."""
    return any(ALIVE in one.reason or SEVERAL in one.reason for one in notes.missed)
