"""What `ovpnha init` has changed on a host, so that all of it can be put back.

The invariant: a file is changed only when the manifest on disk has an entry for it, and the entry's
copy of what was there is on disk as well. So whatever is interrupted, and whenever, every file is
either as it was or as we have written it, and `ovpnha uninit` knows both. A file that is neither
was changed by somebody since: it is put back as well, and what it said is kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from ovpnha.errors import ConfigError

VERSION = 1
DAMAGED = "is damaged; what `ovpnha init` had found is in the files beside it, one for each number"


@dataclass(frozen=True)
class FileState:
    """A file as it is, or was."""

    digest: str
    """SHA-256 of its content, in hexadecimal digits."""
    mode: int
    user: int
    group: int


@dataclass(frozen=True)
class ManifestEntry:
    """One file that was changed, or is about to be."""

    path: str
    before: FileState | None
    """None: it was not there."""
    copy: str
    """Name of the copy of what was there; empty without one."""
    written: tuple[str, ...]
    """Digests of all that we have written there, the last one at the end."""


@dataclass(frozen=True)
class Manifest:
    """All files, and what else has to be known on the way back."""

    entries: tuple[ManifestEntry, ...] = ()
    directories: tuple[str, ...] = ()
    """Those that we have made, the outer ones first."""
    answers: Mapping[str, Any] | None = None
    before: Mapping[str, Any] | None = None
    """How services and addresses were (``ovpnha.setup.commands``)."""

    def entry(self, path: str) -> ManifestEntry | None:
        """That of a file."""
        return next((one for one in self.entries if one.path == path), None)

    def with_entry(self, path: str, before: FileState | None, digest: str) -> Manifest:
        """The same, and that this will be written there; what was there first is what counts."""
        known = self.entry(path)
        if known is None:
            copy = f"{len(self.entries) + 1:03}" if before is not None else ""
            return replace(
                self, entries=(*self.entries, ManifestEntry(path, before, copy, (digest,)))
            )
        if before is not None and before.digest not in _known(known):
            return self  # somebody's change is carried on: it is kept on the way back
        written = (*(one for one in known.written if one != digest), digest)
        changed = replace(known, written=written)
        return replace(
            self, entries=tuple(changed if one is known else one for one in self.entries)
        )

    def with_directories(self, made: Sequence[str]) -> Manifest:
        """The same, and that these directories will be made."""
        return replace(self, directories=tuple(dict.fromkeys((*self.directories, *made))))


class Return(Enum):
    """What has to be done with a file on the way back."""

    NOTHING = "is as it was"
    RESTORE = "is put back"
    REMOVE = "is removed"
    KEEP_AND_RESTORE = "was changed since; that is kept, and it is put back"
    KEEP_AND_REMOVE = "was changed since; that is kept, and it is removed"


def decide_return(entry: ManifestEntry, now: FileState | None) -> Return:
    """What to do with a file that is like this now."""
    if now == entry.before:
        return Return.NOTHING
    known = now is None or now.digest in _known(entry)
    if entry.before is None:
        return Return.REMOVE if known else Return.KEEP_AND_REMOVE
    return Return.RESTORE if known else Return.KEEP_AND_RESTORE


def is_edited(entry: ManifestEntry, now: FileState | None) -> bool:
    """Whether somebody has changed the content since."""
    return now is not None and now.digest not in _known(entry)


def _known(entry: ManifestEntry) -> tuple[str, ...]:
    return entry.written if entry.before is None else (*entry.written, entry.before.digest)


def digest_text(text: str) -> str:
    """SHA-256 of a text as it is in a file, in hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8", errors="surrogateescape")).hexdigest()


def render_manifest(manifest: Manifest) -> str:
    """As it is written to disk."""
    plain = {
        "version": VERSION,
        "entries": [
            {
                "path": one.path,
                "before": None if one.before is None else vars(one.before),
                "copy": one.copy,
                "written": list(one.written),
            }
            for one in manifest.entries
        ],
        "directories": list(manifest.directories),
        "answers": manifest.answers,
        "before": manifest.before,
    }
    return json.dumps(plain, indent=1) + "\n"


def parse_manifest(text: str, source: str) -> Manifest:
    """Back from disk; ConfigError when it is of another kind."""
    try:
        plain = json.loads(text)
        version = plain["version"]
        if version == VERSION:
            return _read(plain)
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"{source}: {DAMAGED}") from None
    raise ConfigError(
        f"{source}: is version {version} of another release of ovpnha; use that one to go back"
    )


def _read(plain: Mapping[str, Any]) -> Manifest:
    entries = (
        ManifestEntry(
            one["path"],
            None if one["before"] is None else FileState(**one["before"]),
            one["copy"],
            tuple(one["written"]),
        )
        for one in plain["entries"]
    )
    return Manifest(tuple(entries), tuple(plain["directories"]), plain["answers"], plain["before"])
