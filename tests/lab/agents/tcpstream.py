"""One end of a TCP session with data flowing both ways, every byte checked by its position.

usage: tcpstream.py {listen|connect} ADDRESS PORT BYTES_PER_SECOND EVENTS

Each direction is a running count of 8-byte numbers under a tag of its own, so a byte that is lost,
doubled, swapped or sent back to its sender is found at its offset. SIGTERM ends it in good order:
stop sending, say so, read to the end. Events are JSON lines with ``time`` (nanoseconds), ``sent``
and ``received`` (bytes), ``error`` and, in the last one, ``final``.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import time
from array import array

_TAGS = {"listen": 0x6C << 56, "connect": 0x63 << 56}
_TICK = 0.01
_REPORT_NS = 100_000_000
_CHUNK = 65_536
_CONNECT_SECONDS = 20.0
_FINISH_SECONDS = 20.0


def pattern(tag: int, start: int, length: int) -> bytes:
    """The bytes ``start`` to ``start + length`` of a direction's stream."""
    first, last = start // 8, (start + length + 7) // 8
    numbers = array("Q", range(tag | first, tag | last))
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers.tobytes()[start - first * 8 :][:length]


class Stream:
    """The sending and the receiving half of one end."""

    def __init__(self, connection: socket.socket, role: str, rate: int, events: int) -> None:
        self._socket = connection
        self._send_tag = _TAGS[role]
        self._receive_tag = _TAGS["connect" if role == "listen" else "listen"]
        self._rate = rate
        self._events = events
        self._sent = self._received = 0
        self._reported = 0
        self._error = ""
        self._open = True
        self._asked_to_finish = False
        self._finish_by: float | None = None

    def run(self) -> None:
        """Stream until both directions have ended."""
        started = time.monotonic()
        while self._open and not self._error:
            self._report()
            readable = select.select([self._socket], [], [], _TICK)[0]
            try:
                if readable:
                    self._receive()
                if self._asked_to_finish:
                    self._close_own_half()
                else:
                    self._send(int((time.monotonic() - started) * self._rate))
            except OSError as error:
                self._error = str(error)
            if self._finish_by is not None and time.monotonic() > self._finish_by:
                self._error = "the other end did not finish"
        self._report(final=True)

    def finish(self, *_: object) -> None:
        """Send no more, read what is still coming (a signal handler)."""
        self._asked_to_finish = True

    def _close_own_half(self) -> None:
        if self._finish_by is None:
            self._finish_by = time.monotonic() + _FINISH_SECONDS
            self._socket.shutdown(socket.SHUT_WR)

    def _send(self, goal: int) -> None:
        length = min(goal - self._sent, _CHUNK)
        if length <= 0:
            return
        try:
            self._sent += self._socket.send(pattern(self._send_tag, self._sent, length))
        except BlockingIOError:
            return

    def _receive(self) -> None:
        data = self._socket.recv(_CHUNK)
        if not data:
            self._open = False
        elif data != pattern(self._receive_tag, self._received, len(data)):
            self._error = f"wrong bytes at offset {self._received}"
        self._received += len(data)

    def _report(self, *, final: bool = False) -> None:
        now = time.monotonic_ns()
        if not final and now - self._reported < _REPORT_NS:
            return
        self._reported = now
        event = {
            "time": now,
            "sent": self._sent,
            "received": self._received,
            "error": self._error,
            "final": final,
        }
        os.write(self._events, json.dumps(event).encode() + b"\n")


def connect(role: str, address: str, port: int) -> socket.socket:
    """The established connection of one end."""
    if role == "connect":
        return _connect_patiently(address, port)
    with socket.create_server((address, port)) as server:
        return server.accept()[0]


def _connect_patiently(address: str, port: int) -> socket.socket:
    """Connect; the other end may not listen yet."""
    deadline = time.monotonic() + _CONNECT_SECONDS
    while True:
        try:
            return socket.create_connection((address, port), timeout=_CONNECT_SECONDS)
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_TICK)


def main() -> None:
    """Stream from the command line's arguments."""
    role, address, port, rate, path = sys.argv[1:]
    events = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    connection = connect(role, address, int(port))
    connection.setblocking(False)
    stream = Stream(connection, role, int(rate), events)
    signal.signal(signal.SIGTERM, stream.finish)
    stream.run()


if __name__ == "__main__":
    main()
