"""Lets programs follow the events over the control socket, each at its own pace.

    {"command": "events", "follow": true} ─►  ◄─ {"ok": true}, then one event a line, until the
                                                 reader goes, or the sidecar ends

Decides how many may follow at once (so that commands still find a place), and how long one may read
nothing at all before it is cut off.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Any

from ovpnha.runtime.codec import to_plain
from ovpnha.runtime.events import Follower, NodeEvent

FOLLOWERS_LIMIT = 8
STUCK_AFTER = 60.0  # seconds
END_WITHIN = 0.5  # seconds

Follow = Callable[[float | None], AbstractContextManager[Follower]]


class EventStreams:
    """All connections that follow."""

    def __init__(self, follow: Follow) -> None:
        self._follow = follow
        self._open: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}

    async def serve(
        self, since: float | None, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Say what happens until the reader goes away or nothing can happen any more."""
        if len(self._open) >= FOLLOWERS_LIMIT:
            error = f"{FOLLOWERS_LIMIT} programs follow the events already; end one of them"
            writer.write(json.dumps({"ok": False, "error": error}).encode() + b"\n")
            return
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in one
        self._open[writer] = task
        gone: asyncio.Future[Any] = asyncio.ensure_future(reader.read(1))
        try:
            writer.write(b'{"ok": true}\n')
            with self._follow(since) as follower:
                await _pass_on(follower, writer, gone)
        finally:
            gone.cancel()
            with suppress(asyncio.CancelledError, OSError):
                await gone
            del self._open[writer]

    async def end(self) -> None:
        """The sidecar ends: who has not read the last event in a moment is cut off."""
        if self._open:
            await asyncio.wait(list(self._open.values()), timeout=END_WITHIN)
        for writer in list(self._open):
            writer.transport.abort()


async def _pass_on(
    follower: Follower, writer: asyncio.StreamWriter, gone: asyncio.Future[Any]
) -> None:
    while not gone.done():
        waiting: asyncio.Future[Any] = asyncio.ensure_future(follower.wait())
        try:
            await asyncio.wait({gone, waiting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        events = follower.take()
        writer.write(b"".join(map(_line, events)))
        async with asyncio.timeout(STUCK_AFTER):
            await writer.drain()
        if follower.ended and not events:
            return


def _line(event: NodeEvent) -> bytes:
    return json.dumps(to_plain(event)).encode() + b"\n"
