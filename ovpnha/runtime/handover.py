"""Gives the role away before OpenVPN is stopped, so that its clients notice nothing of the stop.

Decides whom this concerns, whether there is anybody to give the role to, and for how long that is
waited for: who stops an OpenVPN has decided that it stops, and gets an answer within the limit
that it named. When no other node can take the role over nothing is waited for. Never changes a role
itself: it asks the core for what ``ovpnha demote`` asks. Why so: docs/adr/0026.

A second process on this machine that has every client goes on by itself, and nothing is given away:
unless it is stopped, too. Then the one that serves waits until that has ended. OpenVPN says goodbye
only when it knows nobody who goes on, and of two that end together each would rely on the other
(docs/adr/0072).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from ovpnha.machines import Process
from ovpnha.model import SOURCES, Grade, InstanceName, Role, Sync
from ovpnha.node.cluster.view import NodeView
from ovpnha.node.statistics import InstanceStatistics
from ovpnha.runtime.answers import HandOverAnswer, LeftInstance, count_clients
from ovpnha.runtime.driver import Driver

SYNC_SHARE = 0.5
"""Of the limit: for so long a standby that is on its way may take to come in sync."""


COMPANION = 1.0
"""Seconds for which the process that serves waits for word that the other one is stopped as well.
Both are told by one command; who is told is a program that has to start first."""


class HandOver:
    """``leave`` gives up the role of some instances, each for itself.

    Args:
        driver: The only one who calls the core.
        find_process: The number of a process that is connected; 0 when none is.
    """

    def __init__(
        self, driver: Driver, find_process: Callable[[InstanceName, Process], int]
    ) -> None:
        self._driver = driver
        self._find_process = find_process
        self._stopped: dict[tuple[InstanceName, Process], int] = {}

    def note_stop(self, name: InstanceName, process: Process) -> None:
        """This process is being stopped."""
        self._stopped[name, process] = self._find_process(name, process)
        self._driver.step(lambda _core, _now: None)  # who waits for it looks again

    async def leave(
        self, names: Sequence[InstanceName], within: float, *, one_process: bool = False
    ) -> HandOverAnswer:
        """What became of each. ``one_process``: of a machine's two, that which serves ends."""
        told = (self._end(name, within, one_process=one_process) for name in names)
        return HandOverAnswer(tuple(await asyncio.gather(*told)))

    async def _end(self, name: InstanceName, within: float, *, one_process: bool) -> LeftInstance:
        loop = asyncio.get_running_loop()
        end = loop.time() + within
        if one_process and await self._is_followed(name, within):
            one = self._find(name)
            return LeftInstance(name, one.role, good=True, note="the other process goes on")
        problem = await self._leave(name, within, end)
        one = self._find(name)
        return LeftInstance(name, one.role, good=not problem, note=problem or _describe(one))

    async def _is_followed(self, name: InstanceName, within: float) -> bool:
        """Whether the other process of this machine goes on; it ends first if it ends as well."""
        await self._until(name, self._ends_alone, min(within, COMPANION))
        one = self._find(name)
        if one.spare is None or self._ends_alone(one):
            await self._until(name, _has_no_companion, within * SYNC_SHARE)
            return False
        return (one.spare.other.place, one.spare.other.sync) == ("standby", Sync.IN_SYNC)

    def _ends_alone(self, one: InstanceStatistics) -> bool:
        """Whether no other process of this machine goes on: none is there, or it is stopped."""
        if one.spare is None or _has_no_companion(one):
            return True
        other = one.spare.serving.other
        return self._find_process(one.name, other) == self._stopped.get((one.name, other))

    async def _leave(self, name: InstanceName, within: float, end: float) -> str:
        """What is wrong by ``end``; "" when this instance can be stopped and nobody notices."""
        if self._find(name).role not in SOURCES:
            return ""
        loop = asyncio.get_running_loop()
        await self._until(name, _is_clear, (end - loop.time()) * SYNC_SHARE)
        one = self._find(name)
        if one.role is Role.MASTER:
            if not _someone_in_sync(one):
                return f"no other node is in sync: {count_clients(one.clients)} must reconnect"
            self._driver.step(lambda core, now: core.ask_demote(name, now))
        elif not someone_comes(one):
            return "the VIP is not here, and no other node is heard that could take it"
        if await self._until(name, _has_left, end - loop.time()):
            return ""
        return f"the VIP manager has not moved the VIP within {within:g} s"

    async def _until(
        self, name: InstanceName, holds: Callable[[InstanceStatistics], bool], seconds: float
    ) -> bool:
        try:
            async with asyncio.timeout(seconds):
                while not holds(self._find(name)):
                    await self._driver.next_step()
        except TimeoutError:
            return False
        return True

    def _find(self, name: InstanceName) -> InstanceStatistics:
        return next(one for one in self._driver.statistics().instances if one.name == name)


def _has_no_companion(one: InstanceStatistics) -> bool:
    """Whether this is the last process of the machine, as far as it could serve."""
    return one.spare is None or one.spare.other.place not in {"standby", "held"}


def _has_left(one: InstanceStatistics) -> bool:
    """Nothing of what this node has is needed any more."""
    return one.role not in SOURCES


def _is_clear(one: InstanceStatistics) -> bool:
    """Whether it is known what can be done, so that nothing is to be waited for first."""
    return _has_left(one) or _someone_in_sync(one) or not someone_comes(one)


def _someone_in_sync(one: InstanceStatistics) -> bool:
    return any(_could_serve(node) and node.sync is Sync.IN_SYNC for node in one.nodes)


def someone_comes(one: InstanceStatistics) -> bool:
    """Whether waiting makes sense: a node is heard that serves, or may be in sync soon."""
    return any(_could_serve(node) or _serves(node) for node in one.nodes)


def _could_serve(node: NodeView) -> bool:
    ready = node.believed and node.has_instance and node.role is Role.STANDBY
    return ready and node.grade > Grade.FAULT


def _serves(node: NodeView) -> bool:
    return node.believed and node.has_instance and node.role is Role.MASTER


def _describe(one: InstanceStatistics) -> str:
    masters = ", ".join(node.name for node in one.nodes if _serves(node))
    return f"{masters} is master" if masters else "has no role to hand over"
