"""Looks now and then whether the patched OpenVPN is built on an older source than Debian's.

Decides what Debian's is: the ``openvpn`` that is installed, or that apt's lists of this release
have. It reads files only, in a thread and in pieces, and asks no program: nothing of this may delay
a promotion. None means that nobody can tell, as where OpenVPN did not come as a package of ours.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import structlog

from ovpnha.doctor.facts import Unread
from ovpnha.doctor.host import older_source
from ovpnha.doctor.versions import source_version
from ovpnha.runtime.hostpackages import read_packages

LOOK_INTERVAL = 3600.0
FIRST_LOOK = 20.0
"""Seconds: a sidecar that starts has clients to look after."""
PIECE = 1024 * 1024
LISTS = Path("/var/lib/apt/lists")
RELEASE = Path("/etc/os-release")
WANTED = b"\nPackage: openvpn\n"
PARAGRAPH_LIMIT = 16 * 1024

log = structlog.get_logger()


class SourceWatcher:
    """``newer`` is the version of Debian's that ours is older than; "" when it is older than none.

    None while that is not known.
    """

    def __init__(
        self,
        root: Path = Path("/"),
        interval: float = LOOK_INTERVAL,
        first: float = FIRST_LOOK,
    ) -> None:
        self._root = root
        self._interval = interval
        self._first = first
        self.newer: str | None = None

    async def run(self) -> None:
        """Look, for ever."""
        await asyncio.sleep(self._first)
        while True:
            try:
                newer = await asyncio.to_thread(find_newer, self._root)
            except Exception:  # the task boundary: no file of the host may end the sidecar
                log.exception("source of openvpn not looked at")
                newer = None
            if newer and newer != self.newer:
                log.warning("openvpn is built on an older source", newer=newer)
            self.newer = newer
            await asyncio.sleep(self._interval)


def find_newer(root: Path) -> str | None:
    """See ``SourceWatcher``."""
    packages = read_packages(root)
    if isinstance(packages, Unread) or not packages.built_from:
        return None
    return older_source(replace(packages, available=tuple(read_listed(root))))


def read_listed(root: Path) -> Iterator[str]:
    """Versions of ``openvpn`` in apt's lists, but for those of backports and other releases."""
    codename = _read_codename(root / RELEASE.relative_to("/"))
    name = re.compile(rf"_dists_{re.escape(codename)}(-security|-updates|_updates)?_.*_Packages$")
    try:
        paths = sorted((root / LISTS.relative_to("/")).iterdir()) if codename else []
    except OSError:
        paths = []
    for path in paths:
        if name.search(path.name):
            yield from filter(None, [_read_version(path)])


def _read_codename(path: Path) -> str:
    try:
        found = re.search(r'^VERSION_CODENAME="?([a-z]+)', path.read_text(), re.M)
    except OSError:
        return ""
    return found[1] if found else ""


def _read_version(path: Path) -> str:
    """The version of ``openvpn`` in a list, which is large."""
    try:
        with path.open("rb") as file:
            before = b"\n"
            while piece := file.read(PIECE):
                text = before + piece
                at = text.find(WANTED)
                if at >= 0:
                    return _version_in(text[at + 1 :] + file.read(PARAGRAPH_LIMIT))
                before = text[-len(WANTED) :]
    except OSError:
        return ""
    return ""


def _version_in(text: bytes) -> str:
    paragraph = text.partition(b"\n\n")[0].decode(errors="replace")
    found = re.search(r"^Version: (\S+)$", paragraph, re.M)
    return source_version(found[1]) if found else ""
