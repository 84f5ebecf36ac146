"""Gives the role away before OpenVPN is stopped, so that its clients notice nothing of the stop.

Decides whom this concerns, whether there is anybody to give the role to, and for how long that is
waited for: who stops an OpenVPN has decided that it stops, and gets an answer within the limit
that it named. When no other node can take the role over nothing is waited for. Never changes a role
itself: it asks the core for what ``ovpnha demote`` asks. Why so: docs/adr/0026.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from ovpnha.model import SOURCES, Grade, InstanceName, Role, Sync
from ovpnha.node.cluster.view import NodeView
from ovpnha.node.statistics import InstanceStatistics
from ovpnha.runtime.answers import HandOverAnswer, LeftInstance, count_clients
from ovpnha.runtime.driver import Driver

SYNC_SHARE = 0.5
"""Of the limit: for so long a standby that is on its way may take to come in sync."""


class HandOver:
    """``leave`` gives up the role of some instances, each for itself."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def leave(self, names: Sequence[InstanceName], within: float) -> HandOverAnswer:
        """What became of each."""
        notes = await asyncio.gather(*(self._leave(name, within) for name in names))
        return HandOverAnswer(
            tuple(self._tell(name, problem) for name, problem in zip(names, notes, strict=True))
        )

    def _tell(self, name: InstanceName, problem: str) -> LeftInstance:
        one = self._find(name)
        return LeftInstance(name, one.role, good=not problem, note=problem or _describe(one))

    async def _leave(self, name: InstanceName, within: float) -> str:
        """What is wrong; "" when this instance can be stopped and nobody will notice."""
        if self._find(name).role not in SOURCES:
            return ""
        loop = asyncio.get_running_loop()
        end = loop.time() + within
        await self._until(name, _is_clear, within * SYNC_SHARE)
        one = self._find(name)
        if one.role is Role.MASTER:
            if not _someone_in_sync(one):
                return f"no other node is in sync: {count_clients(one.clients)} must reconnect"
            self._driver.step(lambda core, now: core.ask_demote(name, now))
        elif not _someone_comes(one):
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


def _has_left(one: InstanceStatistics) -> bool:
    """Nothing of what this node has is needed any more."""
    return one.role not in SOURCES


def _is_clear(one: InstanceStatistics) -> bool:
    """Whether it is known what can be done, so that nothing is to be waited for first."""
    return _has_left(one) or _someone_in_sync(one) or not _someone_comes(one)


def _someone_in_sync(one: InstanceStatistics) -> bool:
    return any(_could_serve(node) and node.sync is Sync.IN_SYNC for node in one.nodes)


def _someone_comes(one: InstanceStatistics) -> bool:
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
