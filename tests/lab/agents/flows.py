"""One end of every kind of connection that a client may have with a host on the LAN, all at once.

usage: flows.py {serve|use} EVENTS SESSIONS ADDRESS...

``serve`` listens on each ADDRESS, ``use`` connects to it, from the other side of the tunnel. The
kinds of ``KINDS``, TCP: ``two-way``, ``download``, ``upload`` (1,000 bytes every 10 ms), ``many``
(SESSIONS of them, each asked every 0.5 s by the server and answered), ``idle`` (two, in which
nothing is said until SIGUSR1: then the server speaks in one and the client in the other, and is
answered). Besides ``udp``, a datagram every 10 ms to a server that knows one client address only.

Events are JSON lines with ``time`` (nanoseconds). Every 0.2 s a report, ``groups``: for each kind
and address the number of sessions, the errors so far, and the earliest and the latest of the times
at which each session last heard something. Between reports ``gap``: a session heard nothing from
``start`` on until that time, longer than its kind has reason for. Times are CLOCK_MONOTONIC.
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import signal
import socket
import sys
import time

KINDS = ("two-way", "download", "upload", "many", "idle", "udp")
PORT = 5002
_SENDERS = {"two-way": ("serve", "use"), "download": ("serve",), "upload": ("use",)}
_CHUNK = b"x" * 1000
_HEADER = 16
_TICK_NS = 10_000_000
_ASK_NS = 500_000_000
_REPORT_NS = 200_000_000
_NOTABLE_NS = {"many": _ASK_NS + 20_000_000}
_NOTABLE_DEFAULT_NS = 30_000_000
_CONNECT_SECONDS = 30.0


class Flow:
    """One session, seen from this end."""

    def __init__(self, end: socket.socket, kind: str, number: int, address: str) -> None:
        self.socket = end
        self.kind = kind
        self.number = number
        self.group = f"{kind} {address}"
        self.heard = time.monotonic_ns()
        self.error = ""

    def send(self, data: bytes) -> None:
        """Send what fits; the rest is another time's."""
        try:
            self.socket.send(data)
        except BlockingIOError:
            return
        except OSError as error:
            self.error = str(error)


class Group:
    """What a report says of all sessions of one kind and address."""

    def __init__(self) -> None:
        self.sessions = 0
        self.errors: list[str] = []
        self.earliest = self.latest = 0

    def count(self, flow: Flow) -> None:
        """One session more."""
        self.earliest = min(self.earliest, flow.heard) if self.sessions else flow.heard
        self.latest = max(self.latest, flow.heard)
        self.sessions += 1
        if flow.error:
            self.errors.append(flow.error)


