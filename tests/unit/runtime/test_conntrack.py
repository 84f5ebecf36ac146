"""The one who talks to conntrackd, and a conntrackd that takes notes."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from ovpnha.config import Config, parse_config
from ovpnha.model import NO_EPOCH, InstanceName, Role
from ovpnha.node.outputs import RoleChanged
from ovpnha.node.tracking import SETTLE, Order
from ovpnha.runtime import conntrackd
from ovpnha.runtime.conntrack import ConntrackKeeper
from ovpnha.runtime.conntrackd import NUMBERS, STATISTICS, ConntrackdError, parse_statistics

Until = Callable[[Callable[[], object]], Coroutine[Any, Any, None]]
# As conntrackd 1.4.7 says it.
TEXT = """cache internal:
current active connections:\t           4
connections created:\t\t           9\tfailed:\t           1
connections updated:\t\t           8\tfailed:\t           0
connections destroyed:\t\t           5\tfailed:\t           0

external inject:
connections created:\t\t          77\tfailed:\t           2
connections updated:\t\t          66\tfailed:\t           3
connections destroyed:\t\t          55\tfailed:\t           0

traffic processed:
                   0 Bytes                         0 Pckts

multicast traffic (active device=bcn0):
                 552 Bytes sent                    0 Bytes recv
                  24 Pckts sent                    0 Pckts recv
                   0 Error send                    0 Error recv

message tracking:
                   6 Malformed msgs                    7 Lost msgs

"""


class Fake:
    """A conntrackd that writes down its orders and tells ``text``."""

    def __init__(self) -> None:
        self.orders: list[Order] = []
        self.looks = 0
        self.text = TEXT

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = struct.unpack("=i", await reader.readexactly(4))[0]
        if number == STATISTICS:
            self.looks += 1
            writer.write(self.text.encode())
        else:
            self.orders.append(next(one for one, other in NUMBERS.items() if other == number))
        writer.close()


@pytest.fixture
def config(tmp_path: Path) -> Config:
    text = f"""
[cluster]
name = "office"

[[instance]]
name = "udp"
management = "/run/openvpn.sock"

[conntrack]
manager = "conntrackd"
flows = ["10.8.0.0/24"]
socket = "{tmp_path}/ctl"
"""
    return parse_config(text, "f", node="a")


@contextlib.asynccontextmanager
async def listening(config: Config) -> AsyncIterator[Fake]:
    fake = Fake()
    server = await asyncio.start_unix_server(fake.answer, config.conntrack.socket)
    async with server:
        yield fake
    config.conntrack.socket.unlink(missing_ok=True)


class Clock:
    """Any time at all."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@contextlib.asynccontextmanager
async def running(config: Config, clock: Clock) -> AsyncIterator[ConntrackKeeper]:
    keeper = ConntrackKeeper(config, clock)
    task = asyncio.create_task(keeper.run())
    try:
        yield keeper
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def become(keeper: ConntrackKeeper, role: Role) -> None:
    keeper.role_changed(RoleChanged(InstanceName("udp"), Role.INIT, role, NO_EPOCH, "why"))


async def test_a_promotion_is_told_later_and_in_order(config: Config, until: Until) -> None:
    clock = Clock()
    async with listening(config) as fake, running(config, clock) as keeper:
        await until(lambda: keeper.figures().told == 4)
        become(keeper, Role.MASTER)
        clock.now += SETTLE
        become(keeper, Role.MASTER)  # wakes it
        await until(lambda: len(fake.orders) == 2)
        assert fake.orders == [Order.FILL, Order.TELL]
        await until(lambda: keeper.figures().orders["tell"] == 1)
        assert keeper.figures().seconds.keys() == {"fill", "tell"}


