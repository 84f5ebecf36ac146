"""A share of one processor for single processes, by control groups of either version.

What is limited gets its time in short turns, as on a machine that is busy with something else.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from tests.lab.errors import LabError
from tests.lab.waiting import wait_until

ROOT = Path("/sys/fs/cgroup")
PERIOD = 100_000
"""Microseconds of one turn."""
END_SECONDS = 5.0


class Quota:
    """While the block lasts, these processes get ``percent`` of one processor together."""

    def __init__(self, name: str, percent: float, pids: Iterable[int]) -> None:
        self._old = (ROOT / "cpu" / "cpu.cfs_quota_us").exists()  # version 1
        self._parent = ROOT / "cpu" if self._old else ROOT
        self._group = self._parent / name
        self._share = int(percent * PERIOD / 100)
        self._pids = list(pids)

    def __enter__(self) -> Quota:
        try:
            self._make()
            for pid in self._pids:
                (self._group / "cgroup.procs").write_text(str(pid))
        except OSError as error:
            self._remove()
            raise LabError(f"no control group for processor time: {error}") from error
        return self

    def _make(self) -> None:
        if not self._old:
            (self._parent / "cgroup.subtree_control").write_text("+cpu")
        self._group.mkdir()
        if self._old:
            (self._group / "cpu.cfs_period_us").write_text(str(PERIOD))
            (self._group / "cpu.cfs_quota_us").write_text(str(self._share))
        else:
            (self._group / "cpu.max").write_text(f"{self._share} {PERIOD}")

    def __exit__(self, *_error: object) -> None:
        self._remove()

    def _remove(self) -> None:
        """Let the processes go; those that have ended take a moment to leave the group."""
        wait_until(self._is_gone, f"the end of {self._group}", END_SECONDS)

    def _is_gone(self) -> bool:
        if not self._group.exists():
            return True
        for pid in (self._group / "cgroup.procs").read_text().split():
            with suppress(OSError):
                (self._parent / "cgroup.procs").write_text(pid)
        with suppress(OSError):
            self._group.rmdir()
        return not self._group.exists()
