"""What a sidecar leaves to the next one about its OpenVPN: a file beside the control socket.

    {"holder": "…", "source": false, "epoch": "7/vpn-a", "origin": "0/", "whole": true}

Decides how it is kept: renamed into place whenever something else is known, and touched every
second while OpenVPN is connected, so that its time says when somebody last looked after the copy.
It is in memory (``/run``), like the OpenVPN it speaks of, and names no key and no packet id. What
cannot be read is as good as nothing: the next sidecar then learns from the other nodes what it can.
Rules: docs/adr/0055-what-a-sidecar-leaves-to-the-next.md.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from ovpnha.node.memory import Memory, Remembered
from ovpnha.runtime.codec import from_plain, to_plain

TOUCH_INTERVAL = 1.0
SIZE_LIMIT = 4096


class MemoryFile:
    """One instance's.

    Args:
        path: The file.
        problem: Called with a text when it cannot be written, once until it can.
        looks: Whether OpenVPN is connected, so that what the file says is still so.
    """

    def __init__(
        self, path: Path, problem: Callable[[str], None], looks: Callable[[], bool]
    ) -> None:
        self._path = path
        self._problem = problem
        self._looks = looks
        self._content: bytes | None = None
        self._failing = False

    def load(self) -> Memory:
        """What an earlier sidecar has left. Never raises."""
        try:
            with self._path.open("rb") as file:
                data = file.read(SIZE_LIMIT)
                age = time.time() - os.fstat(file.fileno()).st_mtime
            known = from_plain(Remembered, json.loads(data))
        except (OSError, ValueError, RecursionError):
            return Memory()
        return Memory(known, time.monotonic() - max(0.0, age))

    def keep(self, known: Remembered) -> None:
        """Write it at once."""
        self._content = json.dumps(to_plain(known)).encode() + b"\n"
        self._write()

    def touch(self) -> None:
        """Show that it is still so; writes it again if that has failed."""
        if self._content is None or not self._looks():
            return
        if self._failing:
            self._write()
            return
        try:
            os.utime(self._path)
        except OSError:
            self._write()

    async def run(self) -> None:
        """Touch the file every second, for ever."""
        while True:
            await asyncio.sleep(TOUCH_INTERVAL)
            self.touch()

    def _write(self) -> None:
        draft = self._path.with_name(f".{self._path.name}.new")
        try:
            draft.write_bytes(self._content or b"")
            draft.replace(self._path)
        except OSError as error:
            if not self._failing:
                self._problem(f"{self._path}: {error.strerror}")
            self._failing = True
        else:
            self._failing = False
