"""The role that an instance has now: since when, and why.

Decides nothing: ``instance`` takes the steps, ``machine`` has the table. What is told of a change,
to hooks and to the log, names the role that was told before: ``init`` is told to nobody.
"""

from __future__ import annotations

from collections import deque

from ovpnha.model import Epoch, InstanceName, Role
from ovpnha.node.outputs import Output, RoleChanged
from ovpnha.node.part import Part
from ovpnha.node.role.machine import MEANING, RoleMachine, Trigger
from ovpnha.problems import Problem


class CurrentRole(Part):
    """One instance's."""

    def __init__(self, instance: InstanceName, outputs: deque[Output], now: float) -> None:
        self._instance = instance
        self._outputs = outputs
        self._machine = RoleMachine()
        self._told = Role.INIT
        self.since = now
        self.held_since: float | None = None
        self.fault: Problem | None = None  # why the role is fault
        self.reason = ""  # of the next move, where its trigger does not say all
        self.changes: deque[RoleChanged] = deque()  # told, and not yet in the history

    @property
    def role(self) -> Role:
        """The role now."""
        return self._machine.role

    @property
    def why(self) -> str:
        """Why the role is fault; "" when it is none."""
        return self.fault.text if self.fault is not None and self.role is Role.FAULT else ""

    def move(self, trigger: Trigger, now: float) -> None:
        """Make the transition."""
        before = self.role
        self._machine.move(trigger)
        if self.role is not before:
            self.since = now

    def tell(self, trigger: Trigger, epoch: Epoch) -> None:
        """Tell of a transition that was made."""
        if self.role not in (Role.INIT, self._told):
            reason = self.why or self.reason or MEANING[trigger]
            change = RoleChanged(self._instance, self._told, self.role, epoch, reason)
            self._outputs.append(change)
            self.changes.append(change)
            self._told = self.role
        self.reason = ""
        if self.role is not Role.FAULT:
            self.fault = None

    def stop(self, _now: float) -> None:
        """OpenVPN is gone, and with it what was held."""
        self.held_since = None
