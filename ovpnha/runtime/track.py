"""The track file: the number that keepalived adds to this node's priority (docs/roles.md).

Decides how it is written: beside it, then renamed over it, so that no reader sees half a number
(keepalived's inotify watch follows renames). Every second it is read and touched, or written anew
when it does not say the grade: a file that could not be written is not touched, and an old file
means that nobody vouches for it. It is left behind at the end for that reason, and so is the file
beside it that names the OpenVPN it speaks of: ``check-grade`` sees by it whether that one goes on.

Decides, too, whether somebody reads it: a file renamed into place has never been read, and its
time of access says when it was. Rules: docs/adr/0025-who-reads-the-grade.md.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ovpnha.config.paths import draft_of
from ovpnha.runtime.replacing import replacing

MODE = 0o644
TOUCH_INTERVAL = 1.0

READ_WITHIN = 0.5
"""Seconds after which a VIP manager that watches the file has read it, on a busy host too."""

UNREAD_LIMIT = 5
"""Times in a row that nobody read the file, after which nobody does."""

NEVER = 0
"""The time of access of a file that nobody has read."""


@dataclass(frozen=True)
class Vouched:
    """The OpenVPN that a grade speaks of, for those who ask when the sidecar cannot."""

    pid: int
    vips: tuple[str, ...]  # empty while they are not known
    inode: int = 0  # of the socket that its clients send to; 0 while that is not known


class TrackFile:
    """One instance's track file.

    Args:
        path: The file; ``path.openvpn`` is the one beside it.
        problem: Called with a text when it cannot be written.
        vouched: Gives what the grade speaks of.
        reader: Called when it has turned out that somebody reads the file, or that nobody does.
    """

    def __init__(
        self,
        path: Path,
        problem: Callable[[str], None],
        vouched: Callable[[], Vouched | None] = lambda: None,
        reader: Callable[[bool], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._beside = path.with_name(f"{path.name}.openvpn")
        self._problem = problem
        self._vouched = vouched
        self._reader = reader
        self._clock = clock
        self._grade: int | None = None
        self._failing = False
        self._renamed: float | None = None  # when the file came that may have been read since
        self._unread = 0
        self._read: bool | None = None  # what was told of readers

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
            said, accessed = self._look()
        except FileNotFoundError:
            self._write()
            return
        self._note_reader(accessed)
        if said != self._content():
            self._write()
            return
        os.utime(self._path, ns=(accessed, time.time_ns()))
        self._name_openvpn()
        if self._renamed is None:
            self._replace(self._path, self._content())

    def _look(self) -> tuple[bytes, int]:
        """What the file says, and when it was read last; this look does not count."""
        with open(os.open(self._path, os.O_RDONLY | os.O_NOATIME), "rb") as file:
            return file.read(), os.fstat(file.fileno()).st_atime_ns

    def _note_reader(self, accessed: int) -> None:
        """Tell of a reader at once, and that there is none when it has been missed for long."""
        if self._renamed is None or self._clock() < self._renamed + READ_WITHIN:
            return
        self._renamed = None
        self._unread = self._unread + 1 if accessed == NEVER else 0
        if 0 < self._unread < UNREAD_LIMIT or self._read is (not self._unread):
            return
        self._read = not self._unread
        self._reader(self._read)

    def _content(self) -> bytes:
        return f"{self._grade}\n".encode("ascii")

    def _write(self) -> None:
        self._name_openvpn()
        self._replace(self._path, self._content())

    def _name_openvpn(self) -> None:
        """OpenVPN's process, address and socket; nothing while there is none to vouch for."""
        vouched = self._vouched()
        if vouched is None:
            self._beside.unlink(missing_ok=True)
            return
        lines = [
            " ".join((str(vouched.pid), *vouched.vips)),
            *([str(vouched.inode)] if vouched.inode else []),
        ]
        content = "".join(f"{line}\n" for line in lines).encode()
        if not self._beside.exists() or self._beside.read_bytes() != content:
            self._replace(self._beside, content)

    def _replace(self, path: Path, content: bytes) -> None:
        with replacing(path, MODE) as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), MODE)  # the VIP manager's user reads it, whatever our umask
            tells = _tells_readers(draft_of(path))
        if path == self._path:
            self._renamed = self._clock() if tells else None

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


def _tells_readers(path: Path) -> bool:
    """Whether this file system notes that a file was read; the file counts as unread afterwards."""
    unread = (NEVER, path.stat().st_mtime_ns)
    os.utime(path, ns=unread)
    path.read_bytes()
    tells = path.stat().st_atime_ns != NEVER
    os.utime(path, ns=unread)
    return tells
