"""The verbs by which an administrator asks a node for something, on the control socket.

Decides nothing: each is taken by the instance that it names, and the whole situation is looked at
afterwards. What is asked may be refused by the situation, and is then not done.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

from ovpnha.model import InstanceName, NodeName, Uid
from ovpnha.node.cluster.obstacles import SwitchPlan, make_plan
from ovpnha.node.cluster.switchover import SwitchFigures
from ovpnha.node.instance import Instance

OVERRULED_FOR = 10.0
"""Seconds for which a person's word lasts that no fence is needed."""


class Asked:
    """A node, as far as an administrator asks it."""

    _name: NodeName
    _instances: Mapping[InstanceName, Instance]

    @abstractmethod
    def _go_on(self, now: float) -> None:
        """Everything that follows from an event."""

    def ask_promote(
        self, instance: InstanceName, expect_vip: float, now: float, *, unfenced: bool = False
    ) -> bool:
        """Promote now; the VIP is to come within ``expect_vip`` seconds. False: not before it.

        ``unfenced`` has the next promotion wait for no fence.
        """
        if unfenced:
            until = now + max(expect_vip, OVERRULED_FOR)
            self._instances[instance].parts.fence.overrule(until)
        taken = self._instances[instance].verbs.promote(expect_vip, now)
        self._go_on(now)
        return taken

    def ask_demote(self, instance: InstanceName, now: float) -> None:
        """Master: hand the VIP over. Held: demote as soon as another node has the clients."""
        self._instances[instance].verbs.demote(now)
        self._go_on(now)

    def ask_renegotiate(
        self, instance: InstanceName, uid: Uid | None, rate: float, now: float
    ) -> None:
        """Renegotiate with one client, or with all at ``rate`` a second."""
        self._instances[instance].verbs.renegotiate(uid, rate, now)
        self._go_on(now)

    def ask_farewell(self, instance: InstanceName, now: float, *, on: bool) -> None:
        """Tell all clients to reconnect, one after the other, or no more of them."""
        self._instances[instance].verbs.bid_farewell(now, on=on)
        self._go_on(now)

    def ask_pause(self, instance: InstanceName, seconds: float, now: float) -> None:
        """Watch and replicate, and do not act, for so long."""
        parts = self._instances[instance].parts
        parts.pause.begin(seconds, parts.role.role, parts.announcer.grade, now)
        self._go_on(now)

    def ask_resume(self, instance: InstanceName, now: float) -> None:
        """Act again."""
        self._instances[instance].parts.pause.end()
        self._go_on(now)

    def ask_resync(self, instance: InstanceName, now: float) -> bool:
        """Throw the copy of a standby away and fetch anew; False: it may not be spared now."""
        taken = self._instances[instance].verbs.resync(now)
        self._go_on(now)
        return taken

    def plan_switchover(
        self, instance: InstanceName, target: NodeName | None, now: float
    ) -> SwitchPlan:
        """What ``ask_switchover`` would do, and what stands against it."""
        facts = self._instances[instance].parts.switch_facts(now)
        return make_plan({**facts.states, self._name: facts.own}, target)

    def ask_switchover(
        self,
        instance: InstanceName,
        number: bytes,
        target: NodeName | None,
        within: float,
        now: float,
    ) -> None:
        """Move the role to that node, on whatever node this is; ``number`` names the request."""
        plan = self.plan_switchover(instance, target, now)
        if not plan.obstacles:
            self._instances[instance].parts.switchover.ask(number, plan, within, now)
        self._go_on(now)

    def switchover(self, instance: InstanceName, number: bytes) -> SwitchFigures | None:
        """What has become of that request of this node; None when a later one has replaced it."""
        return self._instances[instance].parts.switchover.wished(number)
