"""How good a master this node would be: the grade, and why.

A grade is a weight, not a veto: only a fault refuses the VIP; any other node may be given it and
will serve. A standby that has the VIP refuses it too while another standby has the clients that it
lacks: an OpenVPN that lost them is not fit, and the other can serve at once. Decides nothing but
the number. Rules: docs/roles.md, "Grades"; docs/architecture.md, invariant 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import NamedTuple

from ovpnha.model import Grade, Role
from ovpnha.node.cluster.vip_problems import VipProblem

LISTENING = 1.0
"""Seconds after the return of a BCN link in which other nodes have said hello twice."""


FAILING_MASTER = (Grade.LONE, "master, and a critical check fails")
FAILING = (Grade.DEGRADED, "a critical check fails")
"""At most so much is a node worth whose critical check fails. It is no fault: the last one that is
left keeps the VIP. One that serves stands above one that does not and fails as well, so that a
check that fails on all nodes at once moves nothing; and below every standby that is in sync."""

HANDED_OVER = (Grade.DEGRADED, "demote asked, and nobody has taken the VIP yet")
"""Between the moment in which the VIP leaves a node that was asked to demote, and the one in which
another node has it: whatever this node is worth by itself, it would draw the VIP back."""

UNFENCED = "a required fence has not succeeded"
"""A node that may not serve is worth less than it would be: how much, its fence says."""

GUARDED = (Grade.DEGRADED, "a required fence, and a standby in sync still tries its own")
"""At most so much is a node worth that lacks clients, while another one that has them is stopped by
nothing but its fence: it would need the same."""


class CopyFigures(NamedTuple):
    """All that records change in the grade and the state of a standby."""

    copies: int
    complete: bool
    proved: bool
    refused: int
    rangeless: int

    def weighs_like(self, other: CopyFigures | None) -> bool:
        """Whether a standby beside one that serves has the same grade with these.

        How many clients it has counts only where nobody serves; whether it has any, always.
        """
        if other is None or not (self.copies and other.copies):
            return False
        return self[1:] == other[1:]


@dataclass(frozen=True)
class GradeInput:
    """All that a grade depends on."""

    role: Role
    fault: str  # why the role is fault
    seamless: bool  # OpenVPN has the patch
    vip: bool
    handing_over: bool  # a demote was asked while the VIP is here
    complete: bool  # the copy is, or was when its master fell silent, all of the highest epoch
    master_heard: bool  # the followed master is heard
    links_up: bool  # every BCN link can carry datagrams
    relinked: float | None  # seconds since a BCN link came back; None when none ever did
    silent: float | None  # seconds since a node fell silent; None when all are heard
    outranked: bool  # another node says that it is master of a higher epoch, and has the VIP
    lone: float | None  # seconds without any other node; None when one is heard
    age: float  # seconds since this sidecar started
    served: bool  # another node is master or held
    outdone: bool  # another standby knows more clients
    lone_after: float
    vip_problem: VipProblem | None = None  # what keeps this node from serving on the VIP
    lacking: bool = False  # as source: a held node keeps clients that this one lacks
    superseded: bool = False  # as held: another node was promoted since
    outlived: bool = False  # by the node that our clients came from: they went on there
    wanting: bool = False  # it is heard, and lacks clients that this node has
    refused: int = 0  # clients of the master that our OpenVPN refuses, for some time
    rangeless: int = 0  # copies without packet ids to send with, for some time
    empty: bool = False  # our OpenVPN has no client at all
    bettered: bool = False  # another standby is in sync
    stands: tuple[Grade, str] | None = None  # the grade that it had when it was paused
    acts: bool = True  # it would serve on the VIP, paused or not
    relieved: bool = False  # another node serves, or could at once
    unused: bool = False  # as held: it has never had the VIP in its epoch
    yields: bool = False  # a switchover takes the VIP to another standby
    unfenced: Grade | None = None  # at most that, while a required fence here has not succeeded
    guarded: bool = False  # a fence is required, and a standby in sync is worth the VIP
    copied: bool = False  # without the patch: leases of the one that serves, or served last
    failing: bool = False  # a critical check of the service fails here
    handed_over: bool = False  # it has left, that was asked, and who could take it has not yet
    proved: bool = True  # what the followed master says it has arrives, or did while it was heard


IDLE = (Grade.DEGRADED, "paused: another node serves, or could")
"""At most so much is a node worth that would not serve on the VIP, while another one would: below a
master whose check fails, and below every other standby that is in sync."""


def grade(given: GradeInput) -> tuple[Grade, str]:
    """The grade and its reason, a constant phrase unless it names a fault.

    A pause lets it stand, but draws the VIP to no node that cannot serve or does not, nor to one
    that is worth less than when it was paused.
    """
    found = _grade(given)
    if given.stands is None or found[0] is Grade.FAULT or given.yields:
        return found
    return _grade_paused(given, found, given.stands[0])


def _grade_paused(given: GradeInput, found: tuple[Grade, str], stands: Grade) -> tuple[Grade, str]:
    """A master gives the VIP to nobody for the sake of a pause; all others take it from nobody."""
    stood = (stands, "paused: the grade stands")
    if given.role is Role.MASTER:
        unfit = given.outranked or given.lacking
        return found if unfit else max(stood, found, key=itemgetter(0))
    if given.seamless and (given.role is Role.HELD or given.acts):
        return found
    return min(IDLE, found, key=itemgetter(0)) if given.seamless and given.relieved else stood


def _grade(given: GradeInput) -> tuple[Grade, str]:
    """As if nobody had paused it."""
    found = _grade_well(given)
    if given.unfenced is not None and given.role is not Role.MASTER:
        found = min(found, (given.unfenced, UNFENCED), key=itemgetter(0))
    if given.guarded and given.role is Role.STANDBY and not given.complete:
        found = min(found, GUARDED, key=itemgetter(0))
    if not given.failing:
        return found
    serves = given.role is Role.MASTER or (not given.seamless and given.vip)
    return min(found, FAILING_MASTER if serves else FAILING, key=itemgetter(0))


def _grade_well(given: GradeInput) -> tuple[Grade, str]:
    """As if no check failed."""
    if given.role is Role.FAULT:
        return Grade.FAULT, given.fault
    if not given.seamless:
        return _grade_stock(given)
    if given.vip_problem is not None:
        return given.vip_problem.grade, given.vip_problem.problem.text
    if given.handing_over:
        return Grade.DEGRADED, "demote asked: handing the VIP over"
    if given.role is Role.MASTER:
        return _grade_master(given)
    if given.role is Role.HELD:
        return _grade_held(given)
    return _grade_standby(given)


def _grade_master(given: GradeInput) -> tuple[Grade, str]:
    """Of two masters the newer one has the clients' newest keys: the VIP manager should keep it."""
    if given.outranked:
        return Grade.DEGRADED, "another master has a higher epoch"
    if given.lacking:
        return Grade.DEGRADED, "master, and a held node has clients that this one lacks"
    return Grade.MASTER, "master"


