"""keepalived's files as it reads them: each with what it includes in the include's place.

The one reader of them, for ``init`` and for ``doctor``. Decides which files are meant; what their
lines mean is ``ovpnha.doctor.keepalived``'s. Everything is below one root directory.
"""

from __future__ import annotations

import glob
import posixpath
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ovpnha.doctor.keepalived import find_include
from ovpnha.runtime.disk import read_short, resolve_below

FILES_LIMIT = 64


@dataclass(frozen=True)
class KeepalivedReader:
    """Reads each file once, however often it is included."""

    fail: Callable[[OSError], None]
    """Told of a file that cannot be read; nothing stands in its place if this returns."""
    root: Path = Path("/")
    texts: dict[str, str] = field(default_factory=dict)
    """Of the files that were read, by their paths."""

    def lines(self, path: str) -> Iterator[str]:
        """The lines of a file, with those of the files that it includes in their place."""
        try:
            text = read_short(resolve_below(self.root, path)).decode(errors="replace")
        except OSError as error:
            self.fail(error)
            return
        self.texts[path] = text
        for line in text.splitlines():
            pattern = find_include(line)
            if not pattern:
                yield line
                continue
            for one in self._find(posixpath.normpath(PurePosixPath(path).parent / pattern)):
                if one not in self.texts and len(self.texts) < FILES_LIMIT:
                    yield from self.lines(one)

    def _find(self, pattern: str) -> list[str]:
        """The files of a pattern; one that is not there is told of when it is read."""
        found = glob.glob(pattern.lstrip("/"), root_dir=self.root)
        return [f"/{one}" for one in sorted(found)] or [pattern]
