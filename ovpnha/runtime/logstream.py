"""Writes the log where nothing else waits for whoever reads it.

::

    every line ──► waiting (bounded) ──► a thread ──► standard error output ──► journal, pipe, file
                        │ full                             │ nobody reads, the disk is full
                        └──► left out and counted          └──► only the thread waits

A pipe that nobody empties, a journal that hangs or a terminal that was stopped would hold whoever
writes, and with it everything that serves the clients. Programs of hooks share that output and may
make it one that does not wait, for all who have it: then the thread waits in another way.

Decides how much may wait, and that the newest is left out: what waits tells how it began. Must
never raise into whoever logs.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from typing import TextIO, cast

import structlog

WAITING_LIMIT = 1024 * 1024
"""Characters that wait; about what a sidecar says in a day."""
END_WITHIN = 0.5
"""Seconds for what waits when the sidecar ends."""


class LogStream:
    """What is given to the ``with`` block is a text stream, as far as a log needs one.

    The block ends with what waits, bounded.
    """

    def __init__(self, stream: TextIO, end_within: float = END_WITHIN) -> None:
        self._stream = stream
        self._descriptor = stream.fileno()
        self._end_within = end_within
        self._waiting: deque[str] = deque()
        self._size = 0
        self._left_out = 0
        self._ends = False
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)

    def __enter__(self) -> TextIO:
        self._stream.flush()
        self._thread.start()
        return cast("TextIO", self)

    def __exit__(self, *_error: object) -> None:
        with self._news:
            self._ends = True
            self._news.notify()
        self._thread.join(self._end_within)

    def write(self, text: str) -> int:
        """Take a text; returns at once."""
        with self._news:
            if self._size + len(text) > WAITING_LIMIT:
                self._left_out += 1
            else:
                self._waiting.append(text)
                self._size += len(text)
                self._news.notify()
        return len(text)

    def flush(self) -> None:
        """As of any stream; what waits is written in any case."""

    def fileno(self) -> int:
        """Of what is written to."""
        return self._descriptor

    def isatty(self) -> bool:
        """Whether that is a terminal."""
        return self._stream.isatty()

    def _run(self) -> None:
        while (text := self._next()) is not None:
            self._put(text.encode("utf-8", "backslashreplace"))
            with self._news:
                self._size -= len(text)
                left_out = 0 if self._size else self._left_out
                self._left_out -= left_out
            if left_out:
                structlog.get_logger().warning("log lines left out", lines=left_out)

    def _next(self) -> str | None:
        """What is to be written next; None when nothing will be any more."""
        with self._news:
            self._news.wait_for(lambda: self._waiting or self._ends)
            return self._waiting.popleft() if self._waiting else None

    def _put(self, data: bytes) -> None:
        """All of it, however long that takes; what cannot be written is lost."""
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._descriptor, view) :]
            except BlockingIOError:
                waiting = select.poll()
                waiting.register(self._descriptor, select.POLLOUT)
                waiting.poll()
            except OSError:
                return
