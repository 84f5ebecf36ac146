"""What conntrackd is told when this node's role changes: who tells the others of connections.

conntrackd keeps two things apart: the kernel's table, into which it puts at once what another node
tells (`DisableExternalCache`), and a cache of what this node tells the others. The rule: **only who
serves tells.** What could go wrong, and the answer:

* A node that served has old entries in its cache. When their timers end in its kernel, where no
  packet renews them any more, it would tell the others to delete them: those of live connections.
  So it forgets its cache when it has stopped serving, and again whenever conntrackd was started
  anew and has filled it from the kernel's table.
* A new master has nothing in its cache but what has changed since. A node that starts would be told
  only that. So the cache is filled from the kernel's table, and told.
* Timers of UDP are renewed by packets, of which nobody tells: on the standby such an entry ends
  after `nf_conntrack_udp_timeout_stream` (120 s). So everything is told again in good time.

Nothing of this is needed for a packet at a takeover: the entries are in the kernel by then. So it
waits until the promotion is over, and a role that comes back within that time costs nothing.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable

from ovpnha.model import InstanceName, Role

SETTLE = 1.0
"""Seconds after a change of role until conntrackd hears of it: the promotion goes first."""

GONE = frozenset({Role.STANDBY, Role.FAULT})
"""Roles in which a node serves nobody and will not go on at once, as a held one may."""


class Order(enum.Enum):
    """One command for conntrackd."""

    FILL = "fill"  # take the kernel's table into the cache of what is told
    TELL = "tell"  # tell the other nodes all of it
    FORGET = "forget"  # empty that cache
    ASK = "ask"  # let the other nodes tell all of theirs


class Tracking:
    """Decides which orders are due. One conntrackd serves all instances of a node."""

    def __init__(self, instances: Iterable[InstanceName], refresh: float, now: float) -> None:
        self._roles = dict.fromkeys(instances, Role.INIT)
        self._refresh = refresh
        self._serving: bool | None = None  # not known yet
        self._up = False
        self._due = now
        self._settled = False
        self._told = 0

    def role_changed(self, instance: InstanceName, role: Role, now: float) -> None:
        """An instance has another role."""
        self._roles[instance] = role
        serving = self._serves()
        if serving is not self._serving:
            self._serving, self._settled, self._due = serving, False, now + SETTLE

    def answered(self, told: int, now: float) -> None:
        """It answers, and has so many entries in its cache."""
        if not self._up:
            self._up, self._settled = True, False
            self._due = max(self._due, now)
        self._told = told

    def lost(self) -> None:
        """Nothing answers."""
        self._up = False

    def orders(self, now: float) -> tuple[Order, ...]:
        """What to order now, in this order; it counts as done."""
        if not self._up or self._serving is None:
            return ()
        if not self._settled:
            return self._settle(now)
        if self._serving and now >= self._due:
            self._due = now + self._refresh
            return (Order.TELL,)
        if not self._serving and self._told:
            self._told = 0
            return (Order.FORGET,)
        return ()

    def next_due(self) -> float:
        """When orders are due by time alone; infinite when by nothing but an event."""
        waits = self._up and self._serving is not None and (self._serving or not self._settled)
        return self._due if waits else math.inf

    def quiet_until(self) -> float:
        """Until when conntrackd is not even looked at, for a promotion; in the past when it is."""
        return -math.inf if self._settled or self._serving is None else self._due

    def _settle(self, now: float) -> tuple[Order, ...]:
        if now < self._due:
            return ()
        self._settled, self._due, self._told = True, now + self._refresh, 0
        return (Order.FILL, Order.TELL) if self._serving else (Order.FORGET, Order.ASK)

    def _serves(self) -> bool | None:
        """Whether an instance is master; one that is held is what it was."""
        roles = self._roles.values()
        if Role.MASTER in roles:
            return True
        return False if all(role in GONE for role in roles) else self._serving
