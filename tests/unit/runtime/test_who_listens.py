"""When it is certain that no OpenVPN is behind a management socket, and that it is the one before.

Ruled by docs/management.md, "The socket".
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from ovpnha.machines import Process
from ovpnha.model import Unreachable
from ovpnha.node.arbiter import FIND, Place, Side, choose
from ovpnha.node.sides import ProcessEnd
from ovpnha.runtime import management, peerprocess, unixlisteners
from ovpnha.runtime.sockdiag import SocketAddress
from ovpnha.runtime.unixlisteners import count_listeners
from tests.unit.runtime.channel import FakeOpenvpn, is_refused, running, serving

Until = Callable[[Callable[[], object]], Coroutine[Any, Any, None]]


def slot_after(missed: list[Unreachable]) -> Process | None:
    """Whom a sidecar that starts gives the VIP to, when the spare is ready and this of the main."""
    end = ProcessEnd()
    for one in missed:
        end.miss(absent=one.absent)
    main = Side(Place.ABSENT, ended=end.ended)
    spare = Side(Place.STANDBY, whole=True)
    return choose(None, {Process.MAIN: main, Process.SPARE: spare}, vip=True, waited=FIND).slot


@pytest.mark.parametrize("left", [False, True])
async def test_who_listens_where_another_one_has_taken_the_path_is_not_absent(
    tmp_path: Path, until: Until, *, left: bool
) -> None:
    """That one has ended, by a signal that it handles, or killed: its path is left behind."""
    path = tmp_path / "udp.sock"
    main, tried = FakeOpenvpn(path), FakeOpenvpn(path)
    main.listen()
    tried.listen()
    tried.close()
    if not left:
        path.unlink()
    async with running(path, exclusive=True) as (_, notes):
        await until(lambda: notes.missed)
        assert not notes.missed[0].absent
        assert "another start of it has taken its path" in notes.missed[0].fix
        assert slot_after(notes.missed) is Process.MAIN
        main.close()
        await until(lambda: notes.missed[-1].absent)
        assert slot_after(notes.missed) is Process.SPARE
    assert not notes.events


def has_been_connected(openvpn: FakeOpenvpn) -> bool:
    """Whether somebody waits at its socket, or has waited."""
    assert openvpn.listening is not None
    try:
        openvpn.listening.accept()[0].close()
    except BlockingIOError:
        return False
    return True


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Each time that who listens is counted."""
    looks: list[Path] = []

    def count(path: Path) -> int | None:
        looks.append(path)
        return count_listeners(path)

    monkeypatch.setattr(management, "count_listeners", count)
    return looks


async def test_two_that_listen_at_one_path_are_not_talked_to(
    tmp_path: Path, until: Until, counted: list[Path]
) -> None:
    """The one that can be reached has taken the path from the one that may serve."""
    path = tmp_path / "udp.sock"
    main, tried = FakeOpenvpn(path), FakeOpenvpn(path)
    main.listen()
    tried.listen()
    async with running(path, exclusive=True) as (_, notes):
        await until(lambda: len(counted) > 3)
        (problem,) = notes.missed
        assert management.SEVERAL in problem.reason
        assert "end the one that was started by hand" in problem.fix
        assert slot_after(notes.missed) is Process.MAIN
        assert not notes.events
        assert not has_been_connected(tried)
        main.close()
        await until(lambda: notes.events == ["up"])
    tried.close()


