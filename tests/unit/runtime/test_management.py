from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, MutableMapping
from pathlib import Path
from typing import Any

import pytest

from ovpnha.model import Unreachable
from ovpnha.runtime.management import ManagementChannel

Until = Callable[[Callable[[], object]], Coroutine[Any, Any, None]]


class Notes:
    """What the channel told its owner."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.received = b""
        self.missed: list[Unreachable] = []

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


@pytest.fixture
async def openvpn(tmp_path: Path) -> AsyncIterator[FakeOpenvpn]:
    fake = FakeOpenvpn(tmp_path / "udp.sock")
    yield fake
    fake.close()


@contextlib.asynccontextmanager
async def running(path: Path) -> AsyncIterator[tuple[ManagementChannel, Notes]]:
    notes = Notes()
    channel = ManagementChannel(
        path,
        up=lambda: notes.events.append("up"),
        down=lambda reason: notes.events.append(f"down: {reason}"),
        received=notes.take,
        missed=notes.missed.append,
    )
    task = asyncio.create_task(channel.run())
    try:
        yield channel, notes
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)  # let the transport tell its end


async def test_bytes_go_both_ways(openvpn: FakeOpenvpn, until: Until) -> None:
    openvpn.listen()
    async with running(openvpn.path) as (channel, notes):
        other = await openvpn.accept()
        await until(lambda: notes.events == ["up"])
        assert channel.peer == os.getpid()
        channel.write(b"cluster-status\n")
        loop = asyncio.get_running_loop()
        assert await loop.sock_recv(other, 100) == b"cluster-status\n"
        await loop.sock_sendall(other, b">INFO:hel")
        await until(lambda: notes.received == b">INFO:hel")


async def test_an_end_in_mid_line_is_told_at_once_and_connects_again(
    openvpn: FakeOpenvpn, until: Until
) -> None:
    openvpn.listen()
    async with running(openvpn.path) as (_, notes):
        other = await openvpn.accept()
        await asyncio.get_running_loop().sock_sendall(other, b"SUCCESS: clus")
        other.close()
        await openvpn.accept()
        await until(lambda: len(notes.events) == 3)
        assert notes.events == ["up", "down: closed by openvpn", "up"]


async def test_it_waits_for_an_openvpn_that_is_not_there_yet(
    openvpn: FakeOpenvpn, until: Until, logged: list[MutableMapping[str, Any]]
) -> None:
    async with running(openvpn.path) as (_, notes):
        await until(lambda: logged)
        openvpn.listen()
        await openvpn.accept()
        await until(lambda: notes.events == ["up"])
    told = [entry for entry in logged if entry["event"] == "management unreachable"]
    assert told[0]["reason"] == "No such file or directory"
    assert told[0]["errno"] == errno.ENOENT
    assert len(told) == len({entry["errno"] for entry in told})  # not again at each attempt
    assert len(notes.missed) == len(told)
    assert notes.missed[0] == Unreachable(
        f"management socket {openvpn.path}: No such file or directory (errno 2, ENOENT)",
        f"does OpenVPN run, and does its configuration say: management {openvpn.path} unix?",
        absent=True,
    )


async def test_a_dead_socket_file_is_no_openvpn(openvpn: FakeOpenvpn, until: Until) -> None:
    openvpn.listen()
    openvpn.close()
    async with running(openvpn.path) as (_, notes):
        await until(lambda: notes.missed)
        assert "Connection refused (errno 111, ECONNREFUSED)" in notes.missed[0].reason
        assert "start it" in notes.missed[0].fix
        assert notes.missed[0].absent
        openvpn.listen()
        await openvpn.accept()
        await until(lambda: notes.events == ["up"])


async def test_an_openvpn_that_hangs_up_at_once_is_not_hammered(
    openvpn: FakeOpenvpn, until: Until
) -> None:
    openvpn.listen()
    async with running(openvpn.path) as (_, notes):
        loop = asyncio.get_running_loop()
        begin = loop.time()
        for _ in range(8):
            (await openvpn.accept()).close()
        await until(lambda: len(notes.events) >= 16)
        assert loop.time() - begin > 0.5


async def test_writing_without_a_connection_is_dropped(tmp_path: Path) -> None:
    async with running(tmp_path / "none.sock") as (channel, _):
        channel.write(b"cluster-status\n")


async def test_much_is_kept_when_openvpn_is_slow(openvpn: FakeOpenvpn, until: Until) -> None:
    openvpn.listen()
    async with running(openvpn.path) as (channel, notes):
        other = await openvpn.accept()
        await until(lambda: notes.events)
        data = bytes(5_000_000)
        channel.write(data)
        seen = 0
        while seen < len(data):
            seen += len(await asyncio.get_running_loop().sock_recv(other, 1 << 20))
        assert seen == len(data)


async def test_an_openvpn_that_never_reads_is_given_up(openvpn: FakeOpenvpn, until: Until) -> None:
    openvpn.listen()
    async with running(openvpn.path) as (channel, notes):
        await openvpn.accept()
        await until(lambda: notes.events)
        for _ in range(70):
            channel.write(bytes(1_000_000))
        await until(lambda: "down: openvpn does not read" in notes.events)
