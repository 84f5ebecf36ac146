"""The shells that touch the network, alone, in namespaces: netlink and the BCN sockets."""

from __future__ import annotations

import asyncio
import os
import select
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field

import pytest
import structlog.testing

from ovpnha.config import BcnConfig
from ovpnha.runtime.bcn import BcnSockets
from ovpnha.runtime.netlink import NetlinkReader, NetworkWatcher, read_network
from ovpnha.runtime.network import NetworkTable
from tests.integration.pace import PATIENCE
from tests.lab.topology import inside
from tests.openvpn_status import make_status

pytestmark = pytest.mark.integration
DEADLINE = PATIENCE
PORT_OF_NOBODY = 9


@dataclass(frozen=True)
class Wire:
    """Two namespaces joined by ``bcn0``: 10.77.0.1 and 10.77.0.2."""

    a: str
    b: str

    def ip(self, namespace: str, *arguments: str) -> None:
        subprocess.run(["ip", "-n", namespace, *arguments], check=True, capture_output=True)


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire(f"ohan{os.getpid()}a", f"ohan{os.getpid()}b")
    try:
        for name in (made.a, made.b):
            subprocess.run(["ip", "netns", "add", name], check=True, capture_output=True)
        made.ip(
            *(made.a, "link", "add", "bcn0", "type", "veth", "peer", "name", "bcn0"),
            *("netns", made.b),
        )
        for number, name in ((1, made.a), (2, made.b)):
            made.ip(name, "addr", "add", f"10.77.0.{number}/24", "dev", "bcn0")
            made.ip(name, "addr", "add", f"fd77::{number}/64", "dev", "bcn0", "nodad")
            made.ip(name, "link", "set", "bcn0", "up")
        carries(made.a, made.b)
        carries(made.b, made.a)
        yield made
    finally:
        for name in (made.a, made.b):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def reader_in(namespace: str) -> NetlinkReader:
    with inside(namespace):
        return NetlinkReader()


