"""The planned move of the slot from one process to the other, so that no client notices.

::

    waiting ◄─► holding ──► promoting ──► done
       │           │             │
       │           ▼             ▼
       └──────► failed ◄─── returning

=========  ==================================================  =======  =======================
phase      it is over when                                     at most  or else
=========  ==================================================  =======  =======================
waiting    nothing stands against it, and the process that     asked    failed, nothing was
           serves says that no handshake is under way                   touched; so when it is
                                                                        not wanted any more
holding    it has answered the hold; with that its last        0.5 s    it is promoted again:
           receive marks are on their way to the other one.             failed
           It says once more that no handshake is under way;
           if one has begun meanwhile, it is promoted again,
           and that one waited for
promoting  the other one has answered the promotion            0.5 s    returning
returning  the other one has answered a hold, or has ended     5 s      failed, and it is the
                                                                        other one's for good
=========  ==================================================  =======  =======================

While *returning* nobody serves: who was ordered to be master and has not answered may be one. It is
asked to end after ``END_AFTER``, and again. When it has neither answered nor ended within
``RETURN_MAX``, the way back is given up: as the one that may serve it has the slot, like any other
that hangs, so that the machine says what is wrong, and another one may have the VIP. A handshake
that is under way in a move would stall for its hand-window, and a renegotiation would cost a
restart; so a moment without either is waited for. Between the word that there is none and the hold
one may begin, the longer the busier the machine is: only what a silent process says of it stands.
Where clients connect and renegotiate all the time there is no such moment. Then one is made:
``QUIESCE_AFTER`` after nothing else stood against the move the process that serves begins none for
``QUIESCE_FOR``, those under way end, and who wanted to begin one tries again a little later.
Clients that came by the last move must have enough packet ids: each promotion takes more than half
of what is left of a key (rule R3). So they are to have new keys first, as far as they are to have
any. For ``RENEWED_WITHIN`` that is waited for: one that has left since then could not say so, as
this process cannot read its control channel, and is missed only by the server's ``ping-restart``.

Decides only how far the move is; ``pair`` carries it out. Rules: docs/roles.md, "A spare".
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from ovpnha.model import Role, Sync
from ovpnha.node.arbiter import Place
from ovpnha.node.master.farewell import NO_FAREWELL, FarewellFigures
from ovpnha.node.master.rekey import SHORT
from ovpnha.node.part import first
from ovpnha.node.parts import Parts
from ovpnha.node.statistics import SpareFigures
from ovpnha.problems import ProblemKind

ANSWER_MAX = 0.5
"""Seconds that a process may take for an order: a thousand clients take it some milliseconds."""
QUIESCE_AFTER = 2.0
"""Seconds for which a moment without handshakes is waited for before one is made."""
QUIESCE_EVERY = 15.0
"""Least seconds from one such time to the next: what was put off is done in between."""
RENEWED_WITHIN = 65.0
"""Seconds for which new keys after the last move are waited for: a key must be older than a
hand-window, 60 s, before it is followed by another."""
END_AFTER = 1.0
"""Seconds until a process that answers no hold is ended."""
RETURN_MAX = 5.0
"""Seconds for which a process that neither answers nor ends is waited for, and the last grade of
the machine stands."""
ASK_EVERY = 0.02
"""Least seconds between questions for handshakes."""

GIVEN_UP = ", and could not be ended: nobody serves until it answers or is dead"
HANDSHAKES = "clients are inside a handshake all the time"
CANCELLED = "it is not wanted any more"
NOBODY_SERVED = "no client is served here: the same command starts both processes anew"

ABSENT = {
    Place.ABSENT: "the other process does not run",
    Place.SILENT: "the other process has not said yet what it is",
    Place.WAITING: "the other process waits for link socket and tun",
}


class MovePhase(enum.StrEnum):
    """How far a planned move is."""

    WAITING = "waiting"
    HOLDING = "holding"
    PROMOTING = "promoting"
    RETURNING = "returning"
    DONE = "done"
    FAILED = "failed"


OVER = frozenset({MovePhase.DONE, MovePhase.FAILED})
CRITICAL = frozenset({MovePhase.HOLDING, MovePhase.PROMOTING, MovePhase.RETURNING})
"""Phases in which what a process says of itself is not what this machine is."""


@dataclass
class Move:
    """One planned move, under way or over."""

    number: bytes  # names the request
    begun: float
    until: float  # so long may be waited
    phase: MovePhase = MovePhase.WAITING
    since: float = 0.0  # of the phase
    reason: str = ""  # why it failed, or what it waits for
    ask_at: float = 0.0  # when handshakes are asked for again; 0: no answer counts yet
    quiesce_at: float = 0.0  # when no handshake is to begin for a while; 0: other things come first
    quiesced: bool = False  # that has been said, and may still count
    end_at: float = 0.0  # while returning: when the other one is to be ended
    ended_at: float | None = None

    def enter(self, phase: MovePhase, now: float, reason: str = "") -> None:
        """The next phase."""
        self.phase, self.since, self.reason = phase, now, reason
        self.end_at = now + END_AFTER
        self.ended_at = now if phase in OVER else None

    @property
    def over(self) -> bool:
        """Whether nothing more is done for it."""
        return self.phase in OVER

    @property
    def critical(self) -> bool:
        """Whether the VIP is between the two processes."""
        return self.phase in CRITICAL

    def is_calm(self, mine: Parts, now: float) -> bool:
        """Whether the process that serves has said that no handshake is under way, just now.

        One question is open at a time: a slow process is not asked faster than it answers, and what
        is asked behind the hold waits for no other answer.
        """
        sharing = mine.sharing
        if self.ask_at and sharing.handshakes == 0:
            sharing.handshakes = None
            return True
        if now >= self.ask_at and not sharing.counting:
            self.ask_at = now + ASK_EVERY
            sharing.count_handshakes()
            mine.openvpn.flush()
        return False

    def find_lasting(self, mine: Parts, other: Parts, place: Place, now: float) -> str:
        """What stands against it now, and does not end if only no handshake begins; or ""."""
        found = find_lasting(mine, other, place, now)
        if now < self.begun + RENEWED_WITHIN:
            found = chain(found, find_unrenewed(mine, now))
        return next(found, "")

    def make_calm(self, mine: Parts, now: float) -> None:
        """Only handshakes have stood against it for some time: have none begin for a while."""
        if not self.quiesce_at:
            self.quiesce_at = now + QUIESCE_AFTER
        elif now >= self.quiesce_at:
            self.quiesce_at, self.quiesced = now + QUIESCE_EVERY, True
            mine.openvpn.quiesce(on=True)
            mine.openvpn.flush()

    def give_up(self, mine: Parts, now: float, reason: str) -> None:
        """It has not come to pass within its time, and nothing was touched."""
        self.enter(MovePhase.FAILED, now, reason)
        if self.quiesced and not mine.switchover.freezes:  # which has asked for it, too
            mine.openvpn.quiesce(on=False)
            mine.openvpn.flush()

    def cancel(self, mine: Parts, now: float) -> None:
        """Nobody wants it any more: it does not begin, and waits no longer if it has begun."""
        if self.phase is MovePhase.WAITING:
            self.give_up(mine, now, CANCELLED)
        self.until = min(self.until, now)

    def get_timer(self, after: float) -> float | None:
        """When time alone takes it further."""
        if self.over:
            return None
        if self.phase is MovePhase.WAITING:
            moments = (self.until, self.ask_at, self.quiesce_at, self.begun + RENEWED_WITHIN)
            return first(moments, after=after)
        if self.phase is MovePhase.RETURNING:
            return first((self.end_at, self.since + RETURN_MAX), after=after)
        return first((self.since + ANSWER_MAX,), after=after)


@dataclass(frozen=True)
class RestartFigures:
    """How far a planned move is, and what stands against one."""

    figures: SpareFigures
    obstacles: tuple[str, ...]  # empty: the slot could move now
    settled: bool = False  # whether it is known which process serves
    number: bytes = b""  # of the last request; empty: there was none
    phase: MovePhase | None = None
    reason: str = ""
    seconds: float = 0.0  # since it was asked for, or that it took
    farewell: FarewellFigures = NO_FAREWELL  # of the process that serves


def find_obstacles(mine: Parts, other: Parts, place: Place, now: float) -> Iterator[str]:
    """What stands against giving the slot of one process to the other, in words."""
    yield from find_lasting(mine, other, place, now)
    if place not in ABSENT:
        yield from find_unrenewed(mine, now)
        yield from find_bustle(mine, other)


def find_lasting(mine: Parts, other: Parts, place: Place, now: float) -> Iterator[str]:
    """Those of them that do not end if only no handshake begins."""
    if place in ABSENT:
        yield other.sharing.problem or ABSENT[place]
        return
    if place is Place.FAULT:
        yield f"the other process could not serve: {other.role.why}"
        return
    if mine.sharing.descriptors is None or other.sharing.descriptors is None:
        yield "this OpenVPN knows of no spares: install the release of this ovpnha, start it anew"
    if mine.pause.active or mine.switchover.active or mine.vip.handing_over(now):
        yield "a pause, a switchover or a demote is under way"
    if mine.vip.promised(now):
        yield "the VIP is only promised, and has not come yet"
    if mine.role.role is Role.MASTER:
        yield from _find_gaps(mine, other, now)


def is_in_vain(other: Parts, place: Place, begun: float) -> bool:
    """Whether the other process would have to be started anew, with something else, before it.

    One that cannot use the descriptors of this one counts when it has said so since the move was
    begun: it may be one that is about to end.
    """
    if place is Place.WAITING:
        refused = other.sharing.refused_at
        return refused is not None and refused >= begun
    fault = other.role.fault
    differs = fault is not None and fault.kind is ProblemKind.DIFFERS_FROM_MASTER
    return place is Place.FAULT and differs


def _find_gaps(mine: Parts, other: Parts, now: float) -> Iterator[str]:
    """What a client would notice."""
    if other.sync(now) is not Sync.IN_SYNC:
        yield _lacks(mine, other)
    if other.importer.rangeless(now):
        yield "clients are there that have no packet ids"
    if mine.traffic.room is not None and mine.traffic.room < SHORT:
        yield "a client has few packet ids left: ovpnha renegotiate gives it new keys"


def find_unrenewed(mine: Parts, now: float) -> Iterator[str]:
    """Clients that came by the last move, and are to have new keys."""
    pending = mine.rekey.statistics(now).pending
    if mine.role.role is Role.MASTER and pending:
        yield f"{pending} clients are still to have new keys after the last move"


def find_bustle(mine: Parts, other: Parts) -> Iterator[str]:
    """What stands against it only because clients come and renegotiate."""
    if mine.role.role is not Role.MASTER:
        return
    table, sibling = mine.exporter.table, mine.view.sibling
    if other.importer.table.lacks():
        yield _lacks(mine, other)
    elif not (mine.exporter.complete and table.is_at(sibling)):
        yield "not all clients are there as they are now"


def _lacks(mine: Parts, other: Parts) -> str:
    return f"its copy is not complete: {other.clients} of {mine.clients} clients are there"
