"""What the administrator asks of an instance becomes a wish, or a line that says why not."""

from __future__ import annotations

from ovpnha.coordinator.instance import Instance
from ovpnha.management.commands import Renegotiate
from ovpnha.model import Role, Uid


def ask_promote(instance: Instance, expect_vip: float, now: float) -> None:
    """Promote before the VIP comes; without it this node will be held again."""
    if instance.role is Role.MASTER:
        return
    instance.wishes.promise(now + expect_vip)
    if not instance.discovery.settled:
        instance.openvpn.log("warning", "promote asked while openvpn does not answer")


def ask_demote(instance: Instance, now: float) -> None:
    """Held: demote. Master: let the VIP manager move the VIP, and be held when it has."""
    instance.wishes.break_promise()
    if instance.role is Role.HELD:
        instance.wishes.demote_asked = True
    elif instance.role is Role.MASTER:
        instance.wishes.hand_over(now)
        instance.openvpn.log("info", "handing the vip over")
    else:
        instance.openvpn.log("warning", "demote asked of no master", role=instance.role.value)


def ask_renegotiate(instance: Instance, uid: Uid | None, rate: float) -> None:
    """Renegotiate with one client, or with all."""
    if instance.role is Role.MASTER:
        instance.openvpn.send(Renegotiate(uid, max(1, round(rate))))
    else:
        instance.openvpn.log("warning", "renegotiate asked of no master", role=instance.role.value)
