"""When an instance changes its role: one pure function of the situation.

Safety first: none of these steps can make two processes send the same packet id, whatever the
situation says, because ids are owned (docs/architecture.md, "Packet ids are owned"). What is
decided here is who serves, and whose copies are destroyed. Three rules:

The role follows the VIP.

What a node did in an epoch is history once another node *serves* in a higher one and *has* its
clients. The epoch alone proves nothing: the VIP may bounce, and then the higher epoch is an empty
table, or a node that has not served for a moment. So a held node keeps what it has until an heir
has served without a break for ``KEEP``, and goes on with it, above its heirs, when the VIP comes
back before.

One that is given the VIP while another node has more fetches that first, for ``FETCH_MAX``, or for
``FETCH_LONG`` as long as it gains something, or leaves the VIP to that node by its grade. Nobody
serves meanwhile, and the wait is bounded.

Each step can be interrupted at any point and is decided anew from the situation then found: the
function keeps no memory. No situation leads to more than three steps in a row.
Rules: docs/roles.md, "Steps".
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from ovpnha.model import Epoch, NodeName, Role
from ovpnha.node.role.lineage import Kin

KEEP = 2.5
"""Seconds without a break for which a node in a higher epoch must have served before the clients of
this one are wiped: more than a node is believed that has died (``proof_timeout``, 2.4 s)."""

SAY_HELD = 0.1
"""Seconds for which a node that says master, though the VIP is here, may still say that it is held:
its last hello is under way, and tells whether its clients have changed. One that lives answers the
hello that says where the VIP is now. So long, too, a record that is under way is waited for, and a
held node keeps its clients at least: what it received last is repeated when it was lost."""

FETCH_MAX = 1.0
"""Seconds for which a node with the VIP does not serve: it fetches what another one has, or waits
for the VIP manager to take the VIP there."""

FETCH_LONG = 3.0
"""Most such seconds while a fetch goes on, with something new within ``FETCH_MAX``: clients that
wait so long go on, those that are not fetched begin anew."""

LISTEN = 0.5
"""Seconds from when a sidecar first knows its OpenVPN, in which all other nodes are heard, if there
are any."""


class Step(enum.Enum):
    """What is to be done now."""

    STAY = "stay"
    PROMOTE = "promote"
    RESUME = "resume"
    RETURN = "return"  # held: master again, in an epoch above that of its heirs
    HOLD = "hold"
    DEMOTE = "demote"
    OVERTAKE = "overtake"  # stay master, in an epoch above one that no master claims


@dataclass(frozen=True)
class Heir:
    """What is known of the node that made the highest epoch, if that lies above ours."""

    kin: Kin
    role: Role | None  # master or held, as it says; None: it is not heard, or says neither
    has: bool  # it has our clients, as far as it tells
    touched: bool  # clients came, changed or went there, or on the way there
    served: float | None  # seconds for which it has been master with the VIP without a break
    alive: bool  # it was heard since the VIP is here


@dataclass(frozen=True)
class Sources:
    """What a standby knows of those that may have more than its own copy."""

    complete: bool  # the copy is all of the highest epoch
    behind: bool  # but for clients that changed a moment ago
    followed: Role | None  # what the followed node says it is
    alive: bool  # it was heard since the VIP is here
    fetching: bool  # records come from it, or none has come yet and it was heard of late
    elsewhere: bool  # another standby has clients that this node lacks
    begins: bool  # another node's sidecar has just started, and says nothing of its OpenVPN yet
    unheard: bool  # this sidecar has just started and has heard nobody yet


@dataclass(frozen=True)
class Situation:
    """All that a step depends on."""

    role: Role
    able: bool  # OpenVPN has answered, and has the patch
    vip: bool
    arrived: bool  # the VIP came and nobody here has served it yet
    promised: bool  # the VIP is promised and its time is not over
    waited: float  # seconds for which the VIP has been here in this role
    epoch: Epoch  # of this node's last promotion
    highest: Epoch  # ever heard of
    highest_claimed: bool  # by a node that says it is master of it, with the VIP or promised it
    rivalled: bool  # another node says that it is master and has the VIP
    touched: bool  # clients came, changed or went in our epoch
    unanswered: bool  # OpenVPN has still to carry out what it was ordered
    carried_out: float  # seconds since it did so last
    changed_late: bool  # clients did after a hold was written though the VIP is here
    planned: bool  # somebody moved the VIP in order, or asked this node to give up its clients
    held_over: bool  # held for held_max
    heir: Heir
    sources: Sources


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
    if not (situation.vip and outranked):
        return Step.STAY
    return Step.HOLD if _is_behind(situation) else Step.OVERTAKE


def _is_behind(situation: Situation) -> bool:
    """Whether this master went on a moment ago from what had gone on elsewhere.

    It had not heard of that yet. The node above has all, as nothing has changed here, and clients
    that heard it refuse our packet ids, which lie below its own, in whatever epoch. A busy OpenVPN
    serves on until it carries the hold out: what it says until then is waited for, and if clients
    have changed after all, it goes on as if this node had never stood back.
    """
    heir = situation.heir
    outlived = heir.kin is Kin.ABOVE and heir.role is Role.HELD
    return outlived and not situation.touched and situation.waited < LISTEN


def _decide_held(situation: Situation) -> Step:
    if situation.highest > situation.epoch:
        served = situation.heir.served is not None
        if situation.vip or (situation.promised and not served):
            return _decide_return(situation)
        if is_history(situation.heir, planned=situation.planned or situation.promised):
            return Step.STAY if _tells(situation) else Step.DEMOTE
    elif situation.vip or situation.promised:
        return Step.RESUME
    return Step.DEMOTE if situation.held_over else Step.STAY


def _tells(situation: Situation) -> bool:
    """Whether what was received last is still to be told, or may be asked for again.

    It is told when OpenVPN carries the hold out, which may be a while after the order; with a
    demote it is gone.
    """
    return situation.unanswered or min(situation.waited, situation.carried_out) < SAY_HELD


def is_history(heir: Heir, *, planned: bool) -> bool:
    """Whether another node serves that has our clients, so that ours may be wiped."""
    if not heir.has or heir.served is None:
        return False
    return heir.served >= KEEP or (planned and heir.kin is Kin.HEIR)


def _decide_return(situation: Situation) -> Step:
    """The VIP is back, and another node was promoted meanwhile.

    What it changed is fetched from it, if it is there to be asked: to wipe first costs nothing that
    it does not have. It may be master still, where two nodes have the VIP until the next advert of
    one; and it may have died since it said that it is held, so a word from it is waited for.
    Otherwise nobody has more than this node. Who went on above us is waited for longer, though
    only its sidecar be gone for a moment: clients that heard it do not hear us.
    """
    heir = situation.heir
    outlived = heir.kin is Kin.ABOVE
    if situation.changed_late and outlived:
        return Step.RETURN
    if heir.role is Role.MASTER and situation.waited < SAY_HELD:
        return Step.STAY
    newer = heir.kin is not Kin.HEIR or heir.touched
    waits = Step.STAY if situation.waited < (FETCH_MAX if outlived else SAY_HELD) else Step.RETURN
    if heir.role is None and outlived and situation.sources.begins:
        return waits
    if heir.role is None or not (heir.has and newer):
        return Step.RETURN
    if not (heir.alive or (heir.role is Role.HELD and not situation.vip)):
        return waits
    return Step.STAY if situation.unanswered else Step.DEMOTE


def _decide_standby(situation: Situation) -> Step:
    """A VIP that arrives is served, after a moment for what another node has.

    One that was here all along while OpenVPN died is served again, unless another node has begun
    to: its claim ends when it is heard no more. A VIP that is only promised can wait until the copy
    is complete: the node that has it serves meanwhile.
    """
    if situation.promised and not situation.vip:
        sources = situation.sources
        return Step.STAY if sources.followed and not sources.complete else Step.PROMOTE
    if not situation.vip or (situation.rivalled and not situation.arrived):
        return Step.STAY
    waits = situation.role is Role.STANDBY and situation.waited < patience(situation.sources)
    return Step.STAY if waits else Step.PROMOTE


def patience(sources: Sources) -> float:
    """Seconds for which a standby that has the VIP waits for what it lacks."""
    if sources.complete and not sources.unheard:
        return SAY_HELD if sources.behind and sources.followed else 0.0
    if sources.followed is Role.HELD or (sources.followed and sources.alive):
        return FETCH_LONG if sources.fetching else FETCH_MAX
    if sources.elsewhere or sources.begins:
        return FETCH_MAX
    if sources.followed is Role.MASTER:
        return SAY_HELD
    return LISTEN if sources.unheard else 0.0


def next_epoch(highest: Epoch, node: NodeName) -> Epoch:
    """The epoch of a promotion: one above the highest ever heard."""
    return Epoch(highest.counter + 1, node)
