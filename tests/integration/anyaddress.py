"""Servers whose socket takes any address: who answers on the clients' network, and what is told."""

from __future__ import annotations

import ipaddress
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.integration.pace import PATIENCE
from tests.lab import plan
from tests.lab.lab import Lab
from tests.lab.openvpn import Client, Transport
from tests.lab.topology import inside
from tests.lab.waiting import wait_until

OUT, PORT = plan.OUT, plan.PORT
ETH_P_ALL = 3
SECOND = OUT.address(20)
OPTIONS = ("ifconfig-noexec",)
AUTHENTIC = "Auth read bytes,"
"""Of what a client's status file says: what its server has sent, and it could open."""


class SecondVip(plan.Segment):
    """The outside network, with another address that moves."""

    @property
    def vip(self) -> str:
        return SECOND


OUTSIDE2 = SecondVip(OUT.name, OUT.interface, OUT.network, OUT.network6)


class Listener(threading.Thread):
    """What comes to the client's machine: UDP from OpenVPN's port and ICMP errors, by source."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(daemon=True)
        with inside(lab.topology.namespace("client")):
            self._socket = socket.socket(
                socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL)
            )
        self._socket.bind((OUT.interface, ETH_P_ALL))
        self._socket.settimeout(0.2)
        self._over = threading.Event()
        self.answers: set[str] = set()
        self.errors: set[str] = set()

    def run(self) -> None:
        """Until it is over."""
        while not self._over.is_set():
            try:
                packet, (_, _, kind, *_) = self._socket.recvfrom(65535)
            except TimeoutError:
                continue
            if kind != socket.PACKET_OUTGOING:
                self._take(packet)
        self._socket.close()

    def end(self) -> None:
        """What was sent before this is counted."""
        self._over.set()
        self.join()

    def _take(self, packet: bytes) -> None:
        if packet[0] >> 4 == 4:
            protocol, rest = packet[9], packet[(packet[0] & 15) * 4 :]
            source = str(ipaddress.ip_address(packet[12:16]))
            is_error = protocol == socket.IPPROTO_ICMP and rest[0] == 3
        elif packet[0] >> 4 == 6:
            protocol, rest = packet[6], packet[40:]
            source = str(ipaddress.ip_address(packet[8:24]))
            is_error = protocol == socket.IPPROTO_ICMPV6 and rest[0] < 128
        else:
            return
        if is_error:
            self.errors.add(source)
        if protocol == socket.IPPROTO_UDP and struct.unpack("!H", rest[:2])[0] == PORT:
            self.answers.add(source)


@contextmanager
def listening(lab: Lab) -> Iterator[Listener]:
    """Listen for as long as this block lasts."""
    listener = Listener(lab)
    listener.start()
    try:
        yield listener
    finally:
        listener.end()


def instance(lab: Lab, name: str) -> dict[str, Any]:
    return lab.nodes[name].sidecar.instance() or {}


def problems(lab: Lab, name: str) -> list[str]:
    return [one["kind"] for one in instance(lab, name).get("problems", [])]


def wait_protected(lab: Lab, count: int) -> None:
    """Wait until the master's clients are so many, and all of them are protected."""

    def all_are() -> bool:
        found = instance(lab, lab.master.name)
        return bool(found) and found["clients"] == found["protected"] == count

    wait_until(all_are, f"{count} protected clients", PATIENCE)


def is_alive(lab: Lab, client: Client) -> Callable[[], bool]:
    """Whether a client hears from its server, later than now; both ping every second."""
    status = lab.directory / f"{client.process.name}.status"

    def received() -> list[int]:
        """None while there is no status, or one that is being written."""
        lines = status.read_text().splitlines() if status.exists() else []
        return [int(line.split(",")[1]) for line in lines if line.startswith(AUTHENTIC)]

    before = wait_until(received, f"a whole {status.name}", PATIENCE)
    return lambda: received() > before


def beside(lab: Lab, name: str, transport: Transport, *options: str) -> Client:
    """One more client, connected."""
    status = f"status {lab.directory}/{name}.status 1"
    client = lab.launch_beside(name, (*OPTIONS, status, *options), transport=transport)
    client.wait_connected()
    return client
