"""Numbered datagrams through a tunnel, and what came over the wire to its client."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from dataclasses import dataclass
from functools import partial

from tests.integration.pace import PATIENCE
from tests.lab.topology import inside
from tests.lab.waiting import wait_patiently, wait_until

RATE = 500
"""Datagrams a second, each way."""
FLOWING = 20
LAST_SECONDS = 1.0
"""A full machine delivers late, and then one after the other: who hears nothing for so long has
heard all."""
POLL = 0.1
IPV4, UDP_HEAD, P_DATA_V2 = 0x0800, 8, 9
SO_RCVBUFFORCE, ROOM = 33, 4 << 20


@dataclass(frozen=True)
class Counted:
    """What became of a stream of datagrams."""

    sent: int
    missing: tuple[int, ...]
    longest_gap: float


class Stream:
    """Numbered datagrams from one socket to another, so many a second."""

    def __init__(self, source: socket.socket, target: socket.socket, address: str) -> None:
        self._source, self._target = source, target
        self._address = (address, target.getsockname()[1])
        self.sent = 0
        self._arrived: dict[int, float] = {}
        self._ended, self._over = threading.Event(), threading.Event()
        self._threads = [threading.Thread(target=one) for one in (self._send, self._receive)]
        for thread in self._threads:
            thread.start()

    @property
    def arrived(self) -> int:
        """How many have arrived so far."""
        return len(self._arrived)

    def flows(self) -> bool:
        """Whether what is sent now arrives."""
        return bool(self._arrived) and self.sent - max(self._arrived) < FLOWING

    def lacks(self, count: int) -> bool:
        """Whether more of it have not arrived, though one that was sent after them has."""
        first, last = min(self._arrived), max(self._arrived)
        return last - first + 1 - self.arrived > count

    def end(self) -> Counted:
        """Stop, wait for the last ones, and count from the first that has arrived."""
        self._ended.set()
        self._threads[0].join()
        while self._goes_on():
            pass
        self._over.set()
        self._threads[1].join()
        self._target.close()
        times = [self._arrived[number] for number in sorted(self._arrived)]
        first = min(self._arrived)
        missing = tuple(one for one in range(first, self.sent) if one not in self._arrived)
        gaps = [after - before for before, after in itertools.pairwise(times)]
        return Counted(self.sent - first, missing, max(gaps, default=0.0))

    def _goes_on(self) -> bool:
        """Whether the last one has not arrived, and another one just has."""
        before = self.arrived

        def comes() -> bool:
            return self.sent - 1 in self._arrived or self.arrived > before

        return wait_patiently(comes, LAST_SECONDS) and self.sent - 1 not in self._arrived

    def _send(self) -> None:
        due = time.monotonic()
        while not self._ended.is_set():
            self._source.sendto(self.sent.to_bytes(8) + bytes(92), self._address)
            self.sent += 1
            due += 1 / RATE
            time.sleep(max(0.0, due - time.monotonic()))
        self._source.close()

    def _receive(self) -> None:
        self._target.settimeout(POLL)
        while not self._over.is_set():
            try:
                data = self._target.recv(2048)
            except TimeoutError:
                continue
            self._arrived.setdefault(int.from_bytes(data[:8]), time.monotonic())


class Streams:
    """To the client and from it."""

    def __init__(self, *streams: Stream) -> None:
        self._streams = streams
        self.counted: list[Counted] = []

    def wait(self) -> None:
        """Until both flow."""
        for one in self._streams:
            wait_until(one.flows, "datagrams flow", PATIENCE)

    def linger(self, seconds: float) -> None:
        """Let so much be sent: what is counted is traffic, not time."""
        goals = [one.sent + int(seconds * RATE) for one in self._streams]

        def reached() -> bool:
            return all(one.sent >= goal for one, goal in zip(self._streams, goals, strict=True))

        wait_until(reached, "datagrams are sent", PATIENCE)

    def wait_lacking(self, count: int) -> None:
        """Until more of each have not arrived."""
        for one in self._streams:
            wait_until(partial(one.lacks, count), "datagrams are missing", PATIENCE)

    def end(self) -> None:
        """Stop and count."""
        self.counted = [one.end() for one in self._streams]


class Wire:
    """The packets of the data channel that come to the client, by key id and packet id."""

    def __init__(self, namespace: str) -> None:
        with inside(namespace):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(IPV4))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 * ROOM)
        self._socket.bind(("veth0", IPV4))
        self._socket.setblocking(False)

    def close(self) -> None:
        """It is not needed any more."""
        self._socket.close()

    def came(self) -> list[tuple[int, int]]:
        """What has come since the last call."""
        found: list[tuple[int, int]] = []
        while True:
            try:
                packet, address = self._socket.recvfrom(2048)
            except BlockingIOError:
                return found
            data = packet[(packet[0] & 0x0F) * 4 + UDP_HEAD :]
            if address[2] == socket.PACKET_HOST and data and data[0] >> 3 == P_DATA_V2:
                found.append((data[0] & 7, int.from_bytes(data[4:8])))
