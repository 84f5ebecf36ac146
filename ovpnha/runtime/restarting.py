"""Restarts OpenVPN so that no client notices, step by step, for the command line.

Decides what is said to people, and that a process is never moved to that is about to end. Whether
the role can go from one process to the other, and when, is the core's decision; who starts
processes is not this daemon, which may not. Rules: docs/roles.md, "A spare", and
docs/adr/0070-either-process-may-serve.md.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from ovpnha.machines import Process, SparePolicy
from ovpnha.model import InstanceName
from ovpnha.node.moving import OVER, RestartFigures
from ovpnha.node.pair import Pair
from ovpnha.runtime.control import ControlError
from ovpnha.runtime.driver import Core, Driver
from ovpnha.runtime.handover import someone_comes
from ovpnha.runtime.restartrequest import RestartAnswer, RestartRequest

ID_SIZE = 8
WAIT = 1.0  # seconds until an answer says that nothing has changed
TELLING_WAIT = 0.5  # seconds until an answer says how many have been told
GONE_WITHIN = 5.0
UNSETTLED = "it is not known yet which process serves: try again in a second"
HERE = frozenset({"standby", "held", "fault"})
"""What a process is that ends when it is told to."""


class Restarting:
    """Those of all instances.

    Args:
        policies: Whether an instance has a second process.
        driver: The only one who calls the core.
        peer: The number of a process that is connected; 0 when none is, or none of ours.
        random: Draws what names a request.
    """

    def __init__(
        self,
        policies: Mapping[InstanceName, SparePolicy],
        driver: Driver,
        peer: Callable[[InstanceName, Process], int],
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._policies = policies
        self._driver = driver
        self._peer = peer
        self._random = random

    async def answer(self, name: InstanceName, request: RestartRequest) -> RestartAnswer:
        """Carry out one step.

        Raises:
            ControlError: It cannot be carried out.
        """
        never = self._policies.get(name) is SparePolicy.NEVER
        if never or self._driver.restart_figures(name) is None:
            raise ControlError(
                f'{name}: has no second process; set spare = "restart" for it in ovpnha.toml, and'
                " cluster-spare in OpenVPN's configuration"
            )
        match request.step:
            case "renew":
                await self._renew(name, request.process)
            case "move":
                number = self._random(ID_SIZE)
                self._step(lambda pair, now: pair.ask_restart(name, number, request.within, now))
            case "cancel":
                self._step(lambda pair, now: pair.ask_cancel(name, now))
            case "farewell":
                return await self._bid_farewell(name)
            case "stay":
                self._driver.step(lambda core, now: core.ask_farewell(name, now, on=False))
            case "wait":
                await self._wait(name, request.known)
            case _:
                pass
        return self._describe(name)

    def _step(self, event: Callable[[Pair, float], object]) -> None:
        def take(core: Core, now: float) -> None:
            if isinstance(core, Pair):
                event(core, now)

        self._driver.step(take)

    async def _renew(self, name: InstanceName, which: Process | None) -> None:
        """Have a process end that does not serve, and wait until it has; nothing without one."""
        other = which or self._figures(name).figures.serving.other
        before = self._peer(name, other)
        if self._place(name, other) not in HERE:
            return
        if not self._figures(name).settled:  # one in fault may be the one that serves
            raise ControlError(f"{name}: {UNSETTLED}")
        taken: list[bool] = []
        self._step(lambda pair, now: taken.append(pair.ask_retire(name, other, now)))
        if not all(taken):
            raise ControlError(f"{name}: the {other} process cannot be ended now; try again")
        try:
            async with asyncio.timeout(GONE_WITHIN):
                while self._place(name, other) in HERE and self._peer(name, other) == before:
                    await self._driver.next_step()
        except TimeoutError:
            raise ControlError(
                f"{name}: the {other} process was told to end and has not; see its log"
            ) from None

    async def _bid_farewell(self, name: InstanceName) -> RestartAnswer:
        """Tell the clients that they are to reconnect, unless another machine goes on with them."""
        found = (one for one in self._driver.statistics().instances if one.name == name)
        if any(someone_comes(one) for one in found):
            return replace(self._describe(name), parted=True)
        self._driver.step(lambda core, now: core.ask_farewell(name, now, on=True))
        try:
            async with asyncio.timeout(TELLING_WAIT):
                while is_telling(self._figures(name)):
                    await self._driver.next_step()
        except TimeoutError:
            pass
        return replace(self._describe(name), parted=self._figures(name).farewell.done)

    async def _wait(self, name: InstanceName, known: str) -> None:
        try:
            async with asyncio.timeout(WAIT):
                while self._describe(name).known == known:
                    await self._driver.next_step()
        except TimeoutError:
            pass

    def _figures(self, name: InstanceName) -> RestartFigures:
        found = self._driver.restart_figures(name)
        assert found is not None  # noqa: S101 - ``answer`` has looked
        return found

    def _place(self, name: InstanceName, process: Process) -> str:
        return self._figures(name).figures.of(process).place

    def _describe(self, name: InstanceName) -> RestartAnswer:
        told = self._figures(name)
        serving = told.figures.serving
        waits = self._place(name, serving.other) == "waiting"
        return RestartAnswer(
            instance=name,
            policy=self._policies[name],
            serving=serving,
            places={one.value: self._place(name, one) for one in Process},
            pids={one.value: self._peer(name, one) for one in Process},
            copies={one.value: told.figures.of(one).sync.value for one in Process},
            problems={one.value: told.figures.of(one).problem for one in Process},
            phase=told.phase.value if told.phase is not None else "",
            reason=told.reason,
            seconds=told.seconds,
            obstacles=tuple(_find_obstacles(told)),
            settled=told.settled,
            clients=told.farewell.clients,
            told=told.farewell.told,
            telling=is_telling(told),
            waiting=self._peer(name, serving.other) if waits else 0,
        )


def is_telling(told: RestartFigures) -> bool:
    """Whether some client is still to be told that it is to reconnect."""
    return told.farewell.active and not told.farewell.done


def _find_obstacles(told: RestartFigures) -> Iterator[str]:
    """What no start of a process does away with."""
    serving = told.figures.of(told.figures.serving)
    if not told.settled:  # what is said of the main process may be untrue of the server
        yield UNSETTLED
    elif serving.place not in HERE | {"master"}:
        yield f"OpenVPN is {serving.place}: there is nothing to keep, start it"
    elif serving.place == "held":
        yield "OpenVPN keeps clients that another node may want: try again when it is standby"
    elif serving.descriptors is None:
        yield (
            "OpenVPN shares its socket with nobody: its configuration does not say cluster-spare,"
            " or it is of a release without; correct that, and restart it once as ever"
        )
    if told.phase is not None and told.phase not in OVER:
        yield "another restart is under way: wait until it is over"
