"""The file from which an OpenVPN without the patch reads who shall have which address.

    ifconfig-pool-persist FILE 0          0: OpenVPN reads it, and never writes it

OpenVPN opens the file once and goes on reading where it had stopped each time that it starts anew
in its process (SIGUSR1), whoever tells it to. So what it is to read then stands behind all that
has been in the file, what was there before is made a comment, and the file never shrinks while a
process has it open. It may read at any moment, from any place where the file once ended. So the
file consists of slots of equal size, a line in each, and a slot changes by one byte::

    ######################⏎name,10.8.0.6,fd00::6⏎      the line counts
    #######################name,10.8.0.6,fd00::6⏎      the same slot is one comment

New lines are written as comments first; then the old ones become comments; then the new ones
count. A reader finds each line whole or not at all, never half of it, and never two that disagree.
A write that fails half-way leaves comments.

Decides how the file is written, never what stands in it, nor when. It is written in place, by the
user of the sidecar; OpenVPN opens it before it gives up its privileges. Measured: docs/adr/0067.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

SLOT = 128
"""Bytes of a slot. OpenVPN has names of 64 bytes at most; it reads 512 bytes at a time."""

SIZE_LIMIT = 32 * 1024 * 1024
"""Bytes, from the end, that are read of a file that was there before."""

SHRINK_ABOVE = 1024 * 1024
"""Bytes of old comments above which the file is made small again once nobody has it open."""

MODE = 0o600
FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
COMMENT = b"#" * (SLOT - 1) + b"\n"


@dataclass
class SlotTable:
    """What stands where in the file."""

    begin: int = 0  # before it are no slots: it was written by somebody else
    size: int = 0
    slots: dict[bytes, int] = field(default_factory=dict)  # lines that count; where their slots are

    @property
    def unused(self) -> int:
        """Bytes of comments."""
        return self.size - SLOT * len(self.slots)

    def place(self, count: int, begin: int) -> Iterator[int]:
        """So many free slots, the first ones from there on."""
        taken = set(self.slots.values())
        at = begin
        while count:
            if at not in taken:
                yield at
                count -= 1
            at += SLOT


class PoolFile:
    """One instance's.

    Args:
        path: The file.
        problem: Called with a text when it cannot be written, once until it can.
    """

    def __init__(self, path: Path, problem: Callable[[str], None]) -> None:
        self._path = path
        self._problem = problem
        self._failing = False
        self._text = ""
        self._table = SlotTable()
        self._left: tuple[int, ...] = ()  # what the file was when it was last written

    def load(self) -> str:
        """What stands in it; makes it where there is none, as OpenVPN opens it only when it starts.

        Never raises.
        """
        try:
            file = os.open(self._path, FLAGS, MODE)
            try:
                found = _read(file)
            finally:
                os.close(file)
        except OSError as error:
            self._fail(error)
            return ""
        lines = (line for line in found.decode("utf-8", "replace").splitlines() if line)
        self._text = "".join(f"{line}\n" for line in lines if not line.startswith("#"))
        return self._text

    def keep(self, text: str, *, to_be_read: bool) -> None:
        """Write it; behind all that OpenVPN has read, if it shall read it in the same process."""
        self._text = text
        try:
            file = os.open(self._path, FLAGS, MODE)
            try:
                self._keep(file, _encode(text), to_be_read=to_be_read)
                self._left = _look(file)
            finally:
                os.close(file)
            self._failing = False
        except OSError as error:
            self._left = ()
            self._fail(error)

    def rest(self) -> None:
        """OpenVPN has ended: if nobody has the file open, it may be small again."""
        if self._table.unused > SHRINK_ABOVE:
            self.keep(self._text, to_be_read=False)

    def _keep(self, file: int, lines: list[bytes], *, to_be_read: bool) -> None:
        if self._left != _look(file):
            self._table = _find_table(file)
        if self._table.unused > SHRINK_ABOVE and not to_be_read and _is_alone(file):
            os.ftruncate(file, 0)
            self._table = SlotTable()
        table = self._table
        old = dict(table.slots)
        kept = frozenset() if to_be_read else old.keys() & set(lines)
        new = [line for line in lines if line not in kept]
        places = list(table.place(len(new), table.size if to_be_read else table.begin))
        self._write_comments(file, new, places)
        for line, at in old.items():
            if line not in kept:
                _write(file, b"#", _switch(line, at))
                del table.slots[line]
        for line, at in zip(new, places, strict=True):
            _write(file, b"\n", _switch(line, at))
            table.slots[line] = at

    def _write_comments(self, file: int, lines: list[bytes], places: list[int]) -> None:
        """Into free slots; those at the end of the file in one write."""
        table = self._table
        behind = b""
        for line, at in zip(lines, places, strict=True):
            slot = line.rjust(SLOT - 1, b"#") + b"\n"
            if at < table.size:
                _write(file, slot, at)
            else:
                behind += slot
        _write(file, behind, table.size)
        table.size += len(behind)

    def _fail(self, error: OSError) -> None:
        if not self._failing:
            self._failing = True
            self._problem(error.strerror or type(error).__name__)


def _encode(text: str) -> list[bytes]:
    """Its lines, each once; one that has no room in a slot is left out."""
    lines = (line.encode("utf-8", "replace") for line in text.splitlines())
    return [line for line in dict.fromkeys(lines) if line and len(line) <= SLOT - 3]


def _switch(line: bytes, at: int) -> int:
    """The one byte of a slot that says whether its line counts."""
    return at + SLOT - 2 - len(line)


def _look(file: int) -> tuple[int, ...]:
    found = os.fstat(file)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _read(file: int) -> bytes:
    """The file's end; a line that begins before it is left out."""
    skipped = max(0, os.fstat(file).st_size - SIZE_LIMIT)
    with os.fdopen(os.dup(file), "rb") as opened:
        opened.seek(skipped)
        return (b"#" if skipped else b"") + opened.read(SIZE_LIMIT)


def _find_table(file: int) -> SlotTable:
    """Of a file that somebody else has written, or a sidecar before this one.

    What is no slot of ours becomes a comment, and whatever is written then stands behind it.
    """
    size = os.fstat(file).st_size
    found = _read(file) if size <= SIZE_LIMIT else b""
    slots = _find_slots(found) if size and len(found) == size else None
    if slots is not None:
        return SlotTable(0, size, slots)
    whole = -(-size // SLOT) * SLOT
    _write(file, COMMENT * (whole // SLOT), 0)
    return SlotTable(whole, whole)


def _find_slots(found: bytes) -> dict[bytes, int] | None:
    """The lines that count; None, when it does not consist of slots."""
    slots: dict[bytes, int] = {}
    for at in range(0, len(found), SLOT):
        comment, _, line = found[at : at + SLOT - 1].partition(b"\n")
        if found[at + SLOT - 1 : at + SLOT] != b"\n" or comment[:1] != b"#" or b"\n" in line:
            return None
        if line in slots:
            return None
        if line:
            slots[line] = at
    return slots


def _is_alone(file: int) -> bool:
    """Whether nobody else has the file open; who opens it now waits until this one is closed."""
    try:
        fcntl.fcntl(file, fcntl.F_SETSIG, signal.SIGURG)  # that nobody minds
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    except OSError:
        return False
    return True


def _write(file: int, data: bytes, at: int) -> None:
    """All of it.

    Raises:
        OSError: There is no room for it.
    """
    while data:
        written = os.pwrite(file, data, at)
        if not written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        data, at = data[written:], at + written
