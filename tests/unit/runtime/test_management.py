from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, MutableMapping
from pathlib import Path
from typing import Any

import pytest

from ovpnha.model import Unreachable
from ovpnha.runtime import management
from ovpnha.runtime.descriptors import DescriptorPair
from ovpnha.runtime.unixlisteners import count_listeners
from tests.unit.runtime.channel import FakeOpenvpn, is_refused, running, serving

Until = Callable[[Callable[[], object]], Coroutine[Any, Any, None]]


@pytest.fixture
async def openvpn(tmp_path: Path) -> AsyncIterator[FakeOpenvpn]:
    fake = FakeOpenvpn(tmp_path / "udp.sock")
    yield fake
    fake.close()


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


async def test_who_is_certainly_absent_is_looked_for_by_the_path_alone(
    openvpn: FakeOpenvpn, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = Counter[str]()
    identify = management._identify_file

    def look(path: Path) -> tuple[int, ...] | None:
        looks["path"] += 1
        return identify(path)

    def count(path: Path) -> int | None:
        looks["sockets"] += 1
        return count_listeners(path)

    monkeypatch.setattr(management, "_identify_file", look)
    monkeypatch.setattr(management, "count_listeners", count)
    async with running(openvpn.path, exclusive=True) as (_, notes):
        await until(lambda: looks["path"] >= 8)
        assert notes.missed[0].absent
        assert looks["sockets"] <= 2, "the kernel lists the sockets of the whole host"
        openvpn.listen()
        await openvpn.accept()
        await until(lambda: notes.events == ["up"])


def test_all_that_wait_for_long_wake_at_the_same_moments() -> None:
    longest = management.LAST_DELAY
    for now in (1000.0, 1000.03, 1000.19):
        wait = management._wait(longest, now)
        assert now + wait == pytest.approx(1000.2)
        assert 0.0 < wait < longest + 1e-6
    assert management._wait(management.FIRST_DELAY, 1000.03) == management.FIRST_DELAY


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


def open_files(tmp_path: Path) -> tuple[int, int]:
    for name in ("link", "tun"):
        (tmp_path / name).write_text(name)
    first, second = (os.open(tmp_path / name, os.O_RDONLY) for name in ("link", "tun"))
    return first, second


def count_files() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_descriptors_are_taken_from_one_and_passed_to_another(
    openvpn: FakeOpenvpn, tmp_path: Path, until: Until
) -> None:
    openvpn.listen()
    spare = FakeOpenvpn(tmp_path / "udp-spare.sock")
    spare.listen()
    async with running(openvpn.path) as (channel, notes), running(spare.path) as (target, _):
        source, other = await openvpn.accept(), await spare.accept()
        numbers = open_files(tmp_path)
        socket.send_fds(source, [b"SUCCESS: cluster-descriptors\n"], numbers)
        for one in numbers:
            os.close(one)
        await until(lambda: notes.received)
        before = count_files()
        beside = channel.take_descriptors()
        assert beside is not None
        assert channel.take_descriptors() is None
        target.write(b"cluster-take\n", beside)
        assert count_files() == before - 2
        other.setblocking(True)
        data, found, _, _ = socket.recv_fds(other, 100, 2)
        assert data == b"cluster-take\n"
        assert [os.read(one, 10) for one in found] == [b"link", b"tun"]
        for one in found:
            os.close(one)
    spare.close()


@pytest.mark.parametrize("how", ["late", "again", "lost"])
async def test_descriptors_that_nobody_takes_are_closed(
    openvpn: FakeOpenvpn,
    tmp_path: Path,
    until: Until,
    how: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(management, "DESCRIPTORS_KEPT", 0.01 if how == "late" else 60.0)
    openvpn.listen()
    async with running(openvpn.path) as (channel, notes):
        source = await openvpn.accept()
        numbers = open_files(tmp_path)
        before = count_files()
        socket.send_fds(source, [b"1"], numbers)
        await until(lambda: notes.received == b"1")
        if how == "again":
            assert count_files() == before + 2
            socket.send_fds(source, [b"2"], numbers)
            await until(lambda: notes.received == b"12")
            assert count_files() == before + 2
            beside = channel.take_descriptors()
            assert beside is not None
            beside.close()
        elif how == "lost":
            channel.close("broken")
            await until(lambda: len(notes.events) >= 2)
        await until(lambda: count_files() <= before)
        assert channel.take_descriptors() is None
        for one in numbers:
            os.close(one)


async def test_descriptors_for_nobody_are_closed(tmp_path: Path) -> None:
    numbers = open_files(tmp_path)
    before = count_files()
    async with running(tmp_path / "none.sock") as (channel, _):
        channel.write(b"cluster-take\n", DescriptorPair(*numbers))
        assert count_files() <= before - 2 + 3  # those of its own attempts to connect
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(numbers[0])


async def test_the_end_of_the_process_is_told_and_not_that_of_a_connection(
    tmp_path: Path, until: Until
) -> None:
    path = tmp_path / "udp.sock"
    with serving(path) as process:
        async with running(path) as (channel, notes):
            await until(lambda: notes.events)
            channel.write(b"x")
            await until(lambda: len(notes.events) == 3)  # down, and up again
            assert channel.peer == process.pid
            assert not notes.ended
            channel.end()
            await until(lambda: notes.ended)
            assert notes.ended == [process.pid]


@pytest.mark.parametrize("pidfd", [True, False])
async def test_no_other_process_is_talked_to_while_the_one_before_lives(
    tmp_path: Path, until: Until, monkeypatch: pytest.MonkeyPatch, pidfd: bool
) -> None:
    """It may serve, and who is led in its place would do so as well, without its clients."""
    if not pidfd:
        monkeypatch.setattr(management, "open_peer", lambda _source, _pid: None)
    path = tmp_path / "udp.sock"
    with contextlib.ExitStack() as ends:
        first = ends.enter_context(serving(path))
        async with running(path, exclusive=True) as (channel, notes):
            await until(lambda: notes.events)
            path.unlink()
            second = ends.enter_context(serving(path))
            await until(path.exists)
            channel.write(b"x")
            await until(lambda: is_refused(notes))
            assert (len(notes.events), notes.ended) == (2, [])
            first.kill()
            await until(lambda: channel.peer == second.pid)
            assert notes.ended == [first.pid]
