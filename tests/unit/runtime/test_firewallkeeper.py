"""The keeper of our table: what it cannot do it says once, and goes on."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import structlog.testing

from ovpnha.config import Config, parse_config
from ovpnha.firewall.findings import LIBERAL
from ovpnha.runtime import firewall, firewallkeeper
from ovpnha.runtime.firewallkeeper import FirewallKeeper
from tests.lab.waiting import wait_until

DEADLINE = 10.0
Until = Callable[[Callable[[], object]], Coroutine[Any, Any, None]]


def config(more: str, directory: Path = Path("/nonexistent")) -> Config:
    return parse_config(
        f"""
[cluster]
name = "office"
[control]
socket = "{directory}/control.sock"
[[instance]]
name = "udp"
management = "/run/openvpn-server/udp.sock"
server_config = "/nonexistent/udp.conf"
[firewall]
{more}
""",
        "f",
    )


MANAGED = """
manage = true
networks = ["10.8.0.0/24"]
snat = [{ interface = "lan0", vip = "10.99.2.10" }]
"""


@pytest.fixture
def nft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that says what it was asked, and that there is no table."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(firewall, "SYSCTLS", tmp_path)
    monkeypatch.setattr(firewallkeeper, "PAUSE", 0.01)
    monkeypatch.setattr(firewallkeeper, "LOOK_INTERVAL", 0.01)
    monkeypatch.setattr(firewallkeeper, "_open_monitor", _silence)
    calls = tmp_path / "calls"
    program = tmp_path / "nft"
    program.write_text(f'#!/bin/sh\necho "$@" >>{calls}\n')
    program.chmod(0o755)
    return calls


@pytest.fixture
def tunable(tmp_path: Path) -> Path:
    path = tmp_path / LIBERAL.replace(".", "/")
    path.parent.mkdir(parents=True)
    path.write_text("0\n")
    return path


def _silence() -> socket.socket:
    """A socket to which nobody writes."""
    return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)


def said(calls: Path) -> list[str]:
    """What the program was asked so far."""
    return calls.read_text().splitlines() if calls.exists() else []


async def keep(made: Config, enough: Path, times: int) -> list[dict[str, object]]:
    """Run the keeper until the program was called so often."""
    with structlog.testing.capture_logs() as logs:
        task = asyncio.create_task(FirewallKeeper(made).run())
        await asyncio.to_thread(
            wait_until,
            lambda: len(said(enough)) >= times,
            "calls of nft",
            DEADLINE,
        )
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    return [dict(line) for line in logs]


async def test_nothing_is_done_unasked(nft: Path) -> None:
    await FirewallKeeper(config("")).run()
    assert said(nft) == []


async def test_what_is_not_known_is_said(nft: Path) -> None:
    with structlog.testing.capture_logs() as logs:
        await FirewallKeeper(config(MANAGED.replace("networks", "# "))).run()
    assert [line["event"] for line in logs] == ["firewall not set"]
    assert said(nft) == []


async def test_a_tunable_that_cannot_be_set_is_said_once_and_the_table_is_kept(nft: Path) -> None:
    logs = await keep(config(MANAGED), nft, 8)
    assert [line["event"] for line in logs] == ["firewall set", "firewall not set"]
    assert said(nft).count("-f -") == 1


async def test_all_is_well(nft: Path, tunable: Path) -> None:
    logs = await keep(config(MANAGED, nft.parent), nft, 8)
    assert [line["event"] for line in logs] == ["firewall set"]
    assert said(tunable) == ["1"]
    assert firewall.read_note(nft.parent) == 0


@pytest.mark.usefixtures("tunable")
async def test_where_no_change_is_heard_it_looks_all_the_same(
    nft: Path, monkeypatch: pytest.MonkeyPatch, until: Until
) -> None:
    def refused() -> socket.socket:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(firewallkeeper, "_open_monitor", refused)
    running = asyncio.create_task(FirewallKeeper(config(MANAGED, nft.parent)).run())
    await until(lambda: nft.exists() and nft.read_text().count("list table") > 4)
    running.cancel()
