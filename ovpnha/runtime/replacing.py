"""Replaces a secret file in one step. Decides nothing; must never tell what is in it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ovpnha.errors import ConfigError
from ovpnha.runtime.disk import Disk


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
