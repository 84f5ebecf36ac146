"""The role of one OpenVPN instance: an enforced table, and the one place that knows the role.

Theory
======

Two facts make a role: what OpenVPN does, and whether this node has the virtual IP (VIP). The VIP
manager decides the second and ovpnha follows it; nothing here elects. So the machine has few
states, and each answers one question: *may this OpenVPN send to clients, and whose data does it
have?*

``init``
    The sidecar has not asked yet: it has just started, or has just reconnected to OpenVPN. It says
    nothing and changes nothing, because OpenVPN may be serving clients this very moment.
``standby``
    OpenVPN is silent and holds a copy of the followed master's clients, as complete as ``Sync``
    says. It may be promoted at any time, with what is current.
``master``
    OpenVPN serves. The node has the VIP, or was promised it for a few seconds.
``held``
    A master that lost the VIP: silent at once, but it keeps instances, keys and its own packet
    ids, and imports nothing (rule R5). If nobody has been promoted since, it goes on as if nothing
    had happened. If somebody has, its data is history as soon as that node serves and has it: then
    it demotes, which wipes every key and draws a new holder id, and starts again as standby. If the
    VIP returns before that, it goes on with what it has, in a higher epoch.
``fault``
    It cannot do its part: OpenVPN is gone, or is configured otherwise than the master it would
    follow. A node in fault refuses the VIP; given it all the same, it serves if its OpenVPN can.

Why ``held`` exists: a VIP manager that restarts takes the VIP away for a second. Without ``held``
this would cost every client; with a master that went on sending it would risk two senders. Silence
is free and reversible, so it comes first; wiping is neither, so it waits for proof (another node
that serves and has the clients) or for ``held_max``.

There is no way from ``standby`` to ``held``, nor from ``held`` to ``standby`` other than through a
demote: only an OpenVPN that drew a new holder id may import again. There is no way from ``master``
to ``standby`` either, silence comes before wiping, but for an OpenVPN without the patch: it has
nothing to wipe and cannot be silenced, so its role is where the VIP is, and no more (ADR 66).

Triggers are past tense: they name what has been found or has been ordered. The order to OpenVPN is
written in the same step, and since commands are answered in order, what follows can rely on it.
Transitions that the table does not have raise TransitionError: a bug of ours, never an input's
fault. docs/roles.md shows this table.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from ovpnha.errors import TransitionError
from ovpnha.model import Role


class Trigger(enum.Enum):
    """What makes a role change."""

    FOUND_STANDBY = "found standby"
    FOUND_MASTER = "found master"
    FOUND_HELD = "found held"
    PROMOTED = "promoted"
    HELD = "held"
    RESUMED = "resumed"
    RETURNED = "returned"
    DEMOTED = "demoted"
    DIFFERS = "differs"
    AGREES = "agrees"
    LOST = "lost"
    RECONNECTED = "reconnected"
    PASSED = "passed"


MEANING: Mapping[Trigger, str] = {
    Trigger.FOUND_STANDBY: "OpenVPN says it is standby",
    Trigger.FOUND_MASTER: "OpenVPN says it is master, and the VIP is here",
    Trigger.FOUND_HELD: "OpenVPN says it is held, or is master without the VIP",
    Trigger.PROMOTED: "the VIP arrived, or was promised",
    Trigger.HELD: "the VIP left, or did not come as promised, or its clients went on elsewhere",
    Trigger.RESUMED: "the VIP came back, or is promised, and no higher epoch was heard",
    Trigger.RETURNED: "the VIP came back, and this node goes on above the epoch of another",
    Trigger.DEMOTED: "another node has the clients, or held_max is over",
    Trigger.DIFFERS: "configuration, certificate or record format differ from the master's",
    Trigger.AGREES: "the difference is gone",
    Trigger.LOST: "OpenVPN is gone",
    Trigger.RECONNECTED: "a new management connection to an OpenVPN that was not lost",
    Trigger.PASSED: "the VIP left an OpenVPN without the patch, which cannot be told to be silent",
}

TRANSITIONS: Mapping[Role, Mapping[Trigger, Role]] = {
    Role.INIT: {
        Trigger.FOUND_STANDBY: Role.STANDBY,
        Trigger.FOUND_MASTER: Role.MASTER,
        Trigger.FOUND_HELD: Role.HELD,
        Trigger.LOST: Role.FAULT,
    },
    Role.STANDBY: {
        Trigger.PROMOTED: Role.MASTER,
        Trigger.DIFFERS: Role.FAULT,
        Trigger.LOST: Role.FAULT,
        Trigger.RECONNECTED: Role.INIT,
    },
    Role.MASTER: {
        Trigger.HELD: Role.HELD,
        Trigger.PASSED: Role.STANDBY,
        Trigger.LOST: Role.FAULT,
        Trigger.RECONNECTED: Role.INIT,
    },
    Role.HELD: {
        Trigger.RESUMED: Role.MASTER,
        Trigger.RETURNED: Role.MASTER,
        Trigger.DEMOTED: Role.STANDBY,
        Trigger.LOST: Role.FAULT,
        Trigger.RECONNECTED: Role.INIT,
    },
    Role.FAULT: {
        Trigger.FOUND_STANDBY: Role.STANDBY,
        Trigger.FOUND_MASTER: Role.MASTER,
        Trigger.FOUND_HELD: Role.HELD,
        Trigger.AGREES: Role.STANDBY,
        Trigger.PROMOTED: Role.MASTER,
        Trigger.LOST: Role.FAULT,
        Trigger.RECONNECTED: Role.INIT,
    },
}


class RoleMachine:
    """Knows the role of one instance. Nothing else does."""

    def __init__(self) -> None:
        self._role = Role.INIT

    @property
    def role(self) -> Role:
        """The role now."""
        return self._role

    def move(self, trigger: Trigger) -> None:
        """Make the transition; TransitionError if the table has none."""
        row = TRANSITIONS[self._role]
        if trigger not in row:
            raise TransitionError(f"role {self._role.value} has no transition '{trigger.value}'")
        self._role = row[trigger]
