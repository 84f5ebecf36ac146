"""What an administrator asks of one instance, on the control socket.

Decides whether the situation allows it. A verb is noted here and carried out by the step that
follows (``instance``). What may be the last copy of a client is never destroyed for an order.
"""

from __future__ import annotations

from ovpnha.model import Role, Uid
from ovpnha.node.parts import Parts
from ovpnha.node.steps import Steps


class Verbs:
    """Those of one instance."""

    def __init__(self, parts: Parts, steps: Steps) -> None:
        self._parts = parts
        self._steps = steps

    @property
    def _role(self) -> Role:
        return self._parts.role.role

    def promote(self, expect_vip: float, now: float) -> bool:
        """Promote before the VIP comes; without it this node will be held again.

        Refused with a VIP of IPv6 while another node serves: the kernel lets OpenVPN send from an
        address that it does not have, and clients that have heard it refuse the other one. Where
        that may have changed, OpenVPN is asked first.
        """
        if self._role is Role.MASTER:
            return True
        if self._parts.view.rivals():
            if not self._parts.goes_ahead:
                return False
            self._parts.discovery.doubt()
        self._parts.vip.promise(now + expect_vip)
        if not self._parts.discovery.settled:
            self._parts.openvpn.log("warning", "promote asked while openvpn does not answer")
        return True

    def demote(self, now: float) -> None:
        """Master: let the VIP manager move the VIP, and be held when it has.

        Held: demote as soon as another node serves that has the clients. What may be the last copy
        is not for an order to destroy, nor what another node is fetching.
        """
        vip, log = self._parts.vip, self._parts.openvpn.log
        vip.break_promise()
        if self._role is Role.HELD:
            self._parts.successor.planned = True
        elif self._role is Role.MASTER:
            vip.hand_over(now)
            log("info", "handing the vip over")
        else:
            log("warning", "demote asked of no master", role=self._role.value)

    def resync(self, now: float) -> bool:
        """Standby: throw the copy away and fetch anew. Refused where it may be the last one."""
        parts = self._parts
        master = parts.view.state(parts.importer.following)
        there = master is not None and master.serves
        waits = parts.vip.concerns or parts.switchover.active or bool(parts.openvpn.unanswered)
        if self._role is not Role.STANDBY or waits or not there or parts.importer.keeps:
            return False
        self._steps.fetch_anew(now)
        return True

    def repeat(self, now: float) -> None:
        """Look again at what was asked: it may be forbidden by now, or lost with the channel."""
        self._look_at_promise(now)
        unwiped = self._parts.importer.drops.unwiped
        if unwiped is not None and unwiped == self._parts.openvpn.holder:
            self.resync(now)

    def _look_at_promise(self, now: float) -> None:
        """Break one that OpenVPN could not keep in silence, as the other master has the VIP."""
        parts = self._parts
        kept = self._role is Role.MASTER or not parts.vip.promised(now) or parts.discovery.doubted
        if not kept and parts.view.rivals() and not parts.goes_ahead:
            parts.vip.break_promise()
            parts.openvpn.log("warning", "promise broken: openvpn would speak before the vip")

    def bid_farewell(self, now: float, *, on: bool) -> None:
        """Master: tell all clients to reconnect, as OpenVPN is about to end; or it is not."""
        parts = self._parts
        if not on:
            parts.farewell.end(now)
        elif self._role is Role.MASTER and parts.discovery.settled:
            parts.farewell.begin(now)

    def renegotiate(self, uid: Uid | None, rate: float, now: float) -> None:
        """Renegotiate with one client, or with all."""
        parts = self._parts
        if self._role is Role.MASTER and parts.discovery.settled:
            parts.rekey.order(parts.exporter.table if uid is None else [uid], rate, now)
        else:
            parts.openvpn.log("warning", "renegotiate asked of no master", role=self._role.value)
