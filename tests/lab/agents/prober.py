"""Send ICMP echo requests on an absolute schedule and note every request and every answer.

usage: prober.py TARGET INTERVAL_MS EVENTS

Each request carries its own 64-bit number in the payload, so an answer is always known by the
request it belongs to. A request that falls due while the process could not run is sent late, never
left out. Events: ``sent NUMBER NANOSECONDS`` and ``answered NUMBER NANOSECONDS``.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import struct
import sys
import time
from ipaddress import ip_address

_HEADER = struct.Struct("!BBHHH")
_NUMBER = struct.Struct("!Q")
_PADDING = b"\0" * 48
_LAST_ANSWER_SECONDS = 1.0  # on a busy machine, too


def checksum(data: bytes) -> int:
    """The Internet checksum of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Prober:
    """One stream of numbered echo requests to one target."""

    def __init__(self, target: str, interval_ns: int, events: int) -> None:
        self._version = ip_address(target).version
        self._interval = interval_ns
        self._events = events
        self._identifier = os.getpid() & 0xFFFF
        self._running = True
        self._number = 0
        if self._version == 4:
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
            self._request, self._reply, self._skip = 8, 0, 20
        else:
            self._socket = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
            self._request, self._reply, self._skip = 128, 129, 0
        self._socket.setblocking(False)
        self._target = target

    def run(self) -> None:
        """Probe until stopped, then wait for the last answers; those of others do not count."""
        due = time.monotonic_ns()
        while self._running:
            now = time.monotonic_ns()
            if now >= due:
                self._send()
                due += self._interval
            elif select.select([self._socket], [], [], (due - now) / 1e9)[0]:
                self._receive()
        end = time.monotonic() + _LAST_ANSWER_SECONDS
        while (left := end - time.monotonic()) > 0:
            if select.select([self._socket], [], [], left)[0] and self._receive():
                end = time.monotonic() + _LAST_ANSWER_SECONDS

    def stop(self, *_: object) -> None:
        """Leave the loop after the current probe (a signal handler)."""
        self._running = False

    def _send(self) -> None:
        payload = _NUMBER.pack(self._number) + _PADDING
        fields = (self._request, 0, 0, self._identifier, self._number & 0xFFFF)
        packet = _HEADER.pack(*fields) + payload
        fields = (self._request, 0, checksum(packet), self._identifier, self._number & 0xFFFF)
        self._note("sent", self._number, time.monotonic_ns())
        self._number += 1
        try:
            self._socket.sendto(_HEADER.pack(*fields) + payload, (self._target, 0))
        except OSError:
            return  # a request that cannot leave is a lost request

    def _receive(self) -> bool:
        """Take a packet, of which a raw socket gets everybody's; whether it answers one of ours."""
        packet = self._socket.recv(2048)
        now = time.monotonic_ns()
        body = packet[self._skip :]
        if len(body) < _HEADER.size + _NUMBER.size:
            return False
        kind, _, _, identifier, _ = _HEADER.unpack_from(body)
        ours: bool = kind == self._reply and identifier == self._identifier
        if ours:
            self._note("answered", _NUMBER.unpack_from(body, _HEADER.size)[0], now)
        return ours

    def _note(self, event: str, number: int, now: int) -> None:
        os.write(self._events, b"%s %d %d\n" % (event.encode(), number, now))


def main() -> None:
    """Probe from the command line's arguments until SIGTERM."""
    target, interval_ms, path = sys.argv[1:]
    events = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    prober = Prober(target, int(float(interval_ms) * 1e6), events)
    signal.signal(signal.SIGTERM, prober.stop)
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(20))
    gc.disable()
    prober.run()


if __name__ == "__main__":
    main()
