"""Runs the programs of ``[[hook]]`` for what happens.

::

    EventBook ──► which hook event is it? ──► hook 1: queue ──► one run at a time
                                        └───► hook 2: queue ──► one run at a time

Decides which event of the book is which of a hook's, what has lasted long enough, and the order:
that of the events, for each hook. A hook that hangs is killed at its limit and delays no other
hook; nothing waits for any. When too many events wait, the oldest are forgotten, and that is told.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager

import structlog

from ovpnha.config.hook import HookEvent, HookSection
from ovpnha.model import Role
from ovpnha.problems import ProblemKind
from ovpnha.runtime.bounded import Ran, plain_environment, run_bounded
from ovpnha.runtime.events import Follower, NodeEvent

WAITING_LIMIT = 64
_E = HookEvent
PLAIN: Mapping[str, HookEvent] = {
    "role_changed": _E.ROLE_CHANGED,
    "node_joined": _E.NODE_JOINED,
    "node_left": _E.NODE_LEFT,
    "sync_lost": _E.NOT_IN_SYNC,
    "sync_gained": _E.IN_SYNC,
    "switchover_begun": _E.SWITCHOVER_BEGUN,
    "switchover_done": _E.SWITCHOVER_DONE,
    "switchover_failed": _E.SWITCHOVER_FAILED,
    "problem": _E.PROBLEM,
    "problem_over": _E.PROBLEM_OVER,
}
"""Kinds of the book's events that are a hook's as they are."""
OF_PROBLEMS: Mapping[str, tuple[HookEvent, HookEvent]] = {
    ProblemKind.UNPROTECTED.value: (_E.UNPROTECTED, _E.UNPROTECTED_OVER),
    ProblemKind.TWO_MASTERS.value: (_E.SPLIT_BRAIN, _E.SPLIT_BRAIN_OVER),
    ProblemKind.IDS_LOW.value: (_E.IDS_LOW, _E.IDS_LOW_OVER),
}
ENDS: Mapping[HookEvent, HookEvent] = {
    _E.FAULT: _E.FAULT_OVER,
    _E.NODE_LEFT: _E.NODE_JOINED,
    _E.NOT_IN_SYNC: _E.IN_SYNC,
    _E.UNPROTECTED: _E.UNPROTECTED_OVER,
    _E.CHECK_FAILED: _E.CHECK_RECOVERED,
    _E.SPLIT_BRAIN: _E.SPLIT_BRAIN_OVER,
    _E.IDS_LOW: _E.IDS_LOW_OVER,
    _E.PROBLEM: _E.PROBLEM_OVER,
}
BEGINS: Mapping[HookEvent, HookEvent] = {end: begin for begin, end in ENDS.items()}
FIELDS: Mapping[str, str] = {
    "old": "OVPNHA_OLD_ROLE",
    "new": "OVPNHA_ROLE",
    "epoch": "OVPNHA_EPOCH",
    "reason": "OVPNHA_REASON",
    "check": "OVPNHA_CHECK",
    "critical": "OVPNHA_CRITICAL",
    "problem": "OVPNHA_PROBLEM",
    "fix": "OVPNHA_FIX",
    "target": "OVPNHA_TARGET",
}

log = structlog.get_logger()

Subject = tuple[HookEvent, str, str, str]


def classify(event: NodeEvent) -> Iterator[HookEvent]:
    """What it is to hooks: nothing, or more than one thing."""
    if event.kind in PLAIN:
        yield PLAIN[event.kind]
    if event.kind == "role_changed":
        if event.fields.get("new") == Role.FAULT.value:
            yield _E.FAULT
        elif event.fields.get("old") == Role.FAULT.value:
            yield _E.FAULT_OVER
    if event.kind == "check":
        yield from _of_a_check(event.fields)
    if event.kind in ("problem", "problem_over"):
        pair = OF_PROBLEMS.get(event.fields.get("problem", ""))
        if pair is not None:
            yield pair[event.kind == "problem_over"]


def _of_a_check(fields: Mapping[str, str]) -> Iterator[HookEvent]:
    """One that is reset is not good for that; its first good result tells."""
    if fields.get("verdict") == "failed":
        yield _E.CHECK_FAILED
    elif fields.get("verdict") == "ok" and fields.get("recovered") == "True":
        yield _E.CHECK_RECOVERED


def environment(event: NodeEvent, what: HookEvent, node: str) -> dict[str, str]:
    """What the program is told."""
    told = {name: event.fields[key] for key, name in FIELDS.items() if key in event.fields}
    return plain_environment(
        OVPNHA_EVENT=what.value,
        OVPNHA_NODE=node,
        OVPNHA_INSTANCE=event.instance,
        OVPNHA_OTHER_NODE=event.node,
        OVPNHA_LEVEL=event.level,
        OVPNHA_TEXT=event.text,
        OVPNHA_TIME=f"{event.when:.3f}",
        **{name: value.replace("\0", "?") for name, value in told.items()},
    )


class _Hook:
    """One program and what waits for it."""

    def __init__(self, section: HookSection, node: str) -> None:
        self._section = section
        self._node = node
        self._waiting: deque[tuple[HookEvent, NodeEvent]] = deque()
        self._lasting: dict[Subject, asyncio.TimerHandle] = {}
        self._told: set[Subject] = set()  # what it has heard of, and whose end it must hear
        self._wakeup = asyncio.Event()

    def hear(self, what: HookEvent, event: NodeEvent) -> None:
        """Something happened; returns at once."""
        if event.instance and self._section.instance not in (None, event.instance):
            return
        about = event.fields.get("check") or event.fields.get("problem", "")
        begin = BEGINS.get(what, what)
        subject = (begin, event.instance, event.node, about)
        if self._section.after and what in ENDS:
            self._begin(subject, what, event)
        elif self._section.after and what in BEGINS:
            self._end(subject, what, event)
        else:
            self._put(what, event)

    def _begin(self, subject: Subject, what: HookEvent, event: NodeEvent) -> None:
        if subject in self._lasting or subject in self._told:
            return

        def lasted() -> None:
            del self._lasting[subject]
            self._told.add(subject)
            self._put(what, event)

        delay = self._section.after
        self._lasting[subject] = asyncio.get_running_loop().call_later(delay, lasted)

    def _end(self, subject: Subject, what: HookEvent, event: NodeEvent) -> None:
        if (timer := self._lasting.pop(subject, None)) is not None:
            timer.cancel()
        elif subject in self._told:
            self._told.discard(subject)
            self._put(what, event)

    def _put(self, what: HookEvent, event: NodeEvent) -> None:
        if what not in self._section.events:
            return
        if len(self._waiting) >= WAITING_LIMIT:
            left = self._waiting.popleft()[0]
            log.warning("hook too slow", command=self._section.command[0], left_out=left.value)
        self._waiting.append((what, event))
        self._wakeup.set()

    async def run(self) -> None:
        """One run at a time, for ever."""
        while True:
            await self._wakeup.wait()
            self._wakeup.clear()
            while self._waiting:
                await self._run_one(*self._waiting.popleft())

    async def _run_one(self, what: HookEvent, event: NodeEvent) -> None:
        command, limit = self._section.command, self._section.timeout
        try:
            ran = await run_bounded(command, environment(event, what, self._node), limit)
        except Exception as error:  # the task boundary: no hook may end the sidecar
            log.exception("hook has a fault", command=command[0], hook=what.value)
            ran = Ran(None, error=type(error).__name__)
        if not ran.good:
            log.warning(
                "hook failed", command=command[0], hook=what.value, reason=ran.describe(limit)
            )


class EventHooks:
    """All hooks of this node. ``follow`` gives what happens from now on."""

    def __init__(
        self,
        sections: Sequence[HookSection],
        node: str,
        follow: Callable[[float | None], AbstractContextManager[Follower]],
    ) -> None:
        self._hooks = [_Hook(section, node) for section in sections]
        self._follow = follow

    async def run(self) -> None:
        """Hear what happens and run what is to be run, until the sidecar ends."""
        if not self._hooks:
            return
        async with asyncio.TaskGroup() as group:
            for hook in self._hooks:
                group.create_task(hook.run())
            with self._follow(None) as follower:
                while True:
                    await follower.wait()
                    for event in follower.take():
                        self._hear(event)
                    if follower.ended:
                        await asyncio.Event().wait()  # what waits is run until all is cancelled

    def _hear(self, event: NodeEvent) -> None:
        for what in classify(event):
            for hook in self._hooks:
                hook.hear(what, event)
