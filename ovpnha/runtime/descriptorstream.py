"""One connection over a unix socket, whose bytes may have open files beside them.

Decides how both stay together: a pair of descriptors leaves with the first byte of what it was
given with, after everything that was written before, and one that arrives is told with the bytes
that it came with. ``asyncio``'s own transports read without looking at what comes beside, which the
kernel then closes; that is why this one is here. And where a write fails they drop what has come
and is not read yet: the last words of an OpenVPN that ends.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable

from ovpnha.runtime import descriptors
from ovpnha.runtime.descriptors import DescriptorPair

READ_SIZE = 64 * 1024  # a turn of some milliseconds: all counters of 10,000 clients are 290 KB
LAST_READS = 1024
"""Most reads of what somebody had said before a write to him failed: 64 MiB."""


class DescriptorStream:
    """A connected socket, which is closed with it.

    Args:
        source: The socket; non-blocking.
        received: Called with bytes as they come, cut anywhere, and the pair that came with them,
            which is the owner's to close from then on.
        lost: Called once, by the event loop, when the connection is gone, with the error if any.
    """

    def __init__(
        self,
        source: socket.socket,
        *,
        received: Callable[[bytes, DescriptorPair | None], None],
        lost: Callable[[OSError | None], None],
    ) -> None:
        self._socket = source
        self._received = received
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[memoryview, DescriptorPair | None]] = deque()
        self.buffered = 0  # bytes that have not left yet
        self.closing = False
        self._failure: OSError | None = None  # of a write: nobody reads there any more
        self._loop.add_reader(source, self._read)

    def write(self, data: bytes, beside: DescriptorPair | None = None) -> None:
        """Send now or, when that is not possible, later; the pair is closed here when it has left.

        Nothing is sent once the connection is closing, or nobody reads at its other end.
        """
        if self.closing or self._failure or not data:
            _close(beside)
            return
        self._waiting.append((memoryview(data), beside))
        self.buffered += len(data)
        if len(self._waiting) > 1:
            return
        self._flush()
        if self._waiting:
            self._loop.add_writer(self._socket, self._writable)

    def abort(self, error: OSError | None = None) -> None:
        """Close at once; what has not left is dropped."""
        if self.closing:
            return
        self.closing = True
        self._loop.remove_reader(self._socket)
        self._stop_writing()
        self._loop.call_soon(self._end, error)

    def _stop_writing(self) -> None:
        self._loop.remove_writer(self._socket)
        for _, beside in self._waiting:
            _close(beside)
        self._waiting.clear()
        self.buffered = 0

    def _end(self, error: OSError | None) -> None:
        self._socket.close()
        self._lost(error)

    def _read(self) -> bool:
        """What has come, as far as one read goes; returns whether there was anything."""
        try:
            data, beside = descriptors.receive(self._socket, READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            self.abort(error)
            return False
        if data:
            self._received(data, beside)
        else:
            self.abort(self._failure)
        return bool(data)

    def _read_last(self, error: OSError) -> None:
        """All that was said before a write failed with ``error``; then this is the end."""
        for _ in range(LAST_READS):
            if self.closing or not self._read():
                break
        self.abort(error)

    def _writable(self) -> None:
        self._flush()
        if not self._waiting and not self.closing:
            self._loop.remove_writer(self._socket)

    def _flush(self) -> None:
        while self._waiting:
            data, beside = self._waiting[0]
            try:
                sent = descriptors.send(self._socket, data, beside)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self._failure = error
                self._stop_writing()
                # Whoever writes is not told of what was read before he is done.
                self._loop.call_soon(self._read_last, error)
                return
            _close(beside)
            self.buffered -= sent
            if sent < len(data):
                self._waiting[0] = (data[sent:], None)
                return
            self._waiting.popleft()


def _close(beside: DescriptorPair | None) -> None:
    if beside is not None:
        beside.close()
