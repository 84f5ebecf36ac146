"""Which of the two OpenVPN processes of an instance the machine's VIP is for: the slot.

The two are two nodes on one machine, and everything that moves clients between machines moves them
between the two. What is new is only who tells each whether the VIP is here, and that is decided by
this table; the first row that fits counts. *Able* is one that is standby, held or master, as it has
said itself. *Engaged* is one that is master or held, or was promised the VIP. *Idle* is one that
certainly does not serve: it has said so itself, or is certainly dead. One that is silent, held up
by a script, or cannot be reached is not idle, however long that lasts.

================  =============================================  =================================
the slot is       situation                                      it goes to
================  =============================================  =================================
nobody's yet      one is found master                            that one; of two the higher epoch
                  one is connected, and the other one is         that one
                  certainly dead or waits
                  one is connected and has not said what it is   nobody yet
                  one is not reached, for less than ``FIND``     nobody yet
                  neither is idle                                nobody yet
                  one is not idle                                that one
                  one is held                                    that one; of two the higher epoch
                  one is a standby                               the one with its own descriptors,
                                                                 else the main one
                  none is                                        the main one
one's, which has  it is certain that its process is dead, or     the other one, at once
ended, or waits   none was ever seen; the other one is able
one's             the VIP is elsewhere, it is idle and not       the other one
                  engaged, and the other would serve better
the spare's       likewise, and the main one would serve as      the main one
                  well
any               otherwise                                      stays
================  =============================================  =================================

Never to both, and never from one that may still live without its answer to a hold: the end of a
management connection proves nothing, so a process counts as ended when the kernel has said so
(pidfd), or when nobody had its socket open at the start. One that has just ended and one that hangs
are the same but for that word: the shell is asked to end it. So one that is not idle is given the
slot, and with it the VIP, rather than that the other one is promoted beside it. Must never look at
anything but what each process said last: no memory, so that a sidecar that starts anew, in the
middle of a move too, finds the same answer.
Rules: docs/roles.md, "A spare"; docs/adr/0069-a-spare-is-a-node.md.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from ovpnha.machines import Process
from ovpnha.model import NO_EPOCH, Epoch
from ovpnha.node.role.reasons import BETTER, CRASHED

FIND = 1.0
"""Seconds from the start of a sidecar in which a process that is not reached may be found."""


class Place(enum.StrEnum):
    """What is known of a process."""

    ABSENT = "absent"  # there is no connection
    SILENT = "silent"  # it has not said yet what it is
    WAITING = "waiting"  # for descriptors
    STANDBY = "standby"
    HELD = "held"
    MASTER = "master"
    FAULT = "fault"  # its configuration differs, or it says nothing any more


ABLE = frozenset({Place.STANDBY, Place.HELD, Place.MASTER})
SOURCES = frozenset({Place.HELD, Place.MASTER})
GONE = frozenset({Place.ABSENT, Place.WAITING})


@dataclass(frozen=True)
class Side:
    """One process, as the arbiter sees it."""

    place: Place
    epoch: Epoch = NO_EPOCH
    own: bool = False  # it has opened its descriptors itself
    whole: bool = False  # as a standby: its copy is complete
    promised: bool = False  # it was promised the VIP
    ended: bool = False  # it is certain that no process is there that may serve
    told: bool = False  # as fault: it has said itself that it does not serve

    @property
    def able(self) -> bool:
        """Whether it could serve."""
        return self.place in ABLE

    @property
    def unreached(self) -> bool:
        """Whether there is no connection, and it may live."""
        return self.place is Place.ABSENT and not self.ended

    @property
    def idle(self) -> bool:
        """Whether it is certain that it does not serve."""
        if self.place in GONE:
            return self.ended
        if self.place is Place.FAULT:
            return self.told
        return self.place in (Place.STANDBY, Place.HELD)

    @property
    def engaged(self) -> bool:
        """Whether it has clients of its own, or is about to."""
        return self.place in SOURCES or self.promised

    @property
    def worth(self) -> int:
        """How well it would serve."""
        if self.place is Place.STANDBY:
            return 3 if self.whole else 2
        return 3 if self.able else int(self.place is Place.FAULT)


Sides = Mapping[Process, Side]


@dataclass(frozen=True)
class Choice:
    """Whom the VIP is for from now on, and why that is another one."""

    slot: Process | None
    why: str = ""


def choose(slot: Process | None, sides: Sides, *, vip: bool, waited: float) -> Choice:
    """Whom the VIP is for.

    Args:
        slot: Whom it has been for; None: that was not decided yet.
        sides: Both processes.
        vip: Whether it is on this machine.
        waited: Seconds since the sidecar started.
    """
    if slot is None:
        return Choice(_find(sides, waited))
    mine, other = sides[slot], sides[slot.other]
    if mine.place in GONE and mine.ended and other.able:
        return Choice(slot.other, CRASHED)
    if vip or mine.engaged or not mine.idle:
        return Choice(slot)
    as_good = other.worth == mine.worth and slot is Process.SPARE
    if other.worth > mine.worth or as_good:
        return Choice(slot.other, BETTER)
    return Choice(slot)


def _find(sides: Sides, waited: float) -> Process | None:
    """At the start of a sidecar: who serves, or is to."""
    masters = [one for one in Process if sides[one].place is Place.MASTER]
    gone = [one for one in Process if sides[one].place in GONE]
    if len(gone) == 1 and sides[gone[0]].ended and not masters:
        return gone[0].other
    early = waited < FIND and any(one.unreached for one in sides.values())
    if not masters and (early or any(one.place is Place.SILENT for one in sides.values())):
        return None
    held = [one for one in Process if sides[one].place is Place.HELD]
    doubted = [one for one in Process if not sides[one].idle]
    if doubted and not masters:
        return doubted[0] if len(doubted) == 1 else None
    if masters or held:
        return max(masters or held, key=lambda one: sides[one].epoch)
    standbys = [one for one in Process if sides[one].place is Place.STANDBY]
    owners = [one for one in standbys if sides[one].own]
    return next(iter([*owners, *standbys, Process.MAIN]))
