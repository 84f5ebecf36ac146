"""Writes what `ovpnha init` has proposed, and puts it back.

The order is the promise (``ovpnha.setup.manifest``): copies of what is there, then the manifest,
then the files, each by one rename; on the way back the files, then the manifest, then the copies.
Killed between any two of these, both commands can be run again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ovpnha.errors import ConfigError, OvpnhaError
from ovpnha.runtime.disk import Disk, digest, resolve_below
from ovpnha.setup.host import NamedState
from ovpnha.setup.manifest import (
    Manifest,
    ManifestEntry,
    Return,
    decide_return,
    is_edited,
    parse_manifest,
    render_manifest,
)
from ovpnha.setup.proposal import DirectoryChange, FileChange

STATE = Path("var/lib/ovpnha/init")
KEPT = Path("var/lib/ovpnha/kept")
PRIVATE = 0o600

IMMUTABLE = "; even root may not: look with lsattr, and whether the file system is read-only"
NOT_BEGUN = "Nothing was changed"
BEGUN = (
    "What was done so far is noted: correct that and say this again, or put everything back:"
    " ovpnha uninit --write"
)
FindOwner = Callable[[str, str], tuple[int, int]]
"""Numbers of a user's and a group's name."""


class InstallationError(OvpnhaError):
    """A file could not be written or put back; what was done until then stays, and is known."""


class Installation:
    """What was written below one root directory."""

    def __init__(self, root: Path, disk: Disk | None = None) -> None:
        self._root = root
        self._disk = disk or Disk()
        self.directory = root / STATE
        self._file = self.directory / "manifest.json"
        self._begun = False

    def read(self) -> Manifest:
        """The manifest; an empty one when nothing was written."""
        try:
            text = self._file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return Manifest()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{self._file}: cannot be read: {error}") from None
        return parse_manifest(text, str(self._file))

    def read_bases(self, manifest: Manifest) -> tuple[dict[str, str | None], frozenset[str]]:
        """Files that stand as we wrote them, with what was there before; and those that do not."""
        bases: dict[str, str | None] = {}
        edited = set()
        with self._explained():
            for one in manifest.entries:
                now = self._disk.read_state(self._at(one.path))
                if now is not None and now.digest in one.written:
                    bases[one.path] = self._original(one)
                elif is_edited(one, now):
                    edited.add(one.path)
        return bases, frozenset(edited)

    def write(
        self,
        changes: Sequence[FileChange],
        answers: Mapping[str, Any],
        before: Mapping[str, Any],
        find_owner: FindOwner,
        directories: Sequence[DirectoryChange] = (),
    ) -> None:
        """Write all of it; what was there first is kept, however often this is called."""
        with self._alone(), self._explained():
            self._check_unchanged(changes)
            manifest = self._note(changes, answers, before, directories)
            self._begun = True
            states = {one.path: one.state for one in directories}
            for path in manifest.directories:
                state = states.get(path, NamedState(0o755))
                owner = find_owner(state.user, state.group)
                self._disk.make_directory(self._at(path), state.mode, owner)
            for one in changes:
                self._write_one(one, find_owner)

    def _check_unchanged(self, changes: Sequence[FileChange]) -> None:
        """What is written was decided by what stood there: by nobody's earlier text."""
        for one in changes:
            now = self._disk.read_state(self._at(one.path))
            before = None if one.before is None else digest(encode(one.before))
            stands = None if now is None else now.digest
            if stands not in {before, digest(encode(one.after))}:
                raise InstallationError(
                    f"{one.path}: somebody has changed it since it was read here. {NOT_BEGUN}; say"
                    " this again, and look at the differences anew"
                )

    def _note(
        self,
        changes: Sequence[FileChange],
        answers: Mapping[str, Any],
        before: Mapping[str, Any],
        directories: Sequence[DirectoryChange],
    ) -> Manifest:
        manifest = earlier = self.read()
        for one in changes:
            path = self._at(one.path)
            now, content = self._disk.read_state(path), encode(one.after)
            manifest = manifest.with_entry(one.path, now, digest(content))
            manifest = manifest.with_directories(self._missing_directories(path))
        for made in directories:
            inside = self._at(made.path) / "x"
            manifest = manifest.with_directories(self._missing_directories(inside))
        for entry in manifest.entries:
            if earlier.entry(entry.path) is None and entry.copy:
                content = self._at(entry.path).read_bytes()
                self._put_private(self.directory / entry.copy, content)
        kept = manifest.before if manifest.before is not None else before
        manifest = Manifest(manifest.entries, manifest.directories, answers, kept)
        self._put_private(self._file, render_manifest(manifest).encode())
        return manifest

    def _missing_directories(self, path: Path) -> list[str]:
        missing = [one for one in reversed(path.parents) if not one.exists()]
        return [f"/{one.relative_to(self._root)}" for one in missing]

    def _write_one(self, change: FileChange, find_owner: FindOwner) -> None:
        path = self._at(change.path)
        now = self._disk.read_state(path)
        owner = find_owner(change.owner, change.group)
        mode = 0o644 if change.mode is None else change.mode
        if now is not None:
            mode = now.mode if change.mode is None else mode
            user = owner[0] if change.owner else now.user
            group = owner[1] if change.group or change.owner else now.group
            owner = (user, group)
        self._disk.put(path, encode(change.after), mode, owner)

    def plan_return(self) -> list[tuple[ManifestEntry, Return]]:
        """What ``put_back`` would do with each file."""
        with self._explained():
            found = [
                (one, self._disk.read_state(self._at(one.path))) for one in self.read().entries
            ]
        return [(one, decide_return(one, now)) for one, now in found]

    def put_back(self, *, forget: bool = True) -> list[Path]:
        """Put everything back; returns where content is kept that somebody had changed.

        ``forget`` is whether that was all: else what is noted stays until ``forget`` is called.
        """
        kept: list[Path] = []
        if not self.directory.exists():
            return kept
        with self._alone(), self._explained():
            manifest = self.read()
            plan = self.plan_return()
            for one, what in plan:
                self._check_copy(one, what)
            self._begun = True
            for one, what in plan:
                if what in {Return.KEEP_AND_RESTORE, Return.KEEP_AND_REMOVE}:
                    kept.append(self._keep(self._at(one.path)))
                self._return(one, what)
            for name in reversed(manifest.directories):
                self._disk.remove_directory(self._at(name))
            if forget:
                self._forget()
        return kept

    def forget(self) -> None:
        """Everything is as it was before: nothing is noted any more."""
        if self.directory.exists():
            with self._alone(), self._explained():
                self._forget()

    def _return(self, entry: ManifestEntry, what: Return) -> None:
        path, before = self._at(entry.path), entry.before
        if before is None:
            self._disk.remove(path)
        elif what is not Return.NOTHING:
            content = self._read_original(entry)
            self._disk.put(path, content, before.mode, (before.user, before.group))
        self._disk.tidy(path)

    def _keep(self, path: Path) -> Path:
        """A copy of a file that somebody has changed; none is ever overwritten."""
        name = self._root / KEPT / str(path.relative_to(self._root)).replace("/", "-")
        content = path.read_bytes()
        number = 0
        place = name
        while place.exists() and place.read_bytes() != content:
            number += 1
            place = name.with_name(f"{name.name}.{number}")
        self._make_private(place.parent)
        self._put_private(place, content)
        return place

    def _forget(self) -> None:
        self._disk.remove(self._file)
        for one in sorted(self.directory.iterdir()):
            self._disk.remove(one)
        for directory in (self.directory, self.directory.parent):
            self._disk.remove_directory(directory)

    def _original(self, entry: ManifestEntry) -> str | None:
        if entry.before is None:
            return None
        return decode(self._read_original(entry))

    def _check_copy(self, entry: ManifestEntry, what: Return) -> None:
        """Before the first file is put back: that this one can be."""
        if what not in {Return.NOTHING, Return.REMOVE, Return.KEEP_AND_REMOVE}:
            self._read_original(entry)

    def _read_original(self, entry: ManifestEntry) -> bytes:
        """What was there first: of the copy, or still of the file itself."""
        wanted = "" if entry.before is None else entry.before.digest
        copy = self.directory / entry.copy
        for place in (copy, self._at(entry.path)):
            content = place.read_bytes() if place.is_file() else b""
            if digest(content) == wanted:
                return content
        raise InstallationError(
            f"{copy}: is the copy of {entry.path} as it was, and is damaged or gone; nothing was"
            f" put back. From a backup of yours: put a good one there (SHA-256 {wanted}), or the"
            " file itself back, and say this again"
        )

    def _put_private(self, path: Path, content: bytes) -> None:
        self._disk.put(path, content, PRIVATE, (os.geteuid(), os.getegid()))

    def _make_private(self, path: Path) -> None:
        for one in reversed((path, *path.parents)):
            if not one.exists():
                self._disk.make_directory(one, 0o700 if one == path else 0o755)

    def _at(self, path: str) -> Path:
        return resolve_below(self._root, path)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One at a time; the lock goes with the process."""
        with self._explained():
            self._make_private(self.directory)
            descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise InstallationError("another `ovpnha init` or `uninit` runs; wait for it") from None
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except BlockingIOError:
            raise
        except OSError as error:
            hint = ""
            if isinstance(error, PermissionError):
                hint = IMMUTABLE if os.geteuid() == 0 else "; run it as root"
            raise InstallationError(
                f"{error.filename}: {error.strerror}{hint}. {BEGUN if self._begun else NOT_BEGUN}"
            ) from None


def encode(text: str) -> bytes:
    """The bytes of a text, also those that were no UTF-8."""
    return text.encode("utf-8", errors="surrogateescape")


def decode(content: bytes) -> str:
    """The text of these bytes; see ``encode``."""
    return content.decode("utf-8", errors="surrogateescape")
