"""A configuration, and a daemon that answers."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ovpnha.runtime.control import ControlError, ControlServer, Request, is_alive
from tests.unit.cli.answers import CHANGE, CONNECTED, EVENT, STATUS

CONFIG = """
[cluster]
name = "office"
node = "a"
key_file = "{directory}/cluster.key"

[bcn]
links = [{{ interface = "bcn0" }}]

[[instance]]
name = "udp"
management = "{directory}/udp.sock"
vip = "192.0.2.10"

[control]
socket = "{directory}/control.sock"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "ovpnha.toml"
    path.write_text(CONFIG.format(directory=tmp_path))
    return path


@pytest.fixture
def told_role() -> list[str]:
    """The role that the daemon answers with; a test may change it."""
    return ["master"]


@pytest.fixture
def daemon(tmp_path: Path, told_role: list[str]) -> Iterator[list[Request]]:
    """A control socket whose daemon answers with ``STATUS`` or refuses."""
    asked: list[Request] = []

    async def answer(request: Request) -> dict[str, Any]:
        asked.append(request)
        if request.command == "status":
            return {"status": STATUS}
        if request.command == "events":
            return {"events": [EVENT]}
        if request.command == "history":
            return {"node": "a", "entries": [CHANGE]}
        if request.command == "demote":
            if request.instance == "udp6":
                return {
                    "instance": "udp6",
                    "role": "standby",
                    "epoch": "7/b",
                    "note": "b is master",
                }
            raise ControlError("udp: this node has the VIP; move it away first, then demote")
        if request.command == "hand-over":
            left = {"instance": "udp", "role": "standby", "good": True, "note": "b is master"}
            bad = {**left, "role": "master", "good": False, "note": "no other node is in sync"}
            return {"left": {None: [left], 77: [bad]}.get(request.pid, [])}
        if request.command == "guard":
            code, text = (0, "leave: b") if request.leave else (3, "taken: b has it")
            return {"instance": "udp", "code": code, "text": text}
        if request.command == "renegotiate":
            return {"instance": "udp", "clients": 1 if request.uid else 3}
        if request.command == "clients":
            return {"instance": "udp", "role": told_role[0], "clients": CONNECTED}
        return {"instance": "udp", "role": "master", "epoch": "8/a"}

    loop = asyncio.new_event_loop()
    task = loop.create_task(ControlServer(tmp_path / "control.sock", answer).run())

    def serve() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(task)

    thread = threading.Thread(target=serve)
    thread.start()
    deadline = time.monotonic() + 10.0
    while not is_alive(tmp_path / "control.sock"):
        assert time.monotonic() < deadline
    yield asked
    loop.call_soon_threadsafe(task.cancel)
    thread.join()
    loop.close()
