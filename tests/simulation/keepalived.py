"""A model of keepalived: VRRP with the grade of the track file added to its priority.

Decides where the VIP is, as deploy/keepalived/keepalived.conf has it: a higher effective priority
preempts, grade -254 is fault, a grade that does not count is worth 120 less.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Protocol

from tests.simulation.clock import Clock, Inbox

ADVERT = 0.25
STALE_WEIGHT = -120
FAULT = -254


class State(enum.Enum):
    """VRRP's states, and none at all."""

    STOPPED = "stopped"
    BACKUP = "backup"
    MASTER = "master"
    FAULT = "fault"


class Host(Protocol):
    """The machine that a keepalived runs on."""

    name: str
    index: int

    def track_file(self) -> tuple[int, bool]:
        """The grade in it, and whether it counts."""

    def hold_vip(self, present: bool) -> None:
        """Add the address to the interface, or take it away."""

    def advertise(self, priority: int) -> None:
        """Tell all other keepalived."""


class Keepalived:
    """One process."""

    def __init__(self, clock: Clock, host: Host, priority: int, inbox: Inbox) -> None:
        self._clock = clock
        self._host = host
        self._base = priority
        self._timer = 0
        self._linked = True
        self.inbox = inbox
        self.state = State.STOPPED

    def start(self) -> None:
        """The process starts, as backup."""
        self._enter(State.FAULT if self._in_fault() else State.BACKUP)

    def ensure(self) -> None:
        """What watches over it starts it, unless it runs."""
        if self.state is State.STOPPED:
            self.start()

    def stop(self) -> None:
        """The process ends, and takes its address away."""
        if self.state is State.MASTER:
            self._host.advertise(0)
        self._enter(State.STOPPED)

    def reload(self) -> None:
        """SIGHUP: it begins anew, and tells nobody."""
        self.start()

    def set_link(self, up: bool) -> None:
        """The interface has its carrier, or has lost it."""
        self._linked = up
        self.start()

    def die(self) -> None:
        """The machine is gone."""
        self._timer += 1
        self.state = State.STOPPED
        self.inbox.clear()

    @property
    def priority(self) -> int:
        """The effective priority."""
        grade, counts = self._host.track_file()
        return max(1, min(254, self._base + grade + (0 if counts else STALE_WEIGHT)))

    def grade_changed(self) -> None:
        """Inotify: the track file is new."""
        self.inbox.put("file", self._judge)

    def hear(self, sender: int, priority: int) -> None:
        """An advert of another node."""
        self.inbox.put("link", lambda: self._take(sender, priority))

    def _judge(self) -> None:
        if self.state is State.STOPPED:
            return
        if self._in_fault() and self.state is not State.FAULT:
            if self.state is State.MASTER:
                self._host.advertise(0)
            self._enter(State.FAULT)
        elif self.state is State.FAULT and not self._in_fault():
            self._enter(State.BACKUP)

    def _in_fault(self) -> bool:
        return not self._linked or self._host.track_file()[0] <= FAULT

    def _take(self, sender: int, priority: int) -> None:
        mine = self.priority
        if self.state is State.BACKUP:
            if priority == 0:
                self._wait(self._skew)
            elif priority >= mine:
                self._wait(3 * ADVERT + self._skew)
        elif self.state is State.MASTER and (priority, sender) > (mine, self._host.index):
            self._enter(State.BACKUP)

    @property
    def _skew(self) -> float:
        return ADVERT * (256 - self.priority) / 256

    def _enter(self, state: State) -> None:
        self.state = state
        self._timer += 1
        self._host.hold_vip(state is State.MASTER)
        if state is State.MASTER:
            self._advertise()
        elif state is State.BACKUP:
            self._wait(3 * ADVERT + self._skew)

    def _wait(self, delay: float) -> None:
        self._timer += 1
        self._plan(delay, lambda: self._enter(State.MASTER))

    def _advertise(self) -> None:
        self._host.advertise(self.priority)
        self._timer += 1
        self._plan(ADVERT, self._advertise)

    def _plan(self, delay: float, action: Callable[[], None]) -> None:
        self._clock.later(delay, self._due, self._timer, action)

    def _due(self, number: int, action: Callable[[], None]) -> None:
        def run() -> None:
            if number == self._timer:
                action()

        self.inbox.put("timer", run)
