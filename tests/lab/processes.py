"""What the kernel tells of a process, which may end between one look and the next.

Decides only that an end is no error: a process that is gone has no children, no name, and is not
watched. It has no memory to tell of, either, which is one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


def find_children(pid: int) -> list[int]:
    """The children of a process now; none when it is gone."""
    return [int(child) for child in _read(pid, f"task/{pid}/children").split()]


def find_descendants(pid: int) -> Iterator[int]:
    """A process and all that it has started and has not ended."""
    yield pid
    for child in find_children(pid):
        yield from find_descendants(child)


def name_of(pid: int) -> str:
    """The name of a process; "" when it is gone."""
    return _read(pid, "comm").strip()


def resident_kib(pid: int) -> int:
    """Resident memory of a process.

    Raises:
        ProcessLookupError: It has ended, and a figure would be a wrong one.
    """
    return _kib(pid, "status", "VmRSS:")


def shared_kib(pid: int) -> int:
    """Its proportional share (PSS): what it has with others counts for each of them in part.

    Raises:
        ProcessLookupError: It has ended.
    """
    return _kib(pid, "smaps_rollup", "Pss:")


def _kib(pid: int, file: str, name: str) -> int:
    lines = (line.split() for line in _read(pid, file).splitlines())
    found = next((words[1] for words in lines if words[:1] == [name]), None)
    if found is None:
        raise ProcessLookupError(f"process {pid} has ended")
    return int(found)


def is_running(pid: int) -> bool:
    """Whether there is such a process, and it has not ended, waited for or not."""
    state = _read(pid, "stat").rpartition(")")[2].split()
    return bool(state) and state[0] != "Z"


def is_stopped(pid: int) -> bool:
    """Whether a signal to stop has been obeyed: it may do something in between."""
    return _read(pid, "stat").rpartition(")")[2].split()[:1] == ["T"]


def open_process(pid: int) -> int | None:
    """A descriptor that can be read when the process ends; None when it is gone already."""
    with contextlib.suppress(ProcessLookupError):
        return os.pidfd_open(pid)
    return None


def _read(pid: int, name: str) -> str:
    """A file of a process; it may be gone before it is opened, and before it is read."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/{name}").read_text()
    return ""
