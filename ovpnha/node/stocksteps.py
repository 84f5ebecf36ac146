"""The steps of an OpenVPN without the patch: its role is where the VIP is, and no more.

It serves whoever comes, whatever its sidecar thinks, so nothing is ordered of it but, once at a
takeover, to start anew (``stock``). The role is for people, hooks, checks and metrics::

    the VIP is here    master   it serves, and its leases are told
    it is not          standby  it runs, and keeps the leases of the one that serves

To the other nodes it says ``init`` all the same, as ever, and tells its role beside that: what a
patched node does follows from what can be copied, and of this one nothing can (ADR 66). So it is
followed by none of them, granted nothing, and counts as no copy of their clients.
"""

from __future__ import annotations

from collections.abc import Iterable

from ovpnha.model import InstanceState, NodeName, Role, StockState
from ovpnha.node.change import RoleChange
from ovpnha.node.parts import Parts
from ovpnha.node.role.machine import Trigger

States = Iterable[tuple[NodeName, InstanceState]]


class StockSteps:
    """Of one instance."""

    def __init__(self, parts: Parts, change: RoleChange) -> None:
        self._parts = parts
        self._change = change

    def evaluate(self, now: float) -> bool:
        """Do what the situation demands of an OpenVPN without the patch; False: it has it."""
        parts = self._parts
        if not parts.discovery.stock:
            if parts.stock.active:  # it was only slow to say what it is
                parts.stock.stop(now)
                self._change.unlearn_role(now)
            return False
        if parts.vip.here is not None:
            self._start(now)
            self._move(now)
            if parts.vip.here:
                parts.stock.serve(now)
            else:
                parts.vip.handed_over &= not parts.view.serving()
                parts.stock.follow(choose_stock(parts.view.states(), parts.stock.following), now)
            parts.two_masters.watch(parts.view.serving() if parts.vip.here else [], now)
        parts.openvpn.flush()
        return True

    def _start(self, now: float) -> None:
        stock, traffic = self._parts.stock, self._parts.traffic
        if not stock.active:
            stock.start()
            traffic.patched = False
            traffic.start(now)

    def _move(self, now: float) -> None:
        serves, role = bool(self._parts.vip.here), self._parts.role.role
        if role in (Role.INIT, Role.FAULT):
            where = "is here" if serves else "is not here"
            self._parts.role.reason = f"OpenVPN runs without cluster, and the VIP {where}"
            self._change.move(Trigger.FOUND_MASTER if serves else Trigger.FOUND_STANDBY, now)
        elif serves and role is Role.STANDBY:
            self._change.move(Trigger.PROMOTED, now)
            self._parts.stock.take_over(now)
        elif not serves and role is Role.MASTER:
            self._change.move(Trigger.PASSED, now)


def choose_stock(states: States, current: NodeName | None) -> NodeName | None:
    """Whose leases are kept: of a node without the patch that serves, the one that was before."""
    serving = sorted(name for name, one in states if _serves(one.stock))
    return current if current in serving else next(iter(serving), None)


def _serves(stock: StockState | None) -> bool:
    return stock is not None and stock.role is Role.MASTER
