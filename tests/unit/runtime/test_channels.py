"""Whose bytes, end and descriptors are whose, of the two processes of an instance."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, MutableMapping
from pathlib import Path
from typing import Any

import pytest

from ovpnha.config import Config
from ovpnha.machines import Process
from ovpnha.model import InstanceName
from ovpnha.node.outputs import CloseManagement, EndProcess, PassDescriptors, WriteManagement
from ovpnha.node.pair import Pair
from ovpnha.runtime import descriptors
from ovpnha.runtime.channels import Channels
from ovpnha.runtime.management import ManagementChannel

Until = Callable[[Callable[[], object]], Coroutine[Any, Any, None]]
UDP = InstanceName("udp")
MAIN, SPARE = Process.MAIN, Process.SPARE


class Noting(Pair):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.notes: list[tuple[Any, ...]] = []

    def __getattribute__(self, name: str) -> Any:
        if name in ("notes", "__class__"):
            return object.__getattribute__(self, name)
        return lambda *told: self.notes.append((name, *(one for one in told if one != 0.0)))


class Ends:
    """Both management sockets, and the channels to them."""

    def __init__(self, directory: Path) -> None:
        plain = {
            "cluster": {"alone": True, "node": "a"},
            "instance": [{"name": "udp", "management": str(directory / "udp.sock")}],
        }
        self.core = Noting()
        self.listening = {}
        for process, name in ((MAIN, "udp.sock"), (SPARE, "udp-spare.sock")):
            one = socket.socket(socket.AF_UNIX)
            one.bind(str(directory / name))
            one.listen()
            one.setblocking(False)
            self.listening[process] = one
        self.channels = Channels(Config.model_validate(plain), lambda event: event(self.core, 0.0))
        self.others: dict[Process, socket.socket] = {}

    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        for process, one in self.listening.items():
            self.others[process] = (await loop.sock_accept(one))[0]


@pytest.fixture
async def ends(tmp_path: Path, until: Until) -> AsyncIterator[Ends]:
    made = Ends(tmp_path)
    tasks = [asyncio.create_task(work) for work in made.channels.run()]
    await made.connect()
    await until(lambda: len(made.core.notes) == 2)
    yield made
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    await asyncio.sleep(0)
    for one in (*made.listening.values(), *made.others.values()):
        one.close()


async def test_each_process_is_told_apart(ends: Ends, until: Until) -> None:
    assert sorted(ends.core.notes) == [
        ("management_up", "udp"),
        ("management_up", "udp", SPARE),
    ]
    assert ends.channels.peer(UDP) == ends.channels.peer(UDP, SPARE) == os.getpid()
    assert ends.channels.is_connected(UDP, SPARE)
    ends.others[SPARE].send(b"spare")
    ends.others[MAIN].send(b"main")
    await until(lambda: len(ends.core.notes) == 4)
    assert ("receive_management", "udp", b"spare", SPARE) in ends.core.notes
    assert ("receive_management", "udp", b"main") in ends.core.notes
    ends.channels.write(WriteManagement(UDP, b"x", SPARE))
    assert ends.others[SPARE].recv(10) == b"x"
    ends.channels.close(CloseManagement(UDP, "of no use", SPARE))
    await until(lambda: len(ends.core.notes) == 5)
    assert ends.core.notes[-1] == ("management_down", "udp", "of no use", SPARE)


async def test_what_one_sends_the_other_is_given(ends: Ends, tmp_path: Path, until: Until) -> None:
    (tmp_path / "open").write_text("shared")
    numbers = [os.open(tmp_path / "open", os.O_RDONLY) for _ in range(2)]
    socket.send_fds(ends.others[MAIN], [b"SUCCESS: cluster-descriptors\n"], numbers)
    for one in numbers:
        os.close(one)
    await until(lambda: len(ends.core.notes) == 3)
    before = len(os.listdir("/proc/self/fd"))
    ends.channels.pass_on(PassDescriptors(UDP, MAIN, SPARE, b"cluster-take\n"))
    assert len(os.listdir("/proc/self/fd")) == before - 2
    data, pair = descriptors.receive(ends.others[SPARE], 100)
    assert data == b"cluster-take\n"
    assert pair is not None
    assert os.read(pair.tun, 10) == b"shared"
    pair.close()


async def test_without_descriptors_it_is_asked_anew_what_it_needs(ends: Ends, until: Until) -> None:
    ends.channels.pass_on(PassDescriptors(UDP, MAIN, SPARE, b"cluster-take\n"))
    await until(lambda: len(ends.core.notes) == 3)
    why = "there are no descriptors to pass on"
    assert ends.core.notes[-1] == ("management_down", "udp", why, SPARE)


@pytest.mark.parametrize("may", [True, False])
async def test_one_that_must_end_is_ended_or_that_is_told(
    ends: Ends,
    logged: list[MutableMapping[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    may: bool,
) -> None:
    def end(_channel: ManagementChannel) -> None:
        if not may:
            raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(ManagementChannel, "end", end)
    ends.channels.end(EndProcess(UDP, MAIN, "it hangs"))
    (told,) = logged
    assert (told["event"] == "openvpn process ended") is may
    assert ("fix" in told) is not may


async def test_a_death_is_told_of_the_process_that_died(ends: Ends) -> None:
    for (_, process), channel in ends.channels._channels.items():
        channel._ended(77)
        assert ends.core.notes[-1] == ("process_ended", "udp", process)
