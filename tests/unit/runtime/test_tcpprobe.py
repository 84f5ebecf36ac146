"""The segment by which a client over TCP learns that its server is gone: its bytes, its pace."""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from ovpnha.model import InstanceName
from ovpnha.node.outputs import ProbeClients
from ovpnha.runtime import tcpprobe
from ovpnha.runtime.checksum import checksum
from ovpnha.runtime.tcpprobe import BATCH, ProbeSender, make_packets

Until = Callable[[Callable[[], object]], Coroutine[Any, Any, None]]


def wanted(*clients: str, vip: str = "192.0.2.10") -> ProbeClients:
    return ProbeClients(InstanceName("tcp"), vip, 1194, clients)


class Raw:
    """A raw socket that notes what is sent, and fails as it is told to."""

    def __init__(self, sent: list[str], failure: OSError | None) -> None:
        self._sent = sent
        self._failure = failure

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def setblocking(self, _flag: bool) -> None:
        pass

    def sendto(self, _packet: bytes, place: tuple[str, int]) -> None:
        if self._failure is not None:
            raise self._failure
        self._sent.append(place[0])


def make(
    monkeypatch: pytest.MonkeyPatch, failure: OSError | None = None
) -> tuple[ProbeSender, list[str], list[str]]:
    sent: list[str] = []
    told: list[str] = []

    def open_raw(*_: Any) -> Raw:
        return Raw(sent, failure)

    monkeypatch.setattr("ovpnha.runtime.tcpprobe.socket.socket", open_raw)
    return ProbeSender(told.append), sent, told


def test_the_segment_is_a_bare_ack_of_that_connection() -> None:
    ((packet, address),) = make_packets(wanted("198.51.100.7:40001"))
    assert address == "198.51.100.7"
    assert len(packet) == 40
    assert packet[9] == socket.IPPROTO_TCP
    assert packet[12:20] == socket.inet_aton("192.0.2.10") + socket.inet_aton(address)
    source, target, *_numbers, offset, flags = struct.unpack("!HHLLBB", packet[20:34])
    assert (source, target, offset, flags) == (1194, 40001, 5 << 4, 0x10)
    pseudo = packet[12:20] + struct.pack("!HH", socket.IPPROTO_TCP, 20)
    assert checksum(pseudo + packet[20:]) == 0


def test_its_numbers_are_others_each_time() -> None:
    packets = {packet for packet, _ in make_packets(wanted(*["198.51.100.7:40001"] * 9))}
    assert len(packets) == 9


@pytest.mark.parametrize(
    "client", ["", "2001:db8::1", "198.51.100.7", "198.51.100.7:x", "198.51.100.7:70000", "a:1"]
)
def test_who_has_no_address_with_a_port_is_left_out(client: str) -> None:
    assert list(make_packets(wanted(client, "198.51.100.7:1"))) != []
    assert list(make_packets(wanted(client))) == []


async def test_many_are_told_in_batches(monkeypatch: pytest.MonkeyPatch, until: Until) -> None:
    monkeypatch.setattr(tcpprobe, "BATCH_EVERY", 0.001)
    probe, sent, told = make(monkeypatch)
    probe.ask(wanted())
    probe.ask(wanted(*(f"198.51.100.{number}:9" for number in range(1, 2 * BATCH))))
    probe.ask(wanted("203.0.113.1:9"))
    assert len(sent) == BATCH
    await until(lambda: len(sent) == 2 * BATCH)
    assert sent[-1] == "203.0.113.1"
    assert not told
    probe.stop()


async def test_one_that_is_stopped_sends_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    probe, sent, _ = make(monkeypatch)
    probe.ask(wanted(*(f"198.51.100.{number}:9" for number in range(1, 2 * BATCH))))
    probe.stop()
    probe.stop()
    assert len(sent) == BATCH
    assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


def test_a_client_without_a_route_binds_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    probe, _, told = make(monkeypatch, OSError(errno.ENETUNREACH, "Network is unreachable"))
    probe.ask(wanted("198.51.100.7:1", "198.51.100.8:1"))
    assert not told


def test_without_the_privilege_it_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    failure = PermissionError(errno.EPERM, "Operation not permitted")
    probe, _, told = make(monkeypatch, failure)
    probe.ask(wanted(*(f"198.51.100.{number}:9" for number in range(1, 2 * BATCH))))
    assert told == ["Operation not permitted"]