async def test_one_that_takes_the_path_between_two_looks_is_not_talked_to(
    tmp_path: Path, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "udp.sock"
    main, tried = FakeOpenvpn(path), FakeOpenvpn(path)
    main.listen()
    tried.listen()
    found = iter([1])
    monkeypatch.setattr(
        management, "count_listeners", lambda path: next(found, None) or count_listeners(path)
    )
    async with running(path, exclusive=True) as (_, notes):
        await until(lambda: notes.missed)
        assert management.SEVERAL in notes.missed[0].reason
        assert not notes.events
    for one in (main, tried):
        one.close()


@pytest.mark.parametrize("full", [False, True])
async def test_a_stranger_at_the_path_is_looked_at_once(
    tmp_path: Path, until: Until, monkeypatch: pytest.MonkeyPatch, *, full: bool
) -> None:
    """OpenVPN has room for one client: each look would be one that it serves meanwhile.

    With another file at each look, until it has no more room: that is the same problem.
    """
    path = tmp_path / "udp.sock"
    looks: list[Path] = []
    identify_file = management._identify_file

    def identify(path: Path) -> tuple[int, ...] | None:
        looks.append(path)
        return (len(looks),) if full else identify_file(path)

    monkeypatch.setattr(management, "_identify_file", identify)
    with contextlib.ExitStack() as ends:
        ends.enter_context(serving(path))
        async with running(path, exclusive=True) as (channel, notes):
            await until(lambda: notes.events)
            notes.missed.clear()
            stranger = FakeOpenvpn(path)
            stranger.listen()
            channel.write(b"x")
            await until(lambda: notes.missed)
            looks.clear()
            await until(lambda: len(looks) > 5)
            assert [management.ALIVE in one.reason for one in notes.missed] == [True]
            assert "restart OpenVPN when its clients" in notes.missed[0].fix
            assert has_been_connected(stranger)
            assert has_been_connected(stranger) is full
            stranger.close()


@pytest.mark.parametrize("told", [True, False])
async def test_one_at_another_file_of_the_same_path_is_nobody(
    tmp_path: Path, until: Until, monkeypatch: pytest.MonkeyPatch, *, told: bool
) -> None:
    """In another container on this network; where that is not told it may be ours."""
    path = tmp_path / "udp.sock"
    other = SocketAddress(str(path), 1 if told else None)
    monkeypatch.setattr(unixlisteners, "dump_listeners", lambda: [other])
    async with running(path, exclusive=True) as (_, notes):
        await until(lambda: notes.missed)
        assert notes.missed[0].absent is told


async def test_what_cannot_be_seen_is_not_certain(
    tmp_path: Path, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(management, "count_listeners", lambda _path: None)
    async with running(tmp_path / "udp.sock") as (_, notes):
        await until(lambda: notes.missed)
        assert not notes.missed[0].absent


async def test_one_that_lets_nobody_wait_any_more_is_not_connected(
    tmp_path: Path, until: Until
) -> None:
    """It hangs, and sidecars that have ended wait at its socket."""
    openvpn = FakeOpenvpn(tmp_path / "udp.sock")
    openvpn.listen()
    with contextlib.ExitStack() as ends:
        for _ in range(2):
            waiting = ends.enter_context(socket.socket(socket.AF_UNIX))
            waiting.connect(str(openvpn.path))
        async with running(openvpn.path, exclusive=True) as (channel, notes):
            await until(lambda: notes.missed or notes.events)
            assert not notes.events
            assert "EAGAIN" in notes.missed[0].reason
            assert "another program has this socket" in notes.missed[0].fix
            assert not notes.missed[0].absent
            for _ in range(3):
                ends.enter_context(await openvpn.accept())
            await until(lambda: notes.events == ["up"])
            assert channel.peer == os.getpid()
    openvpn.close()


def number_of(descriptor: int) -> int:
    """Of the process of a pidfd, as any kernel tells it in our namespace."""
    lines = Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines()
    (found,) = (line.split()[1] for line in lines if line.startswith("Pid:"))
    return int(found)


@pytest.fixture(params=["told apart", "alike"])
def _elsewhere(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes of another namespace: all have number 0; whether their pidfds differ."""
    find_pid = peerprocess.find_pid
    apart = bool(request.param == "told apart")
    monkeypatch.setattr(management, "find_pid", lambda _source: 0)
    monkeypatch.setattr(
        management, "open_peer", lambda source, _pid: os.pidfd_open(find_pid(source))
    )
    monkeypatch.setattr(peerprocess, "identify", number_of if apart else lambda _descriptor: 0)


@pytest.mark.usefixtures("_elsewhere")
async def test_no_other_process_of_another_namespace_is_taken_for_the_one_before(
    tmp_path: Path, until: Until
) -> None:
    """Where nothing tells two of them apart, none is while there are two."""
    path = tmp_path / "udp.sock"
    with contextlib.ExitStack() as ends:
        first = ends.enter_context(serving(path))
        async with running(path, exclusive=True) as (channel, notes):
            await until(lambda: notes.events)
            channel.write(b"x")  # it closes the connection, and takes the next
            await until(lambda: len(notes.events) == 3)
            path.unlink()
            second = ends.enter_context(serving(path))
            await until(path.exists)
            channel.write(b"x")
            await until(lambda: is_refused(notes))
            before = notes.events.count("up")
            first.kill()
            await until(lambda: notes.events.count("up") > before)
            assert notes.ended == [0]
            second.kill()
            await until(lambda: len(notes.ended) == 2)
