from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from ovpnha.runtime import peerprocess
from ovpnha.runtime.peerprocess import (
    NumberedProcess,
    PeerProcess,
    find_pid,
    identify,
    open_peer,
)
from ovpnha.runtime.processstat import ProcessStat, is_older, read_stat
from tests.lab.waiting import wait_until

Until = Callable[[Callable[[], object]], Coroutine[Any, Any, None]]

LISTEN = """
import socket, sys, time
one = socket.socket(socket.AF_UNIX)
one.bind(sys.argv[1])
one.listen()
print("listens", flush=True)
one.accept()[0].close()
print("closed", flush=True)
time.sleep(600)
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
    """A process that has closed its end of a connection, and lives."""
    path = str(tmp_path / "peer.sock")
    with (
        subprocess.Popen([sys.executable, "-c", LISTEN, path], stdout=subprocess.PIPE) as process,
        socket.socket(socket.AF_UNIX) as source,
    ):
        assert process.stdout is not None
        process.stdout.readline()
        source.connect(path)
        process.stdout.readline()
        yield process, source
        process.kill()


async def test_the_end_of_a_connection_is_no_death(
    other: tuple[subprocess.Popen[bytes], socket.socket], until: Until
) -> None:
    process, source = other
    assert source.recv(1) == b""
    pid = find_pid(source)
    assert pid == process.pid
    descriptor = open_peer(source, pid)
    assert descriptor is not None
    dead: list[PeerProcess] = []
    peer = PeerProcess(pid, descriptor, dead.append)
    await asyncio.sleep(0)
    assert peer.alive
    assert not dead
    peer.kill()
    await until(lambda: dead)
    assert dead == [peer]
    assert not peer.alive
    assert process.wait(5) == -signal.SIGKILL
    peer.kill()  # of nobody


async def test_what_is_forgotten_is_not_told(
    other: tuple[subprocess.Popen[bytes], socket.socket],
) -> None:
    process, source = other
    descriptor = open_peer(source, process.pid)
    assert descriptor is not None
    dead: list[PeerProcess] = []
    peer = PeerProcess(process.pid, descriptor, dead.append)
    peer.forget()
    peer.forget()
    process.kill()
    process.wait(5)
    await asyncio.sleep(0)
    assert not dead


def test_who_is_dead_already_is_known(
    other: tuple[subprocess.Popen[bytes], socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    process, source = other
    process.kill()
    process.wait(5)
    with_number = monkeypatch.context
    with with_number() as patch:
        patch.setattr(peerprocess, "SO_PEERPIDFD", 9999)
        with pytest.raises(ProcessLookupError):
            open_peer(source, process.pid)


def test_an_old_kernel_is_asked_by_the_number(
    other: tuple[subprocess.Popen[bytes], socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    process, source = other
    monkeypatch.setattr(peerprocess, "SO_PEERPIDFD", 9999)
    descriptor = open_peer(source, process.pid)
    assert descriptor is not None
    os.close(descriptor)
    assert open_peer(source, 0) is None


PIDFDS = (6, 9)
"""The kernel from which on each process has an inode of its own for its pidfds."""


def test_pidfds_of_one_process_are_told_from_those_of_another(
    other: tuple[subprocess.Popen[bytes], socket.socket],
) -> None:
    """Whatever number it has here; nothing is told where the kernel has nothing to tell."""
    process, _ = other
    descriptors = [os.pidfd_open(one) for one in (process.pid, process.pid, os.getpid())]
    first, again, another = map(identify, descriptors)
    for one in descriptors:
        os.close(one)
    release = tuple(map(int, os.uname().release.split(".")[:2]))
    assert bool(first) is (release >= PIDFDS)
    assert first == again
    assert (first != another) is bool(first)


async def test_who_has_a_number_again_is_not_the_one_before(
    other: tuple[subprocess.Popen[bytes], socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    process, _ = other
    descriptor = os.pidfd_open(process.pid)
    monkeypatch.setattr(peerprocess, "identify", lambda found: 1 if found == descriptor else 2)
    peer = PeerProcess(process.pid, descriptor, lambda _one: None)
    assert peer.is_at(process.pid, descriptor)
    assert not peer.is_at(process.pid, descriptor + 1)
    assert peer.is_at(process.pid, None)
    assert not peer.is_at(0, None)
    peer.forget()


async def test_without_a_pidfd_a_death_is_seen_by_the_number(
    other: tuple[subprocess.Popen[bytes], socket.socket],
    until: Until,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A dead process that nobody has buried yet is dead as well."""
    process, _ = other
    looks: list[int] = []

    def note(pid: int) -> ProcessStat | None:
        looks.append(pid)
        return read_stat(pid)

    monkeypatch.setattr(peerprocess, "read_stat", note)
    dead: list[NumberedProcess] = []
    peer = NumberedProcess(process.pid, dead.append)
    with pytest.raises(OSError, match=f"no pidfd of process {process.pid}"):
        peer.kill()
    await until(lambda: len(looks) > 2)
    assert not dead
    process.kill()
    await until(lambda: dead)
    assert dead == [peer]
    peer.forget()


@pytest.mark.parametrize(
    ("error", "gone"), [(ProcessLookupError, True), (PermissionError, False), (None, False)]
)
async def test_one_that_proc_hides_is_not_dead(
    monkeypatch: pytest.MonkeyPatch, until: Until, error: type[OSError] | None, gone: bool
) -> None:
    looks: list[int] = []

    def kill(pid: int, _number: int) -> None:
        looks.append(pid)
        if error is not None:
            raise error

    monkeypatch.setattr(peerprocess, "read_stat", lambda _pid: None)
    monkeypatch.setattr(peerprocess, "LOOK_EVERY", 0.001)
    monkeypatch.setattr(os, "kill", kill)
    dead: list[NumberedProcess] = []
    peer = NumberedProcess(77, dead.append)
    await until(lambda: dead if gone else len(looks) > 1)
    peer.forget()
    assert bool(dead) is gone


async def test_another_process_of_its_number_is_not_it(
    monkeypatch: pytest.MonkeyPatch, until: Until
) -> None:
    begun = iter([5, 5, 6])
    monkeypatch.setattr(
        peerprocess, "read_stat", lambda _: ProcessStat("openvpn", "S", 1, next(begun))
    )
    monkeypatch.setattr(peerprocess, "LOOK_EVERY", 0.001)
    dead: list[NumberedProcess] = []
    NumberedProcess(77, dead.append)
    await until(lambda: dead)
    assert next(begun, None) is None


def test_a_name_may_be_of_any_bytes() -> None:
    """Whoever looks at all processes must not fail at one of them."""
    rename = r"open('/proc/self/comm', 'wb').write(b'\xff)'); print(flush=True); input()"
    command = [sys.executable, "-c", rename]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        seen = read_stat(process.pid)
        process.communicate(b"\n")
    assert seen is not None
    assert (seen.name, seen.parent) == ("\ufffd)", os.getpid())
    assert read_stat(process.pid) is None


def test_of_two_processes_it_is_known_which_is_older() -> None:
    tick = 1 / os.sysconf("SC_CLK_TCK")
    begun = time.clock_gettime(time.CLOCK_BOOTTIME)
    wait_until(lambda: time.clock_gettime(time.CLOCK_BOOTTIME) > begun + 2 * tick, "a tick", 10.0)
    with subprocess.Popen(["sleep", "600"]) as young:
        assert is_older(os.getpid(), young.pid)
        assert not is_older(young.pid)
        young.kill()
    assert not is_older(young.pid)
    assert not is_older(0)
