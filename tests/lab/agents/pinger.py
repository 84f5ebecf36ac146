"""Send an echo request through each tunnel of a client host, again and again, and note who answers.

usage: pinger.py TARGET PERIOD_MS EVENTS

Every interface whose name begins with ``tun`` has a socket of its own, bound to it, from the moment
it appears until it goes. Events are JSON lines with ``time`` in nanoseconds. Every 0.5 s ``heard``:
for each interface when its last answer came, 0 before the first. Between them ``gap``: an interface
was without an answer from ``start`` until that time, for more than two periods.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import struct
import sys
import time

_HEADER = struct.Struct("!BBHHH")
_REQUEST, _REPLY, _IP_HEADER = 8, 0, 20
_REPORT_NS = 500_000_000


class Tunnel:
    """One interface, and when its last answer came."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.heard = 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name.encode())
        self.socket.setblocking(False)

    def ask(self, target: str, request: bytes) -> None:
        """Send a request; one that cannot leave is a lost one."""
        try:
            self.socket.sendto(request, (target, 0))
        except OSError:
            return


class Pinger:
    """All tunnels of this host."""

    def __init__(self, target: str, period_ns: int, events: int) -> None:
        self._target = target
        self._period = period_ns
        self._events = events
        self._tunnels: dict[str, Tunnel] = {}
        self._selector = selectors.DefaultSelector()
        self._identifier = os.getpid() & 0xFFFF
        self._reported = 0

    def run(self) -> None:
        """Until somebody ends this process."""
        request = self._request()
        while True:
            due = time.monotonic_ns() + self._period
            self._follow_interfaces()
            for tunnel in self._tunnels.values():
                tunnel.ask(self._target, request)
            self._report(time.monotonic_ns())
            while (left := due - time.monotonic_ns()) > 0:
                for key, _ in self._selector.select(left / 1e9):
                    self._hear(key.data)

    def _request(self) -> bytes:
        head = _HEADER.pack(_REQUEST, 0, 0, self._identifier, 1)
        total = sum(struct.unpack("!4H", head))
        total = (total & 0xFFFF) + (total >> 16)
        return _HEADER.pack(_REQUEST, 0, ~total & 0xFFFF, self._identifier, 1)

    def _follow_interfaces(self) -> None:
        names = {name for _, name in socket.if_nameindex() if name.startswith("tun")}
        for name in self._tunnels.keys() - names:
            tunnel = self._tunnels.pop(name)
            self._selector.unregister(tunnel.socket)
            tunnel.socket.close()
        for name in names - self._tunnels.keys():
            self._begin(name)

    def _begin(self, name: str) -> None:
        try:
            tunnel = Tunnel(name)
        except OSError:
            return  # gone already
        self._tunnels[name] = tunnel
        self._selector.register(tunnel.socket, selectors.EVENT_READ, tunnel)

    def _hear(self, tunnel: Tunnel) -> None:
        try:
            packet = tunnel.socket.recv(2048)
        except OSError:
            return
        now = time.monotonic_ns()
        if len(packet) < _IP_HEADER + _HEADER.size:
            return
        kind, _, _, identifier, _ = _HEADER.unpack_from(packet, _IP_HEADER)
        if kind != _REPLY or identifier != self._identifier:
            return
        if tunnel.heard and now - tunnel.heard > 2 * self._period:
            self._note({"time": now, "gap": tunnel.name, "start": tunnel.heard})
        tunnel.heard = now

    def _report(self, now: int) -> None:
        if now - self._reported >= _REPORT_NS:
            self._reported = now
            heard = {name: tunnel.heard for name, tunnel in self._tunnels.items()}
            self._note({"time": now, "heard": heard})

    def _note(self, event: dict[str, object]) -> None:
        os.write(self._events, json.dumps(event).encode() + b"\n")


def main() -> None:
    """Ask from the command line's arguments until somebody ends this process."""
    target, period_ms, path = sys.argv[1:]
    events = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    Pinger(target, int(float(period_ms) * 1e6), events).run()


if __name__ == "__main__":
    main()
