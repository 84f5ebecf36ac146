"""What happens on this node, as it happens: for ``ovpnha events`` and for whoever else wants it.

    log lines ───────────┐
    problems, and their  ├──► EventBook: journal (bounded) ──► Follower, Follower, … (each bounded)
    end; sync            ┘                                        │
                                                                  └─► the control socket, at the
                                                                      pace of whoever reads

Decides what a line of the log is as an event, how many are remembered, and what a reader misses who
is too slow: the oldest, and it is told how many. Must never wait, nor let anybody who reads delay
what happens.
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from structlog.typing import EventDict, WrappedLogger

from ovpnha.model import Sync
from ovpnha.node.statistics import NodeStatistics
from ovpnha.problems import Problem
from ovpnha.replication.history import cut
from ovpnha.runtime.problems import find_problems

JOURNAL_LIMIT = 1000
FOLLOWER_LIMIT = 1000
LOOK_EVERY = 1.0  # seconds between two looks at the problems
TEXT_LIMIT = 400  # bytes
DROPPED, STOPPING = "dropped", "stopping"
LEVELS = frozenset({"info", "warning", "error", "critical"})
HIDDEN = frozenset({"event", "level", "monotonic", "written", "timestamp", "instance", "node"})
KINDS: Mapping[str, str] = {
    "role changed": "role_changed",
    "grade": "grade_changed",
    "node heard": "node_joined",
    "node lost": "node_left",
    "bcn link": "link_changed",
}
"""Kinds of log lines that have a word of their own; the others have their phrase."""
SPARED = frozenset({*KINDS, "check", "switchover begun", "switchover done", "switchover failed"})
"""Log lines that hooks wait for: few by their nature, and none of them may be left out."""


@dataclass(frozen=True)
class NodeEvent:
    """One thing that happened."""

    number: int  # counts from 1 at the start of the sidecar
    when: float  # seconds since 1970
    kind: str
    level: str  # info, warning, error
    text: str
    instance: str = ""
    node: str = ""  # the other node that it is about
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class EventsAnswer:
    """What a sidecar remembers, the oldest first."""

    events: tuple[NodeEvent, ...]


class Follower:
    """What one reader has not read yet."""

    def __init__(self) -> None:
        self._waiting: deque[NodeEvent] = deque()
        self._missed = 0
        self._wakeup = asyncio.Event()
        self.ended = False  # nothing comes any more, when all that waits is read

    def put(self, event: NodeEvent) -> None:
        """One more; the oldest makes room."""
        if len(self._waiting) >= FOLLOWER_LIMIT:
            self._waiting.popleft()
            self._missed += 1
        self._waiting.append(event)
        self._wakeup.set()

    def end(self) -> None:
        """The last one was put."""
        self.ended = True
        self._wakeup.set()

    async def wait(self) -> None:
        """Until there is something, or never will be."""
        await self._wakeup.wait()

    def take(self) -> list[NodeEvent]:
        """All that waits; first, how many are missing."""
        found = list(self._waiting)
        if self._missed:
            text = f"{self._missed} events were dropped: the reader is too slow"
            missed = {"events": str(self._missed)}
            when = found[0].when if found else time.time()
            found.insert(0, NodeEvent(0, when, DROPPED, "warning", text, fields=missed))
        self._waiting.clear()
        self._missed = 0
        if not self.ended:
            self._wakeup.clear()
        return found


class EventBook:
    """The journal of one sidecar, and who follows it."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._journal: deque[NodeEvent] = deque(maxlen=JOURNAL_LIMIT)
        self._followers: set[Follower] = set()
        self._count = 0
        self._problems: dict[tuple[str, str, str], Problem] = {}
        self._syncs: dict[tuple[str, str], Sync] = {}
        self._looked = False
        self._home: tuple[int, asyncio.AbstractEventLoop] | None = None

    def note(
        self,
        kind: str,
        level: str,
        text: str,
        *,
        instance: str = "",
        node: str = "",
        fields: Mapping[str, str] | None = None,
    ) -> None:
        """Something happened; only in the thread of the event loop."""
        self._count += 1
        event = NodeEvent(
            *(self._count, self._clock(), kind, level, cut(text, TEXT_LIMIT)),
            *(cut(instance), cut(node), fields or {}),
        )
        self._journal.append(event)
        for follower in self._followers:
            follower.put(event)

    def take_log(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """A structlog processor: a line of the log is an event, too."""
        if event.get("level") in LEVELS:
            copied = dict(event)
            if self._home is None or self._home[0] == threading.get_ident():
                self._note_line(copied)
            else:
                with suppress(RuntimeError):  # the loop has ended
                    self._home[1].call_soon_threadsafe(self._note_line, copied)
        return event

    def _note_line(self, line: EventDict) -> None:
        phrase = str(line["event"])
        kind = KINDS.get(phrase) or re.sub(r"[^a-z0-9]+", "_", phrase.lower()).strip("_")
        fields = {name: cut(str(value)) for name, value in line.items() if name not in HIDDEN}
        told = ", ".join(f"{name} {value}" for name, value in fields.items())
        self.note(
            *(kind, str(line["level"]), f"{phrase}: {told}" if told else phrase),
            instance=str(line.get("instance", "")),
            node=str(line.get("node", "")),
            fields=fields,
        )

    def since(self, when: float) -> tuple[NodeEvent, ...]:
        """What is remembered and not older than that."""
        return tuple(event for event in self._journal if event.when >= when)

    @contextmanager
    def follow(self, since: float | None) -> Iterator[Follower]:
        """Everything from now on; before it, what is remembered since then."""
        follower = Follower()
        for event in self.since(since) if since is not None else ():
            follower.put(event)
        self._followers.add(follower)
        try:
            yield follower
        finally:
            self._followers.discard(follower)

    def stop(self) -> None:
        """The sidecar ends in an orderly way: so do all that follow."""
        self.note(STOPPING, "info", "the sidecar ends")
        for follower in self._followers:
            follower.end()

    async def run(self, read: Callable[[], NodeStatistics]) -> None:
        """Look at the figures, for ever, for what no line of the log tells."""
        self._home = (threading.get_ident(), asyncio.get_running_loop())
        while True:
            self.look(read())
            await asyncio.sleep(LOOK_EVERY)

    def look(self, status: NodeStatistics) -> None:
        """What has come and gone since the last look; the first one only remembers the copies."""
        self._look_at_problems(status)
        self._look_at_syncs(status)
        self._looked = True

    def _look_at_problems(self, status: NodeStatistics) -> None:
        found = {(one.kind.value, one.instance, one.node): one for one in find_problems(status)}
        for key, problem in found.items():
            if key not in self._problems:
                self._note_problem("problem", "warning", problem, str(problem))
        for key, problem in self._problems.items():
            if key not in found:
                self._note_problem("problem_over", "info", problem, f"over: {problem.text}")
        self._problems = found

    def _note_problem(self, kind: str, level: str, problem: Problem, text: str) -> None:
        fields = {"problem": problem.kind.value, "fix": problem.fix}
        place = {"instance": problem.instance, "node": problem.node}
        self.note(kind, level, text, **place, fields=fields)

    def _look_at_syncs(self, status: NodeStatistics) -> None:
        syncs = {(str(one.name), ""): one.sync for one in status.instances}
        for one in status.instances:
            heard = [node for node in one.nodes if node.believed]
            syncs.update({(str(one.name), str(node.name)): node.sync for node in heard})
        for (instance, node), sync in syncs.items():
            before = self._syncs.get((instance, node), Sync.NONE)
            whose = f"node {node}" if node else "this node"
            if sync is Sync.IN_SYNC and before is not sync and self._looked:
                self.note(
                    "sync_gained", "info", f"{whose} is in sync", instance=instance, node=node
                )
            elif before is Sync.IN_SYNC and sync in (Sync.SYNCING, Sync.PARTIAL):
                lost = f"{whose} is not in sync any more"
                self.note("sync_lost", "warning", lost, instance=instance, node=node)
        self._syncs = syncs
