from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ConfigDict, TypeAdapter

from ovpnha.runtime import control, unixlisteners
from ovpnha.runtime.control import (
    CONNECTIONS_LIMIT,
    ControlError,
    ControlServer,
    DemoteRequest,
    PromoteRequest,
    Request,
    StatusRequest,
    ask_plain,
)
from ovpnha.runtime.sockdiag import SocketAddress


async def answer(request: Request) -> dict[str, Any]:
    if isinstance(request, DemoteRequest):
        raise ControlError("udp: this node has the VIP")
    return {"seen": request.model_dump()}


def can_connect(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
        probe.connect(str(path))
        return True
    return False


@contextlib.asynccontextmanager
async def serving(path: Path) -> AsyncIterator[None]:
    task = asyncio.create_task(ControlServer(path, answer).run())
    try:
        async with asyncio.timeout(5):
            while not can_connect(path) and not task.done():  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0.001)
        if task.done():
            await task
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, ControlError):
            await task


async def send(path: Path, data: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(path))
    try:
        writer.write(data)
        writer.write_eof()
        return await reader.read()
    finally:
        writer.close()


async def test_a_request_and_its_answer(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    async with serving(path):
        assert path.stat().st_mode & 0o777 == 0o660
        request = PromoteRequest(instance="udp", expect_vip=0.5)
        given = await asyncio.to_thread(ask_plain, path, request, 5.0)
        assert given["seen"] == {
            "command": "promote",
            "instance": "udp",
            "expect_vip": 0.5,
            "unfenced": False,
        }
    assert not path.exists()


async def test_a_refusal_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    async with serving(path):
        with pytest.raises(ControlError, match="this node has the VIP"):
            await asyncio.to_thread(ask_plain, path, DemoteRequest(), 5.0)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"\n", "Invalid JSON"),
        (b"{}\n", "discriminator"),
        (b'{"command": "elect"}\n', "elect"),
        (b'{"command": "promote", "expect_vip": -1}\n', "greater than or equal"),
        (b'{"command": "promote", "force": true}\n', "Extra inputs"),
        (b'{"command": "renegotiate", "uid": "xyz"}\n', "pattern"),
        (b"\xff\xfe\n", "Invalid JSON"),
    ],
)
async def test_nonsense_is_answered_and_disturbs_nothing(
    tmp_path: Path, line: bytes, says: str
) -> None:
    path = tmp_path / "control.sock"
    async with serving(path):
        given = await send(path, line)
        assert b'"ok": false' in given
        assert says.encode() in given
        assert (await asyncio.to_thread(ask_plain, path, StatusRequest(), 5.0))["ok"]


async def test_a_line_without_end_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    async with serving(path):
        assert await send(path, b"x" * 100_000) == b""
        assert (await asyncio.to_thread(ask_plain, path, StatusRequest(), 5.0))["ok"]


async def test_however_many_wait_idle_one_that_asks_is_answered(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    async with serving(path):
        idle = [await asyncio.open_unix_connection(str(path)) for _ in range(CONNECTIONS_LIMIT + 4)]
        assert (await asyncio.to_thread(ask_plain, path, StatusRequest(), 5.0))["ok"]
        for _, writer in idle:
            writer.close()


async def test_one_answer_in_a_turn_of_the_loop(tmp_path: Path) -> None:
    """One who asks a lot, and reads nothing, delays what else the loop does by one answer."""
    path = tmp_path / "control.sock"
    loop = asyncio.get_running_loop()
    turn, turns = 0, []
    asked = asyncio.Event()

    def tick() -> None:
        nonlocal turn
        turn += 1
        loop.call_soon(tick)

    async def count(_request: Request) -> dict[str, Any]:
        turns.append(turn)
        if len(turns) == 60:
            asked.set()
        return {"big": "x" * 100_000}

    server = asyncio.create_task(ControlServer(path, count).run())
    async with asyncio.timeout(10):
        while not can_connect(path):  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.001)
        tick()
        greedy = [await asyncio.open_unix_connection(str(path)) for _ in range(12)]
        for _, writer in greedy:
            writer.write(b'{"command": "status"}\n' * 5)
        readers = [asyncio.create_task(reader.read()) for reader, _ in greedy]
        await asked.wait()
    assert len(set(turns)) == len(turns)
    for task in (*readers, server):
        task.cancel()
    for _, writer in greedy:
        writer.close()
    await asyncio.gather(*readers, server, return_exceptions=True)


async def test_the_socket_of_a_dead_daemon_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with serving(path):
        assert (await asyncio.to_thread(ask_plain, path, StatusRequest(), 5.0))["ok"]


async def test_the_socket_of_a_live_daemon_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    async with serving(path):
        with pytest.raises(ControlError, match="another ovpnha is running"):
            await ControlServer(path, answer).run()
        assert (await asyncio.to_thread(ask_plain, path, StatusRequest(), 5.0))["ok"]


def test_what_reads_requests_is_made_before_the_first_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes long, and who asks first may be the VIP manager in the middle of a failover."""
    adapter = TypeAdapter(Request, config=ConfigDict(defer_build=True))
    monkeypatch.setattr(control, "_REQUESTS", adapter)
    server = ControlServer(tmp_path / "control.sock", answer)
    assert not adapter.pydantic_complete
    server.bind()
    assert adapter.pydantic_complete
    assert adapter.validate_json(b'{"command": "status"}') == StatusRequest()
    assert server._socket is not None
    server._socket.close()


@pytest.mark.parametrize("lost", [False, True])
async def test_a_daemon_that_hangs_or_has_lost_its_path_is_alive(
    tmp_path: Path, *, lost: bool
) -> None:
    """No more may wait for it, or somebody has removed what it had bound."""
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as hung, socket.socket(socket.AF_UNIX) as waiting:
        hung.bind(str(path))
        hung.listen(0)
        waiting.connect(str(path))
        if lost:
            path.unlink()
        with pytest.raises(ControlError, match="another ovpnha is running"):
            ControlServer(path, answer).bind()
        assert path.exists() is not lost


@pytest.mark.parametrize("told", [True, False])
async def test_a_daemon_at_another_file_of_the_same_path_is_in_nobodys_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, told: bool
) -> None:
    """That of another cluster, in a container on the same network with a ``/run`` of its own."""
    path = tmp_path / "control.sock"
    other = SocketAddress(str(path), 1 if told else None)
    monkeypatch.setattr(unixlisteners, "dump_listeners", lambda: [other])
    async with serving(path):
        assert path.exists()


def test_a_daemon_that_does_not_run(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="ovpnha does not run here; start it first"):
        ask_plain(tmp_path / "none.sock", StatusRequest(), 1.0)


def test_a_daemon_that_does_not_answer(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "s"))
        silent.listen()
        with pytest.raises(ControlError, match=r"no answer within 0\.05 s"):
            ask_plain(tmp_path / "s", StatusRequest(), 0.05)
