"""The history on disk: one JSON object a line, appended, and made anew when it has grown.

    {"v": 1, "key": "…", "revision": 0, "node": "vpn-a", "instance": "udp", "when": …, …}

Decides what of a file can be used and when it is made anew (``LINES``, ``BYTES``). A later line
with the same key takes the place of an earlier one. What can go wrong, and the rule for it:

* The power fails in mid-line: the line is skipped and told of, and the next one begins a new line.
* The disk is full: what was half written is cut off again, and all of it is written when there is
  room (``HistoryKeeper``).
* The file is made anew and the power fails: whoever looks finds the old one or the new one.
* Something else is there, or was written by hand: what is no entry is skipped and told of.

Must be called where a slow disk disturbs nobody.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ovpnha.errors import RefusedDatagram
from ovpnha.replication.history import HISTORY_ENTRY, LIMIT, HistoryEntry
from ovpnha.runtime.codec import from_plain, to_plain
from ovpnha.runtime.replacing import replacing

VERSION = 1
BYTES = 1024 * 1024
LINES = 2 * LIMIT
MODE = 0o640


@dataclass(frozen=True)
class FoundHistory:
    """What a file had."""

    entries: tuple[HistoryEntry, ...] = ()
    skipped: int = 0  # lines that are no entries
    problem: str = ""  # why there is nothing of it; "" also when there is no file yet


class HistoryFile:
    """One file; its directory is made by whoever installs the sidecar."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines = 0

    @property
    def path(self) -> Path:
        """Where it is."""
        return self._path

    def read(self) -> FoundHistory:
        """All that can be used; never raises."""
        try:
            data = self._load()
        except FileNotFoundError:
            return FoundHistory()
        except OSError as error:
            return FoundHistory(problem=f"{self._path}: cannot be read: {error.strerror}")
        lines = data.decode("utf-8", "replace").splitlines()
        self._lines = len(lines)
        entries = [entry for line in lines if (entry := _read_line(line)) is not None]
        filled = sum(bool(line.strip()) for line in lines)
        return FoundHistory(tuple(entries), filled - len(entries))

    def _load(self) -> bytes:
        """The end of it, if it is far too long: nobody may make a start slow by a large file."""
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise OSError(0, "is not a regular file")
            file.seek(max(0, found.st_size - BYTES))
            return file.read(BYTES)

    def append(self, entries: Iterable[HistoryEntry]) -> bool:
        """Add these; returns whether it should be made anew. OSError leaves it as it was."""
        lines = [_write_line(entry) for entry in entries]
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(self._path, flags, MODE)
        try:
            size = os.fstat(descriptor).st_size
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            _write_whole(descriptor, (b"\n" if torn else b"") + b"".join(lines), size)
        finally:
            os.close(descriptor)
        self._lines += len(lines)
        return self._lines > LINES or size > BYTES // 2

    def rewrite(self, entries: Iterable[HistoryEntry]) -> None:
        """Let it have just these; OSError leaves it as it was."""
        lines = [_write_line(entry) for entry in entries]
        with replacing(self._path, MODE) as file:
            file.write(b"".join(lines))
            file.flush()
            os.fsync(file.fileno())
        self._lines = len(lines)


def find_history_file(path: Path) -> HistoryFile | None:
    """None where its directory is not there, or is behind one that this user may not enter."""
    try:
        return HistoryFile(path) if path.parent.is_dir() else None
    except OSError:
        return None


def _write_whole(descriptor: int, data: bytes, size: int) -> None:
    """All of it, to the disk, or nothing."""
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, size)
        raise


def _write_line(entry: HistoryEntry) -> bytes:
    return json.dumps({"v": VERSION, **to_plain(entry)}).encode() + b"\n"


def _read_line(line: str) -> HistoryEntry | None:
    """The entry of a line; None when it has none, or is of a later format."""
    try:
        plain = json.loads(line)
        version = plain.pop("v") if isinstance(plain, dict) else None
        if version != VERSION:
            return None
        entry = from_plain(HistoryEntry, plain)
        return HISTORY_ENTRY.read_untrusted(HISTORY_ENTRY.write(entry))  # it must be fit to travel
    except (ValueError, KeyError, OverflowError, RecursionError, RefusedDatagram):
        return None
