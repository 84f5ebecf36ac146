"""The one list of what is wrong with a node, and whether that makes it unhealthy.

Decides what of the figures is a problem: what the parts of each instance say, what is wrong with
this host, and what the other nodes look like from here. ``status`` shows the list line by line,
its JSON and ``/status`` have it whole, ``/health`` has what makes it answer 503. Which kinds there
are, and what each of them costs: ``ovpnha/problems.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ovpnha.config.bcn import MACHINE_LINK
from ovpnha.model import Grade, Role
from ovpnha.node.cluster.view import NodeView
from ovpnha.node.statistics import InstanceStatistics, NodeStatistics
from ovpnha.problems import KINDS, Health, Problem, ProblemKind
from ovpnha.runtime.answers import count_clients
from ovpnha.runtime.codec import to_plain

CLOCK_NOTABLE = 1.0  # seconds
UNPROTECTED_NOTABLE = 10.0  # seconds, as for the alert: a new client needs some milliseconds
ROOM_NOTABLE = 1_000_000  # packet ids, as for the alert
BROKEN = "Connections behind NAT would break at a takeover"
SAME_KEYS = (
    "make the key file the same on all nodes, then systemctl reload ovpnha: a rotation is half done"
)
SAME_INSTANCE = "write the same [[instance]] on all nodes"


def find_problems(status: NodeStatistics) -> tuple[Problem, ...]:
    """Everything that is wrong, in the order in which it is to be read."""
    instances = (problem for one in status.instances for problem in _of_an_instance(one))
    return (*_of_this_host(status), *instances)


def find_unhealthy(status: NodeStatistics) -> tuple[Problem, ...]:
    """Why this node is not healthy: nothing here means that it serves or could serve."""
    host = (one for one in _of_this_host(status) if KINDS[one.kind].health is Health.ALWAYS)
    instances = (
        problem
        for one in status.instances
        for problem in _of_an_instance(one)
        if _counts(problem, one)
    )
    return (*host, *instances)


def compare_keys(ours: tuple[str, ...], theirs: tuple[str, ...]) -> str:
    """How another node's cluster keys differ from ours; "" when they do not, or are not told."""
    if not ours or not theirs:
        return ""
    if missing := [key for key in ours if key not in theirs]:
        return f"it has not got the cluster key {', '.join(missing)}, which this node has"
    if more := [key for key in theirs if key not in ours]:
        return f"it has the cluster key {', '.join(more)}, which this node has not"
    if ours[0] != theirs[0]:
        return f"it seals with the cluster key {theirs[0]}, this node with {ours[0]}"
    return ""


def to_plain_status(status: NodeStatistics) -> dict[str, Any]:
    """The figures of a node as JSON, and the whole list with them."""
    return {**to_plain(status), "problems": to_plain(find_problems(status))}


def with_vip(one: InstanceStatistics) -> list[str]:
    """The other nodes that have the VIP."""
    return [node.name for node in one.nodes if node.vip and node.believed]


def _counts(problem: Problem, one: InstanceStatistics) -> bool:
    """Whether a problem of an instance makes the node unhealthy."""
    match KINDS[problem.kind].health:
        case Health.REFUSING:
            return _refuses(one)
        case Health.WITHOUT_VIP:
            return not one.vip
        case health:
            return health is Health.ALWAYS


def _refuses(one: InstanceStatistics) -> bool:
    """Whether it refuses the VIP; before its role is known the grade says nothing."""
    return one.announcer.grade == Grade.FAULT and one.role is not Role.INIT


def _of_this_host(status: NodeStatistics) -> Iterator[Problem]:
    for name, up in status.links.items():
        if not up:
            what = f"BCN link {name} is down: no carrier, switched off, or not there"
            yield Problem(ProblemKind.LINK_DOWN, what)
    if not any(one.nodes for one in status.instances) and MACHINE_LINK not in status.links:
        fix = "does ovpnha run there, with the same cluster name and key?"
        yield Problem(ProblemKind.NO_OTHER_NODE, "no other node is heard", fix)
    if status.tracking is not None and status.tracking.problem:
        yield Problem(ProblemKind.CONNECTIONS_STAY, f"{status.tracking.problem}. {BROKEN}")
    if status.firewall:
        yield Problem(ProblemKind.FIREWALL_NOT_SET, f"{status.firewall}. {BROKEN}")
    for node in status.heard:
        if node.believed and (what := compare_keys(status.keys, node.keys)):
            yield Problem(ProblemKind.NODE_KEYS_DIFFER, what, SAME_KEYS, node=node.name)
    for instance, nodes in status.lacking.items():
        what = f"{', '.join(nodes)}: has an instance {instance}, which this node lacks"
        yield Problem(ProblemKind.INSTANCE_LACKING, what, SAME_INSTANCE)


