"""Why a step is taken, in words for the log and for hooks. Decides nothing.

Where a step has several causes, the words name the one that holds; where they have none of their
own, the role table's meaning of the trigger is true whatever the cause.
"""

from __future__ import annotations

from ovpnha.model import OpenvpnStatus, Role
from ovpnha.node.role.succession import Situation, Step

STOOD_BACK = "its clients have gone on elsewhere, above what this node went on from"
FETCHES = "the VIP is here or promised, and another node has what this one lacks: it is fetched"
OVER = "nobody has taken the clients within held_max"
SERVED = "another node serves and has the clients"
CHANGED = "clients changed here after all, before OpenVPN was silent"
RESTARTED = "openvpn restarted"
CRASHED = "openvpn crashed"
BETTER = "the other process of this machine is the better one"
BACK = "the other process of this machine did not take over"
ALONE = "the VIP is back, and nobody is heard who has more than this node"


OF_THE_VIP = frozenset({Step.PROMOTE, Step.RESUME, Step.RETURN, Step.HOLD})
"""The steps that follow from the VIP, so that its own reason says most."""


def describe_step(step: Step, situation: Situation, why: str = "") -> str:
    """The cause of a step; "" when the trigger's meaning says all.

    ``why`` is that of the VIP, where it went from one process of this machine to the other.
    """
    if why and step in OF_THE_VIP:
        return why
    if step is Step.HOLD:
        return STOOD_BACK if situation.vip else ""
    if step is Step.RETURN:
        return CHANGED if situation.changed_late else ALONE
    if step is Step.DEMOTE:
        return _describe_demote(situation)
    return ""


def _describe_demote(situation: Situation) -> str:
    if situation.vip or (situation.promised and situation.heir.served is None):
        return FETCHES
    return OVER if situation.held_over and not _is_served(situation) else SERVED


def _is_served(situation: Situation) -> bool:
    return situation.heir.has and situation.heir.served is not None


def describe_held(status: OpenvpnStatus) -> str:
    """Why OpenVPN was found held, or was put on hold."""
    if status.role is Role.HELD:
        return "OpenVPN says it is held"
    return "OpenVPN says it is master, and the VIP is not here"
