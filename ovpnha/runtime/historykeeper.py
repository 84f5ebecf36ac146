"""Keeps the history on disk, beside everything else: a slow or full disk disturbs nobody.

    HistoryChanged ──► waiting (by key, bounded) ──► a thread ──► HistoryFile
                                                       │ fails
                                                       └──► told once; all of it again after RETRY

Decides when it is written, and what is said when it cannot be. What is kept is the core's decision,
which has all of it in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from ovpnha.node.outputs import HistoryChanged
from ovpnha.replication.history import HistoryEntry
from ovpnha.runtime.historyfile import FoundHistory, HistoryFile

RETRY = 30.0  # seconds
WAITING_LIMIT = 1000

log = structlog.get_logger()


class HistoryKeeper:
    """``file`` is None where nothing can be kept; ``missing`` says why."""

    def __init__(
        self, file: HistoryFile | None, retry: float = RETRY, *, missing: str = ""
    ) -> None:
        self._file = file
        self._retry = retry
        self._waiting: dict[bytes, HistoryEntry] = {}
        self._wakeup = asyncio.Event()
        self._whole = False  # all of it is to be written
        self.problem = missing if file is None else ""

    def load(self) -> tuple[HistoryEntry, ...]:
        """What was kept by earlier sidecars of this node; called before anything runs."""
        if self._file is None:
            return ()
        found = self._file.read()
        self._tell(found)
        self._whole = bool(found.skipped)
        return found.entries

    def _tell(self, found: FoundHistory) -> None:
        if found.problem:
            self.problem = found.problem
            log.warning("history not read", reason=found.problem)
        if found.skipped:
            log.warning("lines of the history skipped", lines=found.skipped)

    def changed(self, change: HistoryChanged) -> None:
        """Take note; returns at once."""
        if self._file is None:
            return
        self._waiting[change.entry.key] = change.entry
        if len(self._waiting) > WAITING_LIMIT:  # the disk hangs: later all of it is written
            self._waiting.clear()
            self._whole = True
        self._wakeup.set()

    async def run(self, entries: Callable[[], tuple[HistoryEntry, ...]]) -> None:
        """Write what comes, for ever."""
        while self._file is not None:
            await self._wakeup.wait()
            self._wakeup.clear()
            if not await self._write(self._file, entries):
                await asyncio.sleep(self._retry)
                self._wakeup.set()

    async def _write(
        self, file: HistoryFile, entries: Callable[[], tuple[HistoryEntry, ...]]
    ) -> bool:
        """Write what waits; returns whether that was possible."""
        some, self._waiting = tuple(self._waiting.values()), {}
        try:
            if some and not self._whole:
                self._whole = await asyncio.to_thread(file.append, some)
            if self._whole:
                await asyncio.to_thread(file.rewrite, entries())
        except OSError as error:
            self._whole = True
            self._fail(f"{file.path}: cannot be written: {error.strerror}")
            return False
        self._whole = False
        if self.problem:
            log.info("history kept again", file=str(file.path))
        self.problem = ""
        return True

    def _fail(self, problem: str) -> None:
        if problem != self.problem:
            log.warning("history not kept", reason=problem)
        self.problem = problem