def _of_an_instance(one: InstanceStatistics) -> Iterator[Problem]:
    yield from one.problems
    if not any(_counts(problem, one) for problem in one.problems):
        yield from _unexplained(one)
    if lost := _unprotected(one):
        fix = "is a standby heard, and in sync?"
        yield Problem(ProblemKind.UNPROTECTED, lost, fix, instance=one.name)
    room = one.traffic.room
    if one.role is Role.MASTER and room is not None and room < ROOM_NOTABLE:
        low = f"a client has {room} packet ids left to its newest key"
        yield Problem(ProblemKind.IDS_LOW, low, "ovpnha renegotiate gives it", instance=one.name)
    if not one.vip and not with_vip(one):
        nowhere = "no node that is heard has the VIP"
        yield Problem(ProblemKind.VIP_NOWHERE, nowhere, _why_none(one), instance=one.name)
    for node in one.nodes:
        if problem := node.problem or _doubt(node, one.name) or _clock(node, one.name):
            yield problem


def _unexplained(one: InstanceStatistics) -> Iterator[Problem]:
    """What no part has a reason for, or none yet."""
    if not one.openvpn.management_up:
        what = "OpenVPN is not connected"
        yield Problem(ProblemKind.NOT_CONNECTED, what, "see its log", instance=one.name)
    elif _refuses(one):
        what = f"refuses the VIP (grade {one.announcer.grade}): {one.announcer.grade_reason}"
        yield Problem(ProblemKind.REFUSES_VIP, what, instance=one.name)


def _unprotected(one: InstanceStatistics) -> str:
    """As master: what a failover would cost now; "" when it costs nothing, or may soon not."""
    waited, lacking = one.exporter.oldest_unprotected, one.clients - one.exporter.protected
    if one.role is not Role.MASTER or lacking <= 0 or waited < UNPROTECTED_NOTABLE:
        return ""
    return (
        f"{lacking} of {count_clients(one.clients)} would reconnect if this node died: no other"
        " node has them as they are now"
    )


def _why_none(one: InstanceStatistics) -> str:
    """A VIP manager that everybody refuses is not to blame."""
    heard = [node.grade for node in one.nodes if node.believed and node.has_instance]
    if all(grade == Grade.FAULT for grade in (one.announcer.grade, *heard)):
        return f"{'each' if heard else 'this node'} refuses it (grade -254)"
    return "does the VIP manager run?"


def _doubt(node: NodeView, instance: str) -> Problem | None:
    """Why another node could not take over."""

    def problem(kind: ProblemKind, what: str, fix: str = "") -> Problem:
        return Problem(kind, what, fix, instance, node.name)

    if not node.has_instance:
        lacks = f"has no instance {instance}"
        return problem(ProblemKind.NODE_LACKS_INSTANCE, lacks, SAME_INSTANCE)
    if not node.believed:
        if node.lost:
            lost = "not heard any more"
            return problem(ProblemKind.NODE_NOT_HEARD, lost, "it is down, or the BCN is")
        doubted = "heard, but not believed yet"
        fix = "if that lasts, it does not hear this node"
        return problem(ProblemKind.NODE_NOT_BELIEVED, doubted, fix)
    if node.grade == Grade.FAULT:
        refuses = f"refuses the VIP (grade {node.grade})"
        return problem(ProblemKind.NODE_REFUSES_VIP, refuses, "ovpnha status there says why")
    if node.paused:
        return problem(ProblemKind.NODE_PAUSED, "paused: does not take over", "ovpnha resume there")
    if not node.managed:
        cannot = "cannot take the VIP: no VIP manager reads its grade"
        return problem(ProblemKind.NODE_NO_VIP_MANAGER, cannot)
    return None


def _clock(node: NodeView, instance: str) -> Problem | None:
    offset = node.clock_offset
    if offset is None or abs(offset) < CLOCK_NOTABLE:
        return None
    what = f"its clock is {abs(offset):.1f} s {'ahead' if offset > 0 else 'behind'}"
    return Problem(ProblemKind.NODE_CLOCK, what, "keep it by NTP", instance, node.name)
