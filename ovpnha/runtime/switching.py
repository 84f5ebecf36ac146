"""Begins a switchover for the command line, and tells how far it is.

Decides what is said to people: the steps that would be taken, and why one has failed. Whether it
may be begun, and how it goes on, is the core's decision; a command that is ended meanwhile ends
nothing of it. Rules: docs/roles.md, "A switchover".
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import TypeVar

from ovpnha.model import InstanceName, NodeName
from ovpnha.node.cluster.obstacles import SwitchPlan
from ovpnha.runtime.answers import SwitchoverAnswer, SwitchoverWaitAnswer
from ovpnha.runtime.control import ControlError, SwitchoverRequest, SwitchoverWaitRequest
from ovpnha.runtime.driver import Driver

Told = TypeVar("Told", bound=SwitchoverAnswer)

ID_SIZE = 8
WAIT = 1.0  # seconds until an answer says that nothing has changed

BACK = "{master} serves on as before"
TEXTS: Mapping[str, str] = {
    "no_master": "no node is master with the VIP any more: see ovpnha status",
    "two_masters": "two nodes are master and have the VIP: repair the network between them",
    "under_way": "another switchover is under way: wait until it is over",
    "no_target": "the master hears no other node: see ovpnha status there",
    "unknown": "the master does not hear {target}: see ovpnha status on {master}",
    "is_master": "{target} is master already",
    "not_standby": "{target} is no standby, says {master}: see ovpnha status on {target}",
    "not_in_sync": "{target} is not in sync, says {master}: wait, or see ovpnha status on {target}",
    "low_grade": "the grade of {target} is too low, says {master}: see ovpnha status on {target}",
    "no_vip_manager": "no VIP manager reads the grade on {master} or {target}: start keepalived",
    "paused": "{master} or {target} is paused: ovpnha resume there",
    "busy": "{target} did not have every client within 2 s, " + BACK + ": is the BCN overloaded?",
    "not_promoted": "{target} did not promote itself within 2 s, " + BACK + ": see its log, and"
    " whether its ovpnha is of this version",
    "target_lost": "{target} fell silent or gave up, " + BACK + ": see ovpnha status on {target}",
    "not_moved": "the VIP manager has not moved the VIP in time, " + BACK + ": does it run on"
    " {master} and on {target}?",
    "changed": "the VIP was not moved within 1 s and clients have changed, " + BACK + ": does the"
    " VIP manager run on {master} and on {target}? With one that always needs longer, such as"
    " ucarp: ovpnha demote on {master}",
    "elsewhere": "the VIP went to another node than {target}, which serves: see ovpnha status",
    "server_lost": "OpenVPN of {master} ended meanwhile: see ovpnha status",
    "no_answer": "{master} did not take it up, nothing has changed: is its ovpnha of this version?",
    "master_lost": "{master} fell silent, and {target} does not serve: see ovpnha status",
}
OTHER = "for a reason that this version does not know: see the log of ovpnha on {master}"


class Switching:
    """Those of all instances. ``random`` draws what names a request."""

    def __init__(self, driver: Driver, random: Callable[[int], bytes] = os.urandom) -> None:
        self._driver = driver
        self._random = random

    def begin(self, name: InstanceName, request: SwitchoverRequest) -> SwitchoverAnswer:
        """Begin it, or say what stands against it."""
        wanted = NodeName(request.to) if request.to is not None else None
        plan = self._driver.plan_switchover(name, wanted)
        if plan.obstacles or request.dry_run:
            lines = tuple(one.text for one in plan.obstacles)
            steps = describe_steps(plan, request.within)
            return SwitchoverAnswer(name, plan.master, plan.target, steps=steps, obstacles=lines)
        number = self._random(ID_SIZE)
        self._driver.step(
            lambda core, now: core.ask_switchover(name, number, plan.target, request.within, now)
        )
        return self._describe(SwitchoverAnswer, name, number)

    async def wait(
        self, name: InstanceName, request: SwitchoverWaitRequest
    ) -> SwitchoverWaitAnswer:
        """How far it is, when that is news, or after a second."""
        number, kind = bytes.fromhex(request.id), SwitchoverWaitAnswer
        try:
            async with asyncio.timeout(WAIT):
                while (found := self._describe(kind, name, number)).phase == request.phase:
                    await self._driver.next_step()
        except TimeoutError:
            found = self._describe(kind, name, number)
        return found

    def _describe(self, kind: type[Told], name: InstanceName, number: bytes) -> Told:
        one = self._driver.switchover(name, number)
        if one is None:
            raise ControlError(f"{name}: another switchover was asked for here: see ovpnha status")
        text = ""
        if one.reason:
            text = TEXTS.get(one.reason, OTHER).format(master=one.master, target=one.target)
        ends = (one.id, one.phase, one.reason, text, one.times)
        return kind(name, one.master, one.target, *ends)


def describe_steps(plan: SwitchPlan, within: float) -> tuple[str, ...]:
    """What would be done, in order; nothing where it is not known by whom."""
    if not plan.master or not plan.target or plan.master == plan.target:
        return ()
    master, target = plan.master, plan.target
    return (
        f"{master} begins no handshakes, and waits until {target} has every client as it is",
        f"{target} promotes its OpenVPN; all other standbys lower their grades",
        f"{master} lowers its grade, and the VIP manager moves the VIP, within {within:g} s",
        f"{master} becomes standby of {target}; if the VIP stays, {master} serves on as before",
    )
