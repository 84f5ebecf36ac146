"""Whether the journal of systemd reads what is written. Decides nothing else."""

from __future__ import annotations

import os
from typing import TextIO


def is_journal(output: TextIO) -> bool:
    """Whether the journal reads this stream, and the priority at the beginning of a line."""
    try:
        status = os.fstat(output.fileno())
    except (OSError, ValueError):  # no file at all
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