class Ends:
    """All sessions of this process, and what happened to them."""

    def __init__(self, role: str, events: int) -> None:
        self.role = role
        self.flows: list[Flow] = []
        self.selector = selectors.DefaultSelector()
        self._events = events
        self._speak = False
        self._reported = 0
        self._asked = 0

    def add(self, flow: Flow) -> None:
        """Look after this session from now on."""
        flow.socket.setblocking(False)
        self.flows.append(flow)
        self.selector.register(flow.socket, selectors.EVENT_READ, lambda: self._hear(flow))

    def speak(self, *_: object) -> None:
        """Break the silence of the idle sessions (a signal handler)."""
        self._speak = True

    def run(self) -> None:
        """Until somebody ends this process."""
        due = time.monotonic_ns()
        while True:
            now = time.monotonic_ns()
            if now >= due:
                due = max(due + _TICK_NS, now)
                self._tick(now)
            for key, _ in self.selector.select(max(0, due - time.monotonic_ns()) / 1e9):
                key.data()

    def _tick(self, now: int) -> None:
        for flow in self.flows:
            if flow.kind == "udp" and self.role == "use" and not flow.error:
                flow.send(_CHUNK[:100])
            elif self.role in _SENDERS.get(flow.kind, ()) and not flow.error:
                flow.send(_CHUNK)
        if self._speak:
            self._speak = False
            self._break_silence()
        if self.role == "serve":
            self._ask_some(now)
        if now - self._reported >= _REPORT_NS:
            self._reported = now
            self._report(now)

    def _ask_some(self, now: int) -> None:
        """Each of the many in its turn, evenly over the interval."""
        many = [flow for flow in self.flows if flow.kind == "many" and not flow.error]
        before, self._asked = self._asked, now
        for place, flow in enumerate(many):
            phase = place * _ASK_NS // len(many)
            if (now - phase) // _ASK_NS != (before - phase) // _ASK_NS and before:
                flow.send(_CHUNK[:100])

    def _break_silence(self) -> None:
        speaks = 0 if self.role == "serve" else 1
        for flow in self.flows:
            if flow.kind == "idle" and flow.number == speaks and not flow.error:
                flow.send(_CHUNK[:1])

    def _hear(self, flow: Flow) -> None:
        try:
            data = flow.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            data, flow.error = b"", str(error)
        if not data:
            flow.error = flow.error or "closed by the other end"
            self.selector.unregister(flow.socket)
            return
        now = time.monotonic_ns()
        if now - flow.heard > _NOTABLE_NS.get(flow.kind, _NOTABLE_DEFAULT_NS):
            self._note({"time": now, "gap": flow.group, "start": flow.heard})
        flow.heard = now
        self._answer(flow)

    def _answer(self, flow: Flow) -> None:
        answers_idle = flow.kind == "idle" and flow.number == (1 if self.role == "serve" else 0)
        if answers_idle or (flow.kind == "many" and self.role == "use"):
            flow.send(_CHUNK[:1])

    def _report(self, now: int) -> None:
        groups: dict[str, Group] = {}
        for flow in self.flows:
            groups.setdefault(flow.group, Group()).count(flow)
        self._note({"time": now, "groups": {name: vars(one) for name, one in groups.items()}})

    def _note(self, event: dict[str, object]) -> None:
        os.write(self._events, json.dumps(event).encode() + b"\n")


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class UdpServer:
    """Answers the first client that it hears, and nobody else."""

    def __init__(self, ends: Ends, address: str) -> None:
        self._socket = socket.socket(_family(address), socket.SOCK_DGRAM)
        self._socket.bind((address, PORT))
        self._socket.setblocking(False)
        self._ends = ends
        self._client: object = None
        self._flow = Flow(self._socket, "udp", 0, address)
        ends.selector.register(self._socket, selectors.EVENT_READ, self._hear)

    def _hear(self) -> None:
        data, client = self._socket.recvfrom(2048)
        if self._client is None:
            self._client = client
            self._ends.flows.append(self._flow)
        if client != self._client:
            self._flow.error = f"the client is {client} now"
            return
        self._flow.heard = time.monotonic_ns()
        self._socket.sendto(data, client)


def serve(ends: Ends, address: str) -> None:
    """Listen on an address; sessions are told apart by their first bytes."""
    UdpServer(ends, address)
    server = socket.create_server((address, PORT), family=_family(address), backlog=512)

    def accept() -> None:
        connection, _ = server.accept()
        connection.settimeout(_CONNECT_SECONDS)
        kind, number = connection.recv(_HEADER, socket.MSG_WAITALL).split()
        ends.add(Flow(connection, kind.decode(), int(number), address))

    ends.selector.register(server, selectors.EVENT_READ, accept)


def use(ends: Ends, address: str, sessions: int) -> None:
    """Begin every session with an address."""
    counts = {"many": sessions, "idle": 2, "udp": 0}
    for kind in KINDS:
        for number in range(counts.get(kind, 1)):
            connection = socket.create_connection((address, PORT), timeout=_CONNECT_SECONDS)
            connection.sendall(f"{kind} {number}".encode().ljust(_HEADER))
            ends.add(Flow(connection, kind, number, address))
    datagrams = socket.socket(_family(address), socket.SOCK_DGRAM)
    datagrams.connect((address, PORT))
    ends.add(Flow(datagrams, "udp", 0, address))


def main() -> None:
    """Run one end from the command line's arguments."""
    role, path, sessions, *addresses = sys.argv[1:]
    events = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    ends = Ends(role, events)
    signal.signal(signal.SIGUSR1, ends.speak)
    for address in addresses:
        if role == "serve":
            serve(ends, address)
        else:
            use(ends, address, int(sessions))
    gc.disable()
    ends.run()


if __name__ == "__main__":
    main()
