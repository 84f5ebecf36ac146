"""How an instance changes what it is: the few verbs that its steps and its losses share.

A role is changed in one order, whatever made it change::

    order   OpenVPN is told, at once, before any other command
    move    the state machine (role.machine), the only table of what may become what
    grade   the VIP manager hears of it before anybody else does
    tell    hooks, log, metrics

Decides nothing: the caller has decided. Rules: docs/roles.md.
"""

from __future__ import annotations

from ovpnha.management.commands import Demote, Hold, Promote
from ovpnha.model import Grade, Role
from ovpnha.node.parts import Parts
from ovpnha.node.role.machine import Trigger
from ovpnha.problems import Problem, ProblemKind


class RoleChange:
    """Of one instance."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def order(self, order: Promote | Hold | Demote) -> None:
        """Tell OpenVPN its role, before anything else is done; it then waits for no client."""
        self._parts.exporter.protection.stop()
        self._parts.openvpn.order(order)

    def fail(self, fault: Problem, now: float) -> None:
        """OpenVPN is of no use: the VIP manager hears it before anyone else."""
        role = self._parts.role
        locked = fault.kind is ProblemKind.MANAGEMENT_PASSWORD
        told = role.role is Role.FAULT and role.fault == fault and locked
        role.fault = fault
        self.move(Trigger.LOST, now)
        if not told:
            self._parts.openvpn.log("error", "openvpn lost", reason=fault.text)

    def lose(self, fault: Problem, now: float) -> None:
        """OpenVPN is gone, or goes: of no consequence when the VIP is for the other process."""
        if self._parts.slot:
            self.fail(fault, now)
            return
        if self._parts.openvpn.connected:
            self._parts.openvpn.log("info", "openvpn gone", reason=fault.text)
        self.miss_no_more(now)

    def miss_no_more(self, now: float) -> None:
        """Nobody asks what OpenVPN is: there need not be any."""
        if self._parts.role.role is not Role.INIT:
            self.move(Trigger.RECONNECTED, now)

    def unlearn(self, now: float) -> None:
        """What was known of OpenVPN may be wrong; it may serve all the while."""
        self.forget(now, wait=True)
        self.unlearn_role(now)

    def unlearn_role(self, now: float) -> None:
        """What it is will be told in a moment."""
        if self._parts.role.role is not Role.INIT:
            self.move(Trigger.RECONNECTED, now)

    def forget(self, now: float, *, wait: bool) -> None:
        """Nothing is known of OpenVPN any more; ``wait``: it is expected to answer in a moment."""
        self._parts.discovery.forget(now, wait=wait)
        for part in self._parts:
            part.stop(now)

    def move(self, trigger: Trigger, now: float) -> None:
        """The role is another one now, and everybody hears it."""
        self._parts.role.move(trigger, now)
        self.say_grade(now)
        self._parts.role.tell(trigger, self._parts.own.epoch)

    @property
    def known(self) -> bool:
        """Whether there is anything to be said of OpenVPN."""
        return self._parts.discovery.known or self._parts.role.role is Role.FAULT

    def say_grade(self, now: float) -> Grade:
        """Tell the VIP manager how good a master this node would be."""
        parts = self._parts
        return parts.announcer.say_grade(parts.grade_input(now)) if self.known else Grade.FAULT

    def note_epoch(self) -> None:
        """The epoch of this node has just been made: it counts among those heard of."""
        view, own = self._parts.view, self._parts.own
        view.note_epoch(own.epoch)
        view.lineage.note(own.epoch, own.origin)