def _grade_held(given: GradeInput) -> tuple[Grade, str]:
    """Held is as good as master only while this node would have heard of another promotion."""
    if not given.links_up:
        return Grade.DEGRADED, "held, and a BCN link is down"
    if given.relinked is not None and given.relinked < LISTENING:
        return Grade.DEGRADED, "held, listening after a BCN link came back"
    if given.silent is not None and given.silent < given.lone_after:
        return Grade.DEGRADED, "held, and a node has fallen silent"
    if given.superseded:
        return _grade_superseded(given)
    if given.lacking:
        return Grade.DEGRADED, "held, and another held node has clients that this one lacks"
    if given.handed_over:
        return HANDED_OVER
    if given.unused:
        return Grade.LONE, "held, and the VIP was only promised"
    return Grade.MASTER, "held, and nobody else was promoted"


def _grade_superseded(given: GradeInput) -> tuple[Grade, str]:
    """The VIP goes where the clients are."""
    if given.outlived:
        return Grade.DEGRADED, "held, and its clients have gone on elsewhere"
    if given.wanting:
        return Grade.MASTER, "held, and the node promoted since lacks its clients"
    return Grade.LONE, "held, and another node was promoted since"


def _grade_stock(given: GradeInput) -> tuple[Grade, str]:
    if given.handing_over:
        return Grade.DEGRADED, "demote asked: handing the VIP over"
    if given.vip:
        return Grade.MASTER, "OpenVPN without the patch, and the VIP is here"
    if given.handed_over:
        return HANDED_OVER
    if not given.links_up:
        return Grade.DEGRADED, "a BCN link is down"
    if given.copied:
        return Grade.IN_SYNC, "OpenVPN without the patch, and the clients' addresses are known"
    return Grade.LONE, "OpenVPN without the patch"


def _grade_standby(given: GradeInput) -> tuple[Grade, str]:
    if given.vip and given.outdone and not (given.served or given.complete):
        return Grade.FAULT, "another standby has the clients that this node lacks"
    if given.yields and not given.vip:
        return Grade.DEGRADED, "a switchover takes the VIP to another node"
    if given.complete and given.master_heard:
        return _grade_copy(given, "in sync with the master")
    if not given.links_up:
        return Grade.DEGRADED, "a BCN link is down"
    if given.lone is not None:
        return _grade_lone(given, given.lone)
    if given.served:
        unproved = "what the master says it has does not arrive"
        return Grade.DEGRADED, "syncing" if given.proved else unproved
    if given.complete:
        return _grade_copy(given, "in sync with the last master")
    if given.outdone:
        return Grade.DEGRADED, "another standby knows more clients"
    if given.age < given.lone_after:
        return Grade.DEGRADED, "listening for a master"
    return Grade.LONE, "no node is master, and none knows more clients"


def _grade_lone(given: GradeInput, lone: float) -> tuple[Grade, str]:
    if lone >= given.lone_after:
        return Grade.LONE, "no other node is heard"
    if given.complete:
        return _grade_copy(given, "in sync with the last master")
    return Grade.DEGRADED, "listening for other nodes"


def _grade_copy(given: GradeInput, reason: str) -> tuple[Grade, str]:
    """A copy of all that OpenVPN takes is better than none, but must draw the VIP from nobody."""
    if not given.refused:
        return _grade_ids(given, reason)
    if given.empty:
        return Grade.DEGRADED, "OpenVPN refuses every client of the master"
    if given.bettered:
        return Grade.DEGRADED, "OpenVPN refuses clients that another standby has"
    return Grade.LONE, "in sync, but for clients that OpenVPN refuses"


def _grade_ids(given: GradeInput, reason: str) -> tuple[Grade, str]:
    if not given.rangeless:
        return Grade.IN_SYNC, reason
    if given.bettered:
        return Grade.DEGRADED, "clients without packet ids, which another standby has"
    return Grade.LONE, "in sync, but for clients without packet ids"
