"""Looks after conntrackd: gives it the orders of ``node.tracking``, and reads its figures.

A task of its own, so that nothing waits for it; a change of role only wakes it.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog

from ovpnha.config import Config
from ovpnha.model import InstanceName
from ovpnha.node.carried import CarriedCounts
from ovpnha.node.outputs import RoleChanged
from ovpnha.node.statistics import TrackingFigures
from ovpnha.node.tracking import Order, Tracking
from ovpnha.runtime.conntrackd import NUMBERS, STATISTICS, ConntrackdError, ask, parse_statistics

LOOK = 2.0
"""Seconds between two looks at conntrackd's figures."""

KERNEL_ENTRIES = Path("/proc/sys/net/netfilter/nf_conntrack_count")

log = structlog.get_logger()


@dataclass
class _Counts:
    """What happened here, and what conntrackd counts, over its restarts."""

    orders: Counter[str] = field(default_factory=Counter)
    injected: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=lambda: Counter(order=0))
    seconds: dict[str, float] = field(default_factory=dict)


class ConntrackKeeper:
    """The one who talks to conntrackd."""

    def __init__(self, config: Config, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = config.conntrack.socket
        self._clock = clock
        names = [InstanceName(one.name) for one in config.instance]
        self._tracking = Tracking(names, config.conntrack.refresh, clock())
        self._counts = _Counts()
        self._carried = CarriedCounts()
        self._figures = TrackingFigures()
        self._wakeup = asyncio.Event()
        self._looked = -math.inf

    def role_changed(self, change: RoleChanged) -> None:
        """Take note; returns at once."""
        self._tracking.role_changed(change.instance, change.new, self._clock())
        self._wakeup.set()

    def figures(self) -> TrackingFigures:
        """What conntrackd last told, and what it was told."""
        return replace(
            self._figures,
            kernel=_read_count(KERNEL_ENTRIES),
            orders={order.value: self._counts.orders[order.value] for order in Order},
            seconds=dict(self._counts.seconds),
            injected=dict(self._counts.injected),
            errors=dict(self._counts.errors),
        )

    async def run(self) -> None:
        """Wait, look and order, for ever."""
        while True:
            await self._wait()
            self._looked = self._clock()
            try:
                await self._look()
                for order in self._tracking.orders(self._clock()):
                    await self._give(order)
            except ConntrackdError as error:
                self._lose(str(error))

    async def _look(self) -> None:
        found = parse_statistics(await ask(self._path, STATISTICS))
        if self._figures.problem:
            log.info("conntrackd answers")
        self._tracking.answered(found.told, self._clock())
        self._figures = TrackingFigures(told=found.told)
        for kind, count in found.injected.items():
            self._counts.injected[kind] += self._carried.rise(f"injected {kind}", count)
        errors = {**found.failed, "lost": found.lost, "malformed": found.malformed}
        for kind, count in errors.items():
            self._counts.errors[kind] += self._carried.rise(kind, count)

    async def _give(self, order: Order) -> None:
        began = self._clock()
        try:
            await ask(self._path, NUMBERS[order])
        except ConntrackdError:
            self._counts.errors["order"] += 1
            raise
        self._counts.orders[order.value] += 1
        self._counts.seconds[order.value] = self._clock() - began
        log.debug("conntrackd told", order=order.value, seconds=self._counts.seconds[order.value])

    def _lose(self, reason: str) -> None:
        self._tracking.lost()
        problem = f"conntrackd {reason}"
        if self._figures.problem != problem:
            log.error("connections do not travel", reason=problem)
        self._figures = replace(self._figures, problem=problem)

    async def _wait(self) -> None:
        """Until the next look or order; a change of role puts it off, and asks for nothing."""
        while (seconds := self._next_turn() - self._clock()) > 0:
            self._wakeup.clear()
            try:
                async with asyncio.timeout(seconds):
                    await self._wakeup.wait()
            except TimeoutError:
                return

    def _next_turn(self) -> float:
        turn = min(self._looked + LOOK, self._tracking.next_due())
        return max(turn, self._tracking.quiet_until())


def _read_count(path: Path) -> int:
    """A number of the kernel's; 0 where connections are not tracked."""
    try:
        return int(path.read_text())
    except OSError:
        return 0
