"""Changes files one whole step at a time: whoever looks finds the old content or the new one.

Decides nothing. Every step that can be interrupted goes through ``step``, which a test may make
fail: what is on disk then is what a power cut would leave.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from pathlib import Path, PurePosixPath

from ovpnha.setup.manifest import FileState

FRESH = ".ovpnha-new"
"""End of the name under which a file is written before it takes its place."""


SIZE_LIMIT = 1 << 20
LINKS_LIMIT = 40


def resolve_below(root: Path, path: str) -> Path:
    """Where a path of a host leads whose files are below this directory: links lead there too."""
    place, links = root, 0
    left = [*reversed(PurePosixPath(path.lstrip("/")).parts)]
    while left:
        name = left.pop()
        if name == "..":
            place = root if place == root else place.parent
        elif not (place / name).is_symlink():
            place /= name
        else:
            links += 1
            if links > LINKS_LIMIT:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            target = (place / name).readlink()
            place = root if target.is_absolute() else place
            left += [one for one in reversed(target.parts) if one != target.root]
    return place


def read_short(path: Path) -> bytes:
    """A configuration; what is larger than one can be is none."""
    with path.open("rb") as file:
        content = file.read(SIZE_LIMIT + 1)
    if len(content) > SIZE_LIMIT:
        raise OSError(errno.EFBIG, f"has more than {SIZE_LIMIT >> 20} MiB")
    return content


class Disk:
    """The files of this host."""

    def step(self, _what: str) -> None:
        """Called before each thing that is done."""

    def read_state(self, path: Path) -> FileState | None:
        """A file as it is; None when there is none."""
        try:
            found = path.stat()
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        mode = stat.S_IMODE(found.st_mode)
        return FileState(digest(content), mode, found.st_uid, found.st_gid)

    def put(self, path: Path, content: bytes, mode: int, owner: tuple[int, int]) -> None:
        """Write a file, whole and to the disk, or not at all."""
        fresh = path.with_name(path.name + FRESH)
        self.step(f"write {fresh}")
        try:
            self._fill(fresh, content, mode, owner)
            self.step(f"rename {fresh}")
            fresh.replace(path)
        except OSError as error:  # a full disk names no file
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)
            raise OSError(error.errno, error.strerror, str(path)) from None
        self._flush(path.parent)

    def _fill(self, fresh: Path, content: bytes, mode: int, owner: tuple[int, int]) -> None:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            if (os.geteuid(), os.getegid()) != owner:
                os.fchown(descriptor, *owner)
            os.fchmod(descriptor, mode)
            self.step(f"fill {fresh}")
            file.write(content)
            file.flush()
            os.fsync(descriptor)

    def remove(self, path: Path) -> None:
        """Remove a file, and what an interrupted ``put`` has left of it."""
        self.step(f"remove {path}")
        path.unlink(missing_ok=True)
        self.tidy(path)

    def tidy(self, path: Path) -> None:
        """Remove what an interrupted ``put`` has left of a file."""
        path.with_name(path.name + FRESH).unlink(missing_ok=True)

    def make_directory(
        self, path: Path, mode: int = 0o755, owner: tuple[int, int] | None = None
    ) -> None:
        """Make a directory that is not there, whatever the umask is."""
        self.step(f"mkdir {path}")
        masked = os.umask(0o777 & ~mode)
        try:
            path.mkdir(mode=mode)
        except FileExistsError:
            return
        finally:
            os.umask(masked)
        path.chmod(mode)
        if owner not in {None, (os.geteuid(), os.getegid())}:
            os.chown(path, *(owner or ()))

    def remove_directory(self, path: Path) -> None:
        """Remove a directory, unless something is in it."""
        self.step(f"rmdir {path}")
        with contextlib.suppress(OSError):
            path.rmdir()

    def _flush(self, directory: Path) -> None:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def digest(content: bytes) -> str:
    """SHA-256, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()
