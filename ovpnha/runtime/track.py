"""The track file: the number that keepalived adds to this node's priority (docs/roles.md).

Decides how it is written: beside it, then renamed over it, so that no reader sees half a number
(keepalived's inotify watch follows renames). Every second it is read and touched, or written anew
when it does not say the grade: a file that could not be written is not touched, and an old file
means that nobody vouches for it. It is left behind at the end for that reason.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

TOUCH_INTERVAL = 1.0


class TrackFile:
    """One instance's track file. ``problem`` is called with a text when it cannot be written."""

    def __init__(self, path: Path, problem: Callable[[str], None]) -> None:
        self._path = path
        self._problem = problem
        self._grade: int | None = None
        self._failing = False

    def set_grade(self, grade: int) -> None:
        """Write the grade at once."""
        self._grade = grade
        self._try(self._write)

    def touch(self) -> None:
        """Show that the grade is still meant; writes it anew when the file says another."""
        if self._grade is not None:
            self._try(self._touch)

    async def run(self) -> None:
        """Touch the file every second, for ever."""
        while True:
            await asyncio.sleep(TOUCH_INTERVAL)
            self.touch()

    def _touch(self) -> None:
        try:
            said = self._path.read_bytes()
        except FileNotFoundError:
            said = b""
        if said == self._content():
            os.utime(self._path)
        else:
            self._write()

    def _content(self) -> bytes:
        return f"{self._grade}\n".encode("ascii")

    def _write(self) -> None:
        draft = self._path.with_name(f".{self._path.name}.new")
        draft.write_bytes(self._content())
        draft.chmod(0o644)
        draft.replace(self._path)

    def _try(self, action: Callable[[], None]) -> None:
        """A failure is told once, until it works again; the grade still counts elsewhere."""
        try:
            action()
        except OSError as error:
            if not self._failing:
                self._problem(f"{self._path}: {error.strerror}")
            self._failing = True
        else:
            self._failing = False
