"""What an administrator asks of a machine with two processes goes to the one that has the slot.

As ``asked`` has it for one node. Decides nothing. A pause is for both: neither acts meanwhile.
As long as it is open whose the slot is, a promotion or a demote waits.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

from ovpnha.machines import Process
from ovpnha.model import InstanceName, NodeName, Uid
from ovpnha.node.cluster.obstacles import SwitchPlan
from ovpnha.node.cluster.switchover import SwitchFigures
from ovpnha.node.node import Node
from ovpnha.node.slot import VipSlot
from ovpnha.node.slotview import Wish


class Delegating:
    """The verbs of a pair: those of a node, and its own."""

    _cores: Mapping[Process, Node]
    _slots: Mapping[InstanceName, VipSlot]

    @abstractmethod
    def _go_on(self, now: float) -> None:
        """Everything that follows from an event."""

    @abstractmethod
    def _of(self, instance: InstanceName) -> list[Node]:
        """The nodes that have this instance."""

    def serving(self, instance: InstanceName) -> Process:
        """Which process the VIP is for; to ask changes nothing."""
        slot = self._slots.get(instance)
        return slot.serving if slot is not None else Process.MAIN

    def _serving(self, instance: InstanceName) -> Node:
        """The one that has the slot."""
        return self._cores[self.serving(instance)]

    def _wish(self, instance: InstanceName, wish: Wish, now: float) -> bool:
        """Of the one that has the slot, as soon as one has it."""
        slot = self._slots.get(instance)
        return wish(self._serving(instance), now) if slot is None else slot.wish(wish, now)

    def ask_promote(
        self, instance: InstanceName, expect_vip: float, now: float, *, unfenced: bool = False
    ) -> bool:
        """Promote now, before the VIP comes."""
        until = now + expect_vip

        def promote(core: Node, at: float) -> bool:
            return core.ask_promote(instance, max(0.0, until - at), at, unfenced=unfenced)

        taken = self._wish(instance, promote, now)
        self._go_on(now)
        return taken

    def ask_demote(self, instance: InstanceName, now: float) -> None:
        """Hand the VIP over."""

        def demote(core: Node, at: float) -> bool:
            core.ask_demote(instance, at)
            return True

        self._wish(instance, demote, now)
        self._go_on(now)

    def ask_renegotiate(
        self, instance: InstanceName, uid: Uid | None, rate: float, now: float
    ) -> None:
        """Renegotiate with one client, or with all."""
        self._serving(instance).ask_renegotiate(instance, uid, rate, now)
        self._go_on(now)

    def ask_farewell(self, instance: InstanceName, now: float, *, on: bool) -> None:
        """Tell the clients of the one that serves to reconnect, or no more of them."""
        self._serving(instance).ask_farewell(instance, now, on=on)
        self._go_on(now)

    def ask_pause(self, instance: InstanceName, seconds: float, now: float) -> None:
        """Watch and replicate, and do not act: both."""
        if instance in self._slots:
            self._slots[instance].forget_wish()
        for core in self._of(instance):
            core.ask_pause(instance, seconds, now)
        self._go_on(now)

    def ask_resume(self, instance: InstanceName, now: float) -> None:
        """Act again."""
        for core in self._of(instance):
            core.ask_resume(instance, now)
        self._go_on(now)

    def ask_resync(self, instance: InstanceName, now: float) -> bool:
        """Throw the copy of a standby away and fetch anew."""
        taken = self._serving(instance).ask_resync(instance, now)
        self._go_on(now)
        return taken

    def plan_switchover(
        self, instance: InstanceName, target: NodeName | None, now: float
    ) -> SwitchPlan:
        """What ``ask_switchover`` would do."""
        return self._serving(instance).plan_switchover(instance, target, now)

    def ask_switchover(
        self,
        instance: InstanceName,
        number: bytes,
        target: NodeName | None,
        within: float,
        now: float,
    ) -> None:
        """Move the role to another machine."""
        self._serving(instance).ask_switchover(instance, number, target, within, now)
        self._go_on(now)

    def switchover(self, instance: InstanceName, number: bytes) -> SwitchFigures | None:
        """What has become of that request, whichever process it was given to."""
        found = (core.switchover(instance, number) for core in self._of(instance))
        return next((one for one in found if one is not None), None)

    # What only two processes can be asked.

    def ask_restart(self, instance: InstanceName, number: bytes, within: float, now: float) -> None:
        """Move the slot to the other process, as soon as no client would notice."""
        if instance in self._slots:
            self._slots[instance].ask(number, within, now)
        self._go_on(now)

    def ask_cancel(self, instance: InstanceName, now: float) -> None:
        """No move is wanted any more; one that has begun goes on to its end."""
        if instance in self._slots:
            self._slots[instance].cancel(now)
        self._go_on(now)

    def ask_retire(self, instance: InstanceName, process: Process, now: float) -> bool:
        """Have a process end that has not the slot; False: it has, or cannot be asked."""
        taken = instance in self._slots and self._slots[instance].retire(process, now)
        self._go_on(now)
        return taken
