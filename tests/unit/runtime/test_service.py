from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from ovpnha.runtime.service import ServiceManager
from tests.unit.runtime.shortage import no_descriptors


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.bind(str(tmp_path / "notify"))
        one.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.delenv("WATCHDOG_USEC", raising=False)
        yield one


def heard(manager: socket.socket) -> list[bytes]:
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(manager.recv(4096))
    return found


def test_what_is_told(manager: socket.socket) -> None:
    service = ServiceManager()
    service.ready("running")
    service.status("udp: master")
    service.stopping()
    assert heard(manager) == [b"READY=1\nSTATUS=running", b"STATUS=udp: master", b"STOPPING=1"]


async def test_the_watchdog_is_fed(
    manager: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
    until: Callable[[Callable[[], object]], Coroutine[Any, Any, None]],
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "60000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    service = ServiceManager()
    task = asyncio.create_task(service.run())
    fed: list[bytes] = []

    def enough() -> bool:
        fed.extend(heard(manager))
        return len(fed) >= 3

    await until(enough)
    task.cancel()
    assert set(fed) == {b"WATCHDOG=1"}


async def test_the_watchdog_of_another_process_is_not_ours(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "60000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    service = ServiceManager()
    await service.run()
    assert not heard(manager)


async def test_without_a_service_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    service = ServiceManager()
    service.ready("running")
    await service.run()


async def test_a_service_manager_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "none"))
    ServiceManager().ready("running")


async def test_nothing_fails_for_want_of_a_descriptor(manager: socket.socket) -> None:
    """The status is told in the step that promotes a node."""
    service = ServiceManager()
    with no_descriptors():
        service.status("udp: master")
    assert not heard(manager)
    service.status("udp: standby")
    assert heard(manager) == [b"STATUS=udp: standby"]
