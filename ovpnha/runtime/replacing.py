"""Replaces a file in one step: whoever reads it finds all of the old one, or all of the new.

A secret file of an administrator keeps its owner and mode and goes to the disk (`replace_file`).
What the sidecar keeps for itself or tells others is drafted anew, following no link that somebody
has put there (`replacing`). Decides nothing else; must never tell what is in a file.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ovpnha.config.paths import draft_of
from ovpnha.errors import ConfigError
from ovpnha.runtime.disk import Disk

FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


def replace_file(path: Path, text: str) -> None:
    """Put this text in the place of a secret file, in one step, with its owner and mode.

    Whoever looks, and whenever the power fails, finds the old content or the new one. A link leads
    to the file that is replaced.
    """
    real = Path(os.path.realpath(path))
    try:
        found = real.stat()
        owner = (found.st_uid, found.st_gid)
        Disk().put(real, text.encode("ascii"), stat.S_IMODE(found.st_mode), owner)
    except OSError as error:
        hint = "; be root" if isinstance(error, PermissionError) else ""
        raise ConfigError(f"{path}: cannot be replaced: {error.strerror}{hint}") from None


@contextlib.contextmanager
def replacing(path: Path, mode: int) -> Iterator[BinaryIO]:
    """Fill what this yields; at the end it is ``path``. OSError leaves the file as it was.

    Args:
        path: The file; there need be none yet.
        mode: Of the new one, less the process's umask.
    """
    draft = draft_of(path)
    try:
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, FLAGS, mode), "wb") as file:
            yield file
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