async def test_while_a_promotion_is_under_way_conntrackd_is_not_even_looked_at(
    config: Config, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ovpnha.runtime.conntrack.LOOK", 0.0)
    clock = Clock()
    async with listening(config) as fake, running(config, clock) as keeper:
        await until(lambda: fake.looks > 2)
        become(keeper, Role.MASTER)
        await until(lambda: keeper._tracking.quiet_until() > clock.now)
        before = fake.looks
        for _ in range(50):
            await asyncio.sleep(0)
        assert fake.looks <= before + 1  # one may have been under way
        assert fake.orders == []


async def test_a_demotion(config: Config, until: Until) -> None:
    clock = Clock()
    async with listening(config) as fake, running(config, clock) as keeper:
        become(keeper, Role.STANDBY)
        clock.now += SETTLE
        await until(lambda: len(fake.orders) >= 2)
        assert fake.orders[:2] == [Order.FORGET, Order.ASK]


async def test_its_figures(config: Config, until: Until) -> None:
    async with listening(config), running(config, Clock()) as keeper:
        await until(lambda: keeper.figures().told == 4)
        found = keeper.figures()
        assert found.problem == ""
        assert found.injected == {"created": 77, "updated": 66, "destroyed": 55}
        failed = {"created": 2, "updated": 3, "destroyed": 0}
        assert found.errors == {**failed, "lost": 7, "malformed": 6, "order": 0}
        assert found.orders == dict.fromkeys(("fill", "tell", "forget", "ask"), 0)


async def test_its_counts_go_on_when_it_is_started_again(config: Config) -> None:
    keeper = ConntrackKeeper(config, Clock())
    async with listening(config) as fake:
        await keeper._look()
        assert keeper.figures().injected["created"] == 77
        fake.text = TEXT.replace("77", "3").replace("7 Lost", "1 Lost")
        await keeper._look()
    found = keeper.figures()
    assert (found.injected["created"], found.injected["updated"]) == (80, 66)
    assert (found.errors["lost"], found.errors["malformed"]) == (8, 6)


async def test_an_answer_in_parts_is_read_to_its_end(config: Config) -> None:
    """conntrackd writes each part by itself, and a busy machine runs us in between."""
    asked: list[asyncio.Task[str]] = []

    async def hesitate(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(4)
        writer.write(TEXT[:100].encode())
        await writer.drain()
        await asyncio.wait(asked, timeout=0.1)
        writer.write(TEXT[100:].encode())
        writer.close()

    path = config.conntrack.socket
    async with await asyncio.start_unix_server(hesitate, path):
        asked.append(asyncio.create_task(conntrackd.ask(path, STATISTICS)))
        assert await asked[0] == TEXT


async def test_one_that_does_not_run_is_a_problem_until_it_does(
    config: Config, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ovpnha.runtime.conntrack.LOOK", 0.05)
    async with running(config, Clock()) as keeper:
        await until(lambda: "conntrackd does not run" in keeper.figures().problem)
        async with listening(config):
            await until(lambda: keeper.figures().problem == "")
        await until(lambda: "conntrackd does not run" in keeper.figures().problem)


async def test_one_with_another_configuration(config: Config, until: Until) -> None:
    async with listening(config) as fake, running(config, Clock()) as keeper:
        fake.text = "cache:stats\n"
        await until(lambda: "ovpnha conntrackd-config" in keeper.figures().problem)


async def test_an_order_that_is_not_taken_is_counted(
    config: Config, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conntrackd, "ANSWER_SECONDS", 0.5)

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if struct.unpack("=i", await reader.readexactly(4))[0] == STATISTICS:
            writer.write(TEXT.encode())
        else:
            await reader.read()  # until nobody waits any more
        writer.close()

    clock = Clock()
    server = await asyncio.start_unix_server(hang, config.conntrack.socket)
    async with server, running(config, clock) as keeper:
        become(keeper, Role.MASTER)
        clock.now += 1.0
        await until(lambda: keeper.figures().errors["order"] == 1)
        assert "does not answer" in keeper.figures().problem


@pytest.mark.parametrize(
    ("mode", "says"), [(0o000, "conntrackd.service.d/ovpnha.conf"), (None, "systemctl status")]
)
async def test_why_it_cannot_be_asked(
    config: Config, mode: int | None, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    if mode is not None:  # root may do all
        monkeypatch.setattr(asyncio, "open_unix_connection", refuse)
    with pytest.raises(ConntrackdError, match=says):
        await conntrackd.ask(config.conntrack.socket, STATISTICS)


async def test_any_other_trouble_has_the_system_s_word(config: Config) -> None:
    with pytest.raises(ConntrackdError, match=r"cannot be asked"):
        await conntrackd.ask(config.conntrack.socket.parent / ("x" * 300), STATISTICS)


def test_the_counters_of_each_section_are_kept_apart() -> None:
    found = parse_statistics(TEXT)
    assert (found.told, found.injected["created"], found.failed["updated"]) == (4, 77, 3)
    assert (found.malformed, found.lost) == (6, 7)


def test_without_an_external_cache_switched_off_it_is_refused() -> None:
    with pytest.raises(ConntrackdError, match="another configuration"):
        parse_statistics(TEXT.replace("external inject", "cache external"))
