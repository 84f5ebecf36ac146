"""What a sidecar leaves to the next one about its OpenVPN: a file beside the control socket.

    {"holder": "…", "source": false, "epoch": "7/vpn-a", "origin": "0/", "whole": true}

Decides how it is kept: renamed into place whenever something else is known, and touched every
second while OpenVPN is connected, so that its time says when somebody last looked after the copy.
That time is of the clock that counts from the host's start and that nobody sets: one that this
clock has not reached is of another start, or of a release that wrote the time of day, and old.
It is in memory (``/run``), like the OpenVPN it speaks of, and names no key and no packet id. What
cannot be read, or no node could have said, is as good as nothing: the next sidecar then learns from
the other nodes what it can. Rules: docs/adr/0055-what-a-sidecar-leaves-to-the-next.md.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import math
import os
import re
import stat
import time
from collections.abc import Callable
from pathlib import Path

from ovpnha.config.values import NAME_PATTERN
from ovpnha.machines import machine_of
from ovpnha.model import HOLDER_SIZE, NO_EPOCH, Epoch
from ovpnha.node.memory import Memory, Remembered
from ovpnha.replication.records import NUMBER_LIMIT
from ovpnha.runtime.codec import from_plain, to_plain
from ovpnha.runtime.replacing import replacing

TOUCH_INTERVAL = 1.0
SIZE_LIMIT = 4096
MODE = 0o640


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
        self._found: tuple[Memory, Remembered] | None = None  # until something else is known
        self._failing = False

    def load(self) -> Memory:
        """What an earlier sidecar has left. Never raises."""
        try:
            known, age = self._read()
        except (OSError, ValueError, RecursionError):
            return Memory()
        memory = Memory(known, time.monotonic() - age)
        self._content = _render(known)
        self._found = memory, known
        return memory

    def keep(self, known: Remembered) -> None:
        """Write it at once."""
        self._content = _render(known)
        self._found = None
        self._write()

    def touch(self) -> None:
        """Show that it is still so; writes it again if that has failed."""
        if self._content is None or not self._looks() or not self._is_so():
            return
        if self._failing:
            self._write()
            return
        try:
            os.utime(self._path, ns=_boot_times(), follow_symlinks=False)
        except OSError:
            self._write()

    async def run(self) -> None:
        """Touch the file every second, for ever."""
        while True:
            await asyncio.sleep(TOUCH_INTERVAL)
            self.touch()

    def _read(self) -> tuple[Remembered, float]:
        """What it says, and how long ago somebody last looked."""
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        with os.fdopen(os.open(self._path, flags), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise ValueError("is not a regular file")
            data = file.read(SIZE_LIMIT)
        known = from_plain(Remembered, json.loads(data))
        if not _is_possible(known):
            raise ValueError("no node could have said so")
        age = _boot_times()[0] - found.st_mtime_ns
        return known, age / 1e9 if age >= 0 else math.inf

    def _is_so(self) -> bool:
        """What was found counts for what it says; it is touched no more once it is too old."""
        if self._found is None:
            return True
        memory, known = self._found
        return memory.recall(known.holder, time.monotonic()) == known

    def _write(self) -> None:
        try:
            with replacing(self._path, MODE) as file:
                file.write(self._content or b"")
                file.flush()
                os.utime(file.fileno(), ns=_boot_times())
        except OSError as error:
            if not self._failing:
                self._problem(f"{self._path}: {error.strerror}")
            self._failing = True
        else:
            self._failing = False


def _render(known: Remembered) -> bytes:
    return json.dumps(to_plain(known)).encode() + b"\n"


def _boot_times() -> tuple[int, int]:
    """Now, as times of access and of change: nanoseconds since the host's start."""
    now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return now, now


def _is_possible(known: Remembered) -> bool:
    """Whether a sidecar can have known it: the wire has words for it, and for the next epoch."""
    values = (getattr(known, field.name) for field in dataclasses.fields(known))
    epochs = [one for one in values if isinstance(one, Epoch)]
    return len(known.holder) == HOLDER_SIZE and all(map(_is_possible_epoch, epochs))


def _is_possible_epoch(epoch: Epoch) -> bool:
    named = re.match(NAME_PATTERN, machine_of(epoch.node)) is not None
    return epoch == NO_EPOCH or (named and 0 <= epoch.counter < NUMBER_LIMIT)