def read_until(reader: NetlinkReader, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not (reader.complete and holds()):
        assert time.monotonic() < deadline
        if select.select([reader], [], [], 0.1)[0]:
            reader.read()


def carries(sender: str, receiver: str) -> None:
    """Wait for a datagram that arrives: what is sent right after *up* is dropped in silence."""
    with inside(receiver):
        ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with inside(sender):
        mouth = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with ear, mouth:
        mouth.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        ear.bind(("", PORT_OF_NOBODY))
        deadline = time.monotonic() + DEADLINE
        while not select.select([ear], [], [], 0.02)[0]:
            assert time.monotonic() < deadline, f"nothing goes from {sender} to {receiver}"
            mouth.sendto(b"are you there", ("10.77.0.255", PORT_OF_NOBODY))


def test_the_first_table_is_complete(wire: Wire) -> None:
    with inside(wire.a):
        table = read_network()
    assert table.has_address("10.77.0.1", "bcn0")
    assert table.has_address("fd77::1", "bcn0")
    link = table.link("bcn0")
    assert link is not None
    assert link.up


def test_addresses_and_links_come_and_go(wire: Wire) -> None:
    reader = reader_in(wire.a)
    read_until(reader, lambda: True)
    wire.ip(wire.a, "addr", "add", "192.0.2.10/32", "dev", "bcn0")
    read_until(reader, lambda: reader.table.has_address("192.0.2.10"))
    wire.ip(wire.a, "addr", "del", "192.0.2.10/32", "dev", "bcn0")
    read_until(reader, lambda: not reader.table.has_address("192.0.2.10"))
    wire.ip(wire.b, "link", "set", "bcn0", "down")  # the other end: we lose the carrier
    read_until(reader, lambda: not is_up(reader.table))
    wire.ip(wire.b, "link", "set", "bcn0", "up")
    read_until(reader, lambda: is_up(reader.table))
    wire.ip(wire.a, "link", "del", "bcn0")
    read_until(reader, lambda: reader.table.link("bcn0") is None)
    assert not reader.table.has_address("10.77.0.1")
    reader.close()


def is_up(table: NetworkTable) -> bool:
    link = table.link("bcn0")
    return link is not None and link.up


def test_an_ipv6_address_counts_when_it_is_no_longer_tentative(wire: Wire) -> None:
    reader = reader_in(wire.a)
    read_until(reader, lambda: True)
    begin = time.monotonic()
    wire.ip(wire.a, "addr", "add", "2001:db8::10/128", "dev", "bcn0")
    read_until(reader, lambda: reader.table.has_address("2001:db8::10"))
    assert time.monotonic() - begin > 0.2  # duplicate address detection takes its time
    reader.close()


def test_a_duplicate_ipv6_address_never_counts(wire: Wire) -> None:
    wire.ip(wire.b, "addr", "add", "2001:db8::10/64", "dev", "bcn0", "nodad")
    reader = reader_in(wire.a)
    read_until(reader, lambda: True)
    wire.ip(wire.a, "addr", "add", "2001:db8::10/64", "dev", "bcn0")
    wire.ip(wire.a, "addr", "add", "2001:db8::11/64", "dev", "bcn0")
    read_until(reader, lambda: reader.table.has_address("2001:db8::11"))
    assert not reader.table.has_address("2001:db8::10")
    reader.close()


@pytest.mark.parametrize("begin", [0, 1])
def test_lost_events_are_found_by_a_full_dump(wire: Wire, begin: int) -> None:
    """Whether the last event before the loss was of an address that came, or of one that left."""
    reader = reader_in(wire.a)
    read_until(reader, lambda: True)
    earlier = ["addr add 10.9.9.8/32 dev bcn0\n"] * begin
    batch = earlier + [f"addr {verb} 10.9.9.9/32 dev bcn0\n" for verb in ("add", "del")] * 3000
    subprocess.run(
        ["ip", "-n", wire.a, "-batch", "-"],
        input="".join([*batch, "addr add 192.0.2.10/32 dev bcn0\n"]),
        text=True,
        check=True,
        capture_output=True,
    )
    with structlog.testing.capture_logs() as entries:
        read_until(reader, lambda: reader.table.has_address("192.0.2.10"))
    assert "netlink events lost" in [entry["event"] for entry in entries]
    assert not reader.table.has_address("10.9.9.9")
    assert reader.table.has_address("10.77.0.1")
    reader.close()


def wait_link_local(namespace: str) -> None:
    """IPv6 multicast is sent from an address that must have passed duplicate detection."""
    reader = reader_in(namespace)
    read_until(
        reader,
        lambda: any(one.address.startswith("fe80") for one in reader.table.addresses("bcn0")),
    )
    reader.close()


async def test_the_watcher_calls_from_the_loop(wire: Wire) -> None:
    seen: list[bool] = []
    watcher = NetworkWatcher(lambda table: seen.append(table.has_address("192.0.2.10")))
    loop = asyncio.get_running_loop()
    with inside(wire.a):
        watcher.start(loop)
    async with asyncio.timeout(DEADLINE):
        while not seen:  # noqa: ASYNC110 - the callback is what is tested
            await asyncio.sleep(0.005)
        assert not any(seen)
        wire.ip(wire.a, "addr", "add", "192.0.2.10/32", "dev", "bcn0")
        while not any(seen):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    watcher.stop(loop)


@dataclass
class End:
    """BCN sockets in one namespace, and what they received."""

    wire: Wire
    namespace: str
    config: BcnConfig
    received: list[tuple[bytes, str]] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sockets = BcnSockets(self.config, self._take)

    def _take(self, batch: list[bytes], link: str) -> None:
        self.batches.append(len(batch))
        self.received += [(data, link) for data in batch]

    def refresh(self) -> dict[str, bool]:
        with inside(self.namespace):
            return dict(self.sockets.refresh(read_network()))


Make = Callable[..., tuple[End, End]]


@pytest.fixture
async def ends(wire: Wire) -> AsyncIterator[Make]:
    """``ends(**settings)`` makes both ends of the BCN."""
    made: list[End] = []

    def make(**settings: object) -> tuple[End, End]:
        config = BcnConfig.model_validate({"links": [{"interface": "bcn0"}]} | settings)
        made.extend(End(wire, namespace, config) for namespace in (wire.a, wire.b))
        return made[-2], made[-1]

    yield make
    for end in made:
        end.sockets.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def arrives(end: End, *expected: tuple[bytes, str], own: bytes = b"") -> None:
    """This comes and nothing else, but for what a broadcast brings back to its sender."""

    def heard() -> list[tuple[bytes, str]]:
        return [one for one in end.received if one[0] != own]

    await until(lambda: len(heard()) >= len(expected))
    assert heard() == list(expected)


MODES: dict[str, dict[str, object]] = {
    "broadcast": {},
    "broadcast, named": {"links": [{"interface": "bcn0", "address": "10.77.0.255"}]},
    "multicast": {"mode": "multicast"},
    "multicast IPv6": {
        "mode": "multicast",
        "links": [{"interface": "bcn0", "address": "ff02::6f76"}],
    },
    "unicast": {
        "mode": "unicast",
        "links": [{"interface": "bcn0", "nodes": ["10.77.0.1", "10.77.0.2"]}],
    },
    "unicast IPv6": {
        "mode": "unicast",
        "links": [{"interface": "bcn0", "nodes": ["fd77::1", "fd77::2"]}],
    },
}


@pytest.mark.parametrize("mode", MODES)
async def test_a_datagram_reaches_the_other_node(wire: Wire, ends: Make, mode: str) -> None:
    for namespace in (wire.a, wire.b):
        wait_link_local(namespace)
    a, b = ends(**MODES[mode])
    assert a.refresh() == b.refresh() == {"bcn0": True}
    a.sockets.send(b"hello")
    await arrives(b, (b"hello", "bcn0"))
    b.sockets.send(b"answer", "bcn0")
    b.sockets.send(b"never", "bcn1")
    await arrives(a, (b"answer", "bcn0"), own=b"hello")
    assert not a.sockets.failures()


async def test_what_openvpn_says_fills_the_gap(ends: Make) -> None:
    a, b = ends(links=[])
    place = {"local": "192.0.2.10", "port": 1194, "proto": "udp4"}
    status = make_status(**place, broadcast="10.77.0.255", bcn_port=11999)
    for end in (a, b):
        assert end.refresh() == {"bcn": False}
        end.sockets.openvpn_found(status)
        assert end.refresh() == {"bcn": True}
    a.sockets.send(b"hello")
    await arrives(b, (b"hello", "bcn"))


async def becomes(end: End, up: bool) -> None:
    """The kernel tells of a carrier a moment after it came or went."""
    await until(lambda: end.refresh() == {"bcn0": up})


async def test_a_link_follows_its_interface(wire: Wire, ends: Make) -> None:
    a, b = ends()
    assert a.refresh() == b.refresh() == {"bcn0": True}
    wire.ip(wire.b, "link", "set", "bcn0", "down")
    await becomes(a, up=False)
    wire.ip(wire.a, "link", "del", "bcn0")
    assert a.refresh() == b.refresh() == {"bcn0": False}
    a.sockets.send(b"nowhere")
    wire.ip(
        *(wire.a, "link", "add", "bcn0", "type", "veth", "peer", "name", "bcn0", "netns", wire.b)
    )
    for number, name in ((1, wire.a), (2, wire.b)):
        wire.ip(name, "addr", "add", f"10.77.0.{number}/24", "dev", "bcn0")
        wire.ip(name, "link", "set", "bcn0", "up")
    await becomes(a, up=True)
    await becomes(b, up=True)
    async with asyncio.timeout(DEADLINE):
        while not b.received:
            a.sockets.send(b"hello")  # lost until the kernel has begun to send there
            await asyncio.sleep(0.02)
    assert set(b.received) == {(b"hello", "bcn0")}


async def test_a_flood_does_not_keep_the_loop(wire: Wire, ends: Make) -> None:
    a, b = ends()
    a.refresh()
    b.refresh()
    count = 2000
    with inside(wire.a), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as source:
        for _ in range(count):
            source.sendto(b"junk", ("10.77.0.2", 11940))
    async with asyncio.timeout(DEADLINE):
        while len(b.received) < count:  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert max(b.batches) <= 32


@pytest.mark.usefixtures("wire")
async def test_what_does_not_begin_as_ours_is_never_read(ends: Make) -> None:
    a, b = ends()
    a.refresh()
    b.sockets.close()
    b.sockets = BcnSockets(b.config, b._take, prefix=b"twelve bytes")
    b.refresh()
    for data in (b"", b"short", b"twelve byteS", b"twelve Bytes", b"Twelve bytes", bytes(100)):
        a.sockets.send(data)
    a.sockets.send(b"twelve bytes and more")
    await arrives(b, (b"twelve bytes and more", "bcn0"))
    assert b.sockets.dropped() == 6
    assert a.sockets.dropped() == 0
    b.sockets.close()
    assert b.sockets.dropped() == 6, "a counter does not fall with its sockets"
    b.refresh()
    assert b.sockets.dropped() == 6


async def ends_with(end: End, data: bytes) -> None:
    await until(lambda: end.received[-1:] == [(data, "bcn0")])


def sealed_by(key: bytes, text: bytes) -> bytes:
    return b"twelve bytes\2\0\0\0" + key + text


@pytest.mark.usefixtures("wire")
async def test_few_under_another_key_are_read_and_all_under_ours(ends: Make) -> None:
    a, b = ends()
    a.refresh()
    b.sockets.close()
    b.sockets = BcnSockets(b.config, b._take, b"twelve bytes", (b"key1", b"key2"))
    b.refresh()
    for _ in range(400):
        a.sockets.send(sealed_by(b"key3", b"stranger"))
    a.sockets.send(b"twelve bytes\2\0\0\0key")  # ends within the number of the key
    for key in (b"key1", b"key2"):
        a.sockets.send(sealed_by(key, b"last"))
        await ends_with(b, sealed_by(key, b"last"))

    def read() -> int:
        return b.received.count((sealed_by(b"key3", b"stranger"), "bcn0"))

    await until(lambda: b.sockets.dropped() + read() >= 401)
    assert 50 <= read() <= 160, "one in four, at random"
    assert b.sockets.dropped() + read() == 401
    b.sockets.use_keys((b"key3",))
    for number in range(100):
        a.sockets.send(sealed_by(b"key3", b"%d" % number))
        await ends_with(b, sealed_by(b"key3", b"%d" % number))
    b.sockets.close()


async def test_a_datagram_that_is_too_long_shows_it(ends: Make) -> None:
    a, b = ends()
    a.refresh()
    b.refresh()
    a.sockets.send(bytes(9000))
    async with asyncio.timeout(DEADLINE):
        while not b.received:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    assert len(b.received[0][0]) > 1200
