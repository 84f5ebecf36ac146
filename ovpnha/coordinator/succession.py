"""When an instance changes its role: one pure function of the situation.

Safety first: none of these steps can make two processes send the same packet id, whatever the
situation says, because ids are owned (docs/architecture.md, Nonce safety). What is decided here is
who serves, and rests on two rules. The role follows the VIP. And what a node did in an epoch is
history as soon as a higher epoch exists that it did not make: then its clients may have moved on.

Each step can be interrupted at any point and is decided anew from the situation then found: the
function keeps no memory. No situation leads to more than three steps in a row.
Rules: docs/architecture.md, Roles.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from ovpnha.model import Epoch, NodeName, Role


class Step(enum.Enum):
    """What is to be done now."""

    STAY = "stay"
    PROMOTE = "promote"
    RESUME = "resume"
    HOLD = "hold"
    DEMOTE = "demote"
    OVERTAKE = "overtake"  # stay master, in an epoch above one that no master claims


@dataclass(frozen=True)
class Situation:
    """All that a step depends on."""

    role: Role
    able: bool  # OpenVPN has answered, and has the patch
    vip: bool
    arrived: bool  # the VIP came and nobody here has served it yet
    promised: bool  # the VIP is promised and its time is not over
    epoch: Epoch  # of this node's last promotion
    highest: Epoch  # ever heard of
    highest_claimed: bool  # by a node that says it is master of it, with the VIP or promised it
    rivalled: bool  # another node says that it is master and has the VIP
    demote_asked: bool
    held_over: bool  # held for held_max


def decide(situation: Situation) -> Step:
    """The next step; ``STAY`` when there is none."""
    if not situation.able:
        return Step.STAY
    if situation.role is Role.MASTER:
        return _decide_master(situation)
    if situation.role is Role.HELD:
        return _decide_held(situation)
    if situation.role is Role.INIT:
        return Step.STAY
    return _decide_standby(situation)


def _decide_master(situation: Situation) -> Step:
    if not (situation.vip or situation.promised):
        return Step.HOLD
    outranked = situation.highest > situation.epoch and not situation.highest_claimed
    return Step.OVERTAKE if situation.vip and outranked else Step.STAY


def _decide_held(situation: Situation) -> Step:
    if situation.highest > situation.epoch or situation.demote_asked:
        return Step.DEMOTE
    if situation.vip or situation.promised:
        return Step.RESUME
    return Step.DEMOTE if situation.held_over else Step.STAY


def _decide_standby(situation: Situation) -> Step:
    """A VIP that arrives is always served.

    One that was here all along while OpenVPN died is served again, unless another node has begun
    to: its claim ends when it is heard no more.
    """
    if situation.promised:
        return Step.PROMOTE
    if situation.vip and (situation.arrived or not situation.rivalled):
        return Step.PROMOTE
    return Step.STAY


def next_epoch(highest: Epoch, node: NodeName) -> Epoch:
    """The epoch of a promotion: one above the highest ever heard."""
    return Epoch(highest.counter + 1, node)
