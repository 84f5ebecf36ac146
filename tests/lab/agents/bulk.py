"""Many TCP connections at once that send as fast as they can, and what arrives of them.

usage: bulk.py {take|give} ADDRESS PORT CONNECTIONS EVENTS

``give`` opens the connections and sends until SIGTERM, ``take`` counts. Events: ``bytes TOTAL ALIVE
NANOSECONDS``, every 50 ms: what was moved so far, and by how many connections that have no error.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import sys
import time

_CHUNK = 16_384
_REPORT_NS = 50_000_000
_CONNECT_SECONDS = 20.0


class Bulk:
    """One end of all connections."""

    def __init__(self, role: str, sockets: list[socket.socket], events: int) -> None:
        self._selector = selectors.DefaultSelector()
        kind = selectors.EVENT_WRITE if role == "give" else selectors.EVENT_READ
        for one in sockets:
            one.setblocking(False)
            self._selector.register(one, kind)
        self._give = role == "give"
        self._alive = len(sockets)
        self._events = events
        self._total = 0
        self._running = True

    def run(self) -> None:
        """Until stopped."""
        due = time.monotonic_ns()
        while self._running:
            for key, _ in self._selector.select(0.05):
                self._move(key.fileobj)  # type: ignore[arg-type]
            if time.monotonic_ns() >= due:
                now = time.monotonic_ns()
                os.write(self._events, b"bytes %d %d %d\n" % (self._total, self._alive, now))
                due = now + _REPORT_NS

    def stop(self, *_: object) -> None:
        """Leave the loop (a signal handler)."""
        self._running = False

    def _move(self, one: socket.socket) -> None:
        try:
            moved = one.send(bytes(_CHUNK)) if self._give else len(one.recv(_CHUNK))
        except BlockingIOError:
            return
        except OSError:
            moved = 0
        if not moved:
            self._selector.unregister(one)
            self._alive -= 1
        self._total += moved


def connect(address: str, port: int) -> socket.socket:
    """A connection; the other end may not listen yet."""
    deadline = time.monotonic() + _CONNECT_SECONDS
    while True:
        with contextlib.suppress(ConnectionRefusedError):
            return socket.create_connection((address, port), timeout=_CONNECT_SECONDS)
        if time.monotonic() > deadline:
            raise TimeoutError(f"nobody listens at {address}:{port}")
        time.sleep(0.01)


def main() -> None:
    """Run from the command line's arguments until SIGTERM."""
    role, address, port, count, path = sys.argv[1:]
    events = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    if role == "give":
        sockets = [connect(address, int(port)) for _ in range(int(count))]
    else:
        with socket.create_server((address, int(port)), backlog=int(count)) as server:
            sockets = [server.accept()[0] for _ in range(int(count))]
    bulk = Bulk(role, sockets, events)
    signal.signal(signal.SIGTERM, bulk.stop)
    bulk.run()


if __name__ == "__main__":
    main()
