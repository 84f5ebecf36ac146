"""Whether what an administrator asked for has come about, and why not, in words.

Decides nothing: ``commands`` waits for it.
"""

from __future__ import annotations

from ovpnha.model import Grade, Role, Sync
from ovpnha.node.cluster.view import NodeView
from ovpnha.node.statistics import InstanceStatistics


def is_promoted(one: InstanceStatistics) -> bool:
    """OpenVPN has confirmed that it serves."""
    return one.role is Role.MASTER and "promoted" in one.promotion.last_promotion_phases


def why_not_promoted(one: InstanceStatistics) -> str:
    """Why it has not."""
    if one.role is Role.MASTER:
        return "OpenVPN has not confirmed it; does a script of it hang? See its log"
    return f"{_reasons(one)}; see the log of ovpnha"


def _reasons(one: InstanceStatistics) -> str:
    return "; ".join(map(str, one.problems)) or one.announcer.grade_reason


def is_copied(one: InstanceStatistics) -> bool:
    """The copy of a standby is there, or is wanted no more."""
    return one.role is not Role.STANDBY or one.sync in {Sync.IN_SYNC, Sync.PARTIAL}


def why_not_copied(one: InstanceStatistics) -> str:
    """How far it is."""
    return f"{one.importer.records} clients are copied so far; it goes on, see ovpnha status"


def why_not_resynced(one: InstanceStatistics) -> str:
    """Why its copy may not be thrown away."""
    if one.role is not Role.STANDBY:
        return f"is {one.role.value}, no standby: what it has are no copies, nothing is thrown away"
    return (
        "no master with the VIP is heard, or it lacks clients, or the role is moving: this copy may"
        " be needed, and is kept; try again when ovpnha status shows a master with all clients"
    )


def is_standby(one: InstanceStatistics) -> bool:
    """It has given up its clients."""
    return one.role is Role.STANDBY


def note_of_standby(before: InstanceStatistics, one: InstanceStatistics) -> str:
    """What the answer to a demote should not hide."""
    masters = [node.name for node in one.nodes if node.believed and node.role is Role.MASTER]
    if not masters:
        return "no node is heard that is master: nobody serves until one has the VIP"
    already = "as before; " if before.role is Role.STANDBY else ""
    return f"{already}{', '.join(masters)} is master"


def why_not_demoted(one: InstanceStatistics) -> str:
    """What the administrator sees on this node, and the next step."""
    if one.role is Role.HELD:
        return (
            "the VIP is not here, and no other node is known to serve with this one's clients, so"
            " they are kept. Add the VIP on a standby; this node is standby when that one serves"
        )
    if one.role is Role.MASTER and any(_could_serve(node) for node in one.nodes):
        return (
            "the VIP is still here. The grade has fallen for a minute, and the VIP manager has not"
            " moved the VIP: does it run here and on the other node? To move it by hand: ovpnha"
            " promote on the other node, then take the VIP away here and add it there"
        )
    if one.role is Role.MASTER:
        return "the VIP is still here, and no other node is heard that could take it: ovpnha status"
    return f"{_reasons(one)}; see the log of ovpnha"


def _could_serve(node: NodeView) -> bool:
    return node.believed and node.has_instance and node.grade > Grade.FAULT
