"""What ``/proc/PID/stat`` says of a process. Who asks decides what it means."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class ProcessStat(NamedTuple):
    """A process at one moment: all of it from one read, so that no part is another process's."""

    name: str
    state: str
    parent: int
    begun: int  # clock ticks since the machine's start

    @property
    def runs(self) -> bool:
        """Whether it has not ended; one that has, and was not buried, keeps its name."""
        return self.state not in "ZX"


def parse_stat(text: str) -> ProcessStat | None:
    """What the file says; None when it is empty, as of a process that is gone."""
    head, _, rest = text.rpartition(")")  # a name may have brackets of its own
    words = rest.split()
    if not words:
        return None
    return ProcessStat(head.partition("(")[2], words[0], int(words[1]), int(words[19]))


def read_stat(pid: int | str) -> ProcessStat | None:
    """What /proc shows of a process; None when that is nothing."""
    try:  # a name may be of any bytes
        return parse_stat(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None


def is_older(pid: int, than: int | str = "self") -> bool:
    """Whether a process began before another one did; False, too, when one of them is not seen."""
    one, other = read_stat(pid), read_stat(than)
    return one is not None and other is not None and one.begun < other.begun
