"""Files that have to agree, and one of them was changed by hand since init wrote it.

Decides when that stops the whole write. The invariant: after a write the server's file, ovpnha.toml
and keepalived's files say the same, or nothing was written. A file that was changed is never
written over, so it must say already what it would have to; what else it says is its owner's.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ovpnha.setup.files import CHECK_PATH, KEEPALIVED_PATH, NODE_PATH, TOML_PATH
from ovpnha.setup.manifest import digest_text

if TYPE_CHECKING:
    from ovpnha.setup.proposal import FileChange, Supplies


def find_stale(changes: Sequence[FileChange], supplies: Supplies) -> list[FileChange]:
    """Files that were changed by hand and would have to say something else."""
    return [one for one in changes if is_left(one, supplies) and _is_stale(one, supplies)]


def is_left(change: FileChange, supplies: Supplies) -> bool:
    """Whether somebody has changed the file, so that it is left as it is."""
    differs = change.before not in {None, change.after}
    return differs and change.path in supplies.edited and not change.in_place


def tell_stale(stale: Sequence[FileChange]) -> Iterator[str]:
    """One line for all of them."""
    if stale:
        yield (
            f"{', '.join(one.path for one in stale)}: changed by hand since init wrote it, and"
            " would have to say something else now. Nothing is written, as all files must agree:"
            " write the lines that the diff adds into it by hand and say this again, or go back"
            " first (ovpnha uninit --write; what was changed is kept in /var/lib/ovpnha/kept)"
        )


def note_edited(changes: Sequence[FileChange], supplies: Supplies) -> Iterator[str]:
    """What is said of those that do not stop anything."""
    for one in sorted(changes, key=lambda one: one.path):
        if is_left(one, supplies) and not _is_stale(one, supplies):
            yield f"{one.path}: was changed since init wrote it, and is left as it is"
        elif one.path in supplies.edited and one.in_place and one.before != one.after:
            yield f"{one.path}: was changed since init wrote it; the rest of that stays"


def _is_stale(change: FileChange, supplies: Supplies) -> bool:
    """Unless the same as last time would be written, or the file says what it would have to."""
    same = digest_text(change.after) == supplies.last.get(change.path) and not change.exact
    return change.path != CHECK_PATH and not same and not _agrees(change)


def _agrees(change: FileChange) -> bool:
    wanted, found = change.after, change.before or ""
    if change.path == TOML_PATH:
        try:
            return _contains(tomllib.loads(found), tomllib.loads(wanted))
        except tomllib.TOMLDecodeError:
            return False
    lines, there = _lines(wanted), _lines(found)
    if change.path == KEEPALIVED_PATH:  # a variable that node.conf leaves empty would be no address
        return lines <= there and {one for one in there if "$" in one} <= lines
    return change.path == NODE_PATH and lines <= there


def _lines(text: str) -> set[str]:
    plain = (line.strip() for line in text.split("\n"))
    return {line for line in plain if line and not line.startswith(("#", "!"))}


def _contains(found: Any, wanted: Any) -> bool:
    """Whether a part of a configuration says all that another one does."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        return all(key in found and _contains(found[key], one) for key, one in wanted.items())
    if isinstance(wanted, list) and isinstance(found, list):
        return all(any(_contains(there, one) for there in found) for one in wanted)
    return bool(found == wanted)
