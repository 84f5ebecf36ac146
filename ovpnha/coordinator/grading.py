"""How good a master this node would be: the grade, and why.

A grade is a weight, not a veto: only a fault refuses the VIP; any other node may be given it and
will serve. Decides nothing but the number. Rules: docs/roles.md, Grades; docs/architecture.md,
invariant 4.
"""

from __future__ import annotations

from dataclasses import dataclass

from ovpnha.coordinator.obstacles import Obstacle
from ovpnha.model import Grade, Role

LISTENING = 1.0
"""Seconds after the return of a BCN link in which other nodes have said hello twice."""


@dataclass(frozen=True)
class Standing:
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
    obstacle: Obstacle | None = None  # what keeps this node from serving on the VIP


def grade(standing: Standing) -> tuple[Grade, str]:
    """The grade and its reason, a constant phrase unless it names a fault."""
    if standing.role is Role.FAULT:
        return Grade.FAULT, standing.fault
    if not standing.seamless:
        return _grade_stock(standing)
    if standing.obstacle is not None:
        return standing.obstacle.grade, standing.obstacle.reason
    if standing.handing_over:
        return Grade.DEGRADED, "demote asked: handing the VIP over"
    if standing.role is Role.MASTER:
        return _grade_master(standing)
    if standing.role is Role.HELD:
        return _grade_held(standing)
    return _grade_standby(standing)


def _grade_master(standing: Standing) -> tuple[Grade, str]:
    """Of two masters the newer one has the clients' newest keys: the VIP manager should keep it."""
    if standing.outranked:
        return Grade.DEGRADED, "another master has a higher epoch"
    return Grade.MASTER, "master"


def _grade_held(standing: Standing) -> tuple[Grade, str]:
    """Held is as good as master only while this node would have heard of another promotion."""
    if not standing.links_up:
        return Grade.DEGRADED, "held, and a BCN link is down"
    if standing.relinked is not None and standing.relinked < LISTENING:
        return Grade.DEGRADED, "held, listening after a BCN link came back"
    if standing.silent is not None and standing.silent < standing.lone_after:
        return Grade.DEGRADED, "held, and a node has fallen silent"
    return Grade.MASTER, "held, and nobody else was promoted"


def _grade_stock(standing: Standing) -> tuple[Grade, str]:
    if standing.vip:
        return Grade.MASTER, "OpenVPN without the patch, and the VIP is here"
    if not standing.links_up:
        return Grade.DEGRADED, "a BCN link is down"
    return Grade.LONE, "OpenVPN without the patch"


def _grade_standby(standing: Standing) -> tuple[Grade, str]:
    if standing.complete and standing.master_heard:
        return Grade.IN_SYNC, "in sync with the master"
    if not standing.links_up:
        return Grade.DEGRADED, "a BCN link is down"
    if standing.lone is not None:
        return _grade_lone(standing, standing.lone)
    if standing.served:
        return Grade.DEGRADED, "syncing"
    if standing.complete:
        return Grade.IN_SYNC, "in sync with the last master"
    if standing.outdone:
        return Grade.DEGRADED, "another standby knows more clients"
    if standing.age < standing.lone_after:
        return Grade.DEGRADED, "listening for a master"
    return Grade.LONE, "no node is master, and none knows more clients"


def _grade_lone(standing: Standing, lone: float) -> tuple[Grade, str]:
    if lone >= standing.lone_after:
        return Grade.LONE, "no other node is heard"
    if standing.complete:
        return Grade.IN_SYNC, "in sync with the last master"
    return Grade.DEGRADED, "listening for other nodes"
