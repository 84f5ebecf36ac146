"""Clients over TCP of a server that is gone learn of it at once.

Who sends is told by the kernel of the node that has the VIP now; who is idle waits for its next
``ping``. One segment makes it say something::

    this node   ── ACK, any numbers ──►  client     not within its window
    its kernel  ◄── ACK, exact numbers ──           what RFC 9293, 3.10.7.4, has it answer
                ── RST, exact numbers ──►           nobody here has that connection
                                                    it reconnects

The client's own kernel gives the numbers, so nothing has to be known of the connection, and nothing
is ended that this node has: a connection of its own has a socket, which takes the answer for what
it is. Behind a NAT that looks at numbers (Linux does) the segment is lost, and the client notices
at its next ``ping``, as before. The status of OpenVPN 2.6 has no ports of clients over IPv6.

Decides how it is sent, and how fast; never to whom, nor when. Needs CAP_NET_RAW, which the sidecar
has for the check of the kind ``client``. docs/adr/0073.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterable

from ovpnha.node.outputs import ProbeClients
from ovpnha.runtime.checksum import checksum

BATCH = 50
"""Segments sent at once."""

BATCH_EVERY = 0.05
"""Seconds between two batches: a thousand clients a second reconnect at most."""

SEGMENT = struct.Struct("!HHLLBBHHH")
HEADER = struct.Struct("!BBHHHBBH4s4s")
ACK = 0x10
WINDOW = 1024


class ProbeSender:
    """Sends such segments.

    Args:
        problem: Called with a text when it cannot be sent, once for each list.
    """

    def __init__(self, problem: Callable[[str], None]) -> None:
        self._problem = problem
        self._due: deque[tuple[bytes, str]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def ask(self, wanted: ProbeClients) -> None:
        """Send to all of them. Never raises."""
        self._due.extend(make_packets(wanted))
        if self._timer is None and self._due:
            self._send()

    def stop(self) -> None:
        """Send no more."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._due.clear()

    def _send(self) -> None:
        self._timer = None
        batch = [self._due.popleft() for _ in range(min(BATCH, len(self._due)))]
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as opened:
                opened.setblocking(False)
                for packet, address in batch:
                    _send_one(opened, packet, address)
        except OSError as error:
            self._due.clear()
            self._problem(error.strerror or type(error).__name__)
        if self._due:
            self._timer = asyncio.get_running_loop().call_later(BATCH_EVERY, self._send)


def _send_one(opened: socket.socket, packet: bytes, address: str) -> None:
    """To a client that has no route, or whose segment is filtered, no other one is bound."""
    try:
        opened.sendto(packet, (address, 0))
    except PermissionError:
        raise
    except OSError:
        return


def make_packets(wanted: ProbeClients) -> Iterable[tuple[bytes, str]]:
    """One for each client, and where it goes; nothing for what is no address with a port."""
    for client in wanted.clients:
        address, _, port = client.rpartition(":")
        try:
            source, target = (ipaddress.IPv4Address(one).packed for one in (wanted.vip, address))
            yield make_packet((source, wanted.port), (target, int(port))), address
        except (ValueError, struct.error):
            continue


def make_packet(source: tuple[bytes, int], target: tuple[bytes, int]) -> bytes:
    """An IPv4 packet with a bare ACK of numbers that nobody has; the kernel adds id and sum."""
    sequence, acknowledged = struct.unpack("!LL", os.urandom(8))
    fields = (source[1], target[1], sequence, acknowledged, SEGMENT.size // 4 << 4, ACK, WINDOW)
    pseudo = source[0] + target[0] + struct.pack("!HH", socket.IPPROTO_TCP, SEGMENT.size)
    total = checksum(pseudo + SEGMENT.pack(*fields, 0, 0))
    size = HEADER.size + SEGMENT.size
    header = (0x45, 0, size, 0, 0, 64, socket.IPPROTO_TCP, 0, source[0], target[0])
    return HEADER.pack(*header) + SEGMENT.pack(*fields, total, 0)
