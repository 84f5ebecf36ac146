"""What ``status`` and ``clients`` say to the eye: every word of it, and no layout.

Decides only words, and whether each is good news. They are for somebody who sees this page for the
first time; docs/operations.md explains each row. A terminal (``ovpnha/cli/show.py``) and a web page
show the same, so nothing here knows of either. Names and addresses come from certificates and from
the network; what a terminal would obey in them was written out before.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ovpnha.model import SOURCES, Grade, Role, Sync
from ovpnha.node.cluster.view import NodeView
from ovpnha.node.statistics import InstanceStatistics, NodeStatistics
from ovpnha.problems import Problem
from ovpnha.runtime import sparerows, stockrows
from ovpnha.runtime.answers import ClientsAnswer, ListedClient, count_clients, tell_time
from ovpnha.runtime.problems import find_problems, with_vip

UNITS = ("B", "kB", "MB", "GB", "TB")


class Level(enum.Enum):
    """What kind of news a text is."""

    PLAIN = "plain"
    GOOD = "good"
    FAIR = "fair"
    BAD = "bad"


@dataclass(frozen=True)
class Cell:
    """One text, and how to take it."""

    text: str
    level: Level = Level.PLAIN


@dataclass(frozen=True)
class Grid:
    """A table; each row has as many cells as there are columns."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numbers: frozenset[str] = frozenset()  # columns to be aligned at their right


@dataclass(frozen=True)
class StatusPage:
    """All that ``status`` shows, from top to bottom."""

    heading: str
    instances: Grid  # a row for each property, a column for each instance
    nodes: Grid | Cell  # the other nodes, or that none is heard
    links: Grid
    verdict: Cell
    problems: tuple[str, ...]  # a line for each, with what to do


@dataclass(frozen=True)
class ClientsPage:
    """All that ``clients`` shows."""

    heading: str
    clients: Grid | None  # None: nobody is connected


ROLES = {
    Role.MASTER: ("serves the clients", Level.GOOD),
    Role.STANDBY: ("silent, ready to take over", Level.GOOD),
    Role.HELD: ("silent since the VIP left, keeps its clients", Level.FAIR),
    Role.INIT: ("has not heard from OpenVPN yet", Level.FAIR),
    Role.FAULT: ("cannot do its part, see below", Level.BAD),
}
LISTING = {
    Role.MASTER: "master, serves them",
    Role.HELD: "held: silent since the VIP left",
    Role.STANDBY: "standby, has a copy of each",
}


def describe_status(status: NodeStatistics) -> StatusPage:
    """The whole page about a node."""
    problems = tuple(map(_line, find_problems(status)))
    return StatusPage(
        heading=f"node {status.node}, sidecar up {_duration(status.uptime)}{_keys(status)}",
        instances=_instances(status.instances),
        nodes=_nodes(status.instances),
        links=_links(status),
        verdict=Cell("Problems:", Level.BAD) if problems else Cell("No problems.", Level.GOOD),
        problems=problems,
    )


def _keys(status: NodeStatistics) -> str:
    """The numbers of the cluster keys, to be compared with those of other nodes."""
    return f", cluster keys {' '.join(status.keys)}" if status.keys else ""


def _cell(text: Cell | str) -> Cell:
    return text if isinstance(text, Cell) else Cell(text)


# Instances of this node.


def _instances(instances: Sequence[InstanceStatistics]) -> Grid:
    """One column for each instance."""
    rows: tuple[tuple[str, Callable[[InstanceStatistics], Cell | str]], ...] = (
        ("role", _role),
        ("VIP", _vip),
        ("OpenVPN", _openvpn),
        *((("processes", _processes),) if any(one.spare for one in instances) else ()),
        ("clients", _clients),
        ("copy", _copy),
        ("grade", _grade),
        ("epoch", _epoch),
        ("promotions", _promotion),
        ("switchover", _switchover),
        ("new keys", _rekey),
    )
    return Grid(
        "Instances of this node",
        ("", *(one.name for one in instances)),
        tuple((Cell(title), *(_cell(read(one)) for one in instances)) for title, read in rows),
    )


def _role(one: InstanceStatistics) -> Cell:
    meaning, level = ROLES[one.role]
    if one.pause.paused_for:
        meaning, level = f"paused for {_duration(one.pause.paused_for)}, {meaning}", Level.FAIR
    if one.role is Role.INIT and one.discovery.openvpn:
        meaning = "OpenVPN without cluster serves by itself"
    if one.discovery.stock:
        meaning = stockrows.ROLES.get(one.role, meaning)
    if one.role is Role.STANDBY and one.announcer.grade == Grade.FAULT:
        meaning, level = "silent, and must not take over", Level.BAD
    return Cell(f"{one.role.value}: {meaning}", level)


def _vip(one: InstanceStatistics) -> Cell | str:
    if one.vip:
        return "here"
    others = ", ".join(with_vip(one))
    if not others:
        return Cell("no node that is heard has it", Level.BAD)
    return f"not here, {others} has it"


def _openvpn(one: InstanceStatistics) -> Cell:
    version = one.discovery.openvpn
    if not one.openvpn.management_up:
        return Cell("not connected", Level.BAD)
    if not version:
        return Cell("connected, has not answered yet", Level.FAIR)
    if not one.discovery.seamless:
        level = Level.FAIR if one.discovery.meant_stock else Level.BAD
        return Cell(f"{version}, seamless: no, clients reconnect at a takeover", level)
    return Cell(f"{version}, takeovers are seamless", Level.GOOD)


def _processes(one: InstanceStatistics) -> Cell | str:
    """Of a server that has a second one, or may have."""
    if one.spare is None:
        return "-"
    text, ready = sparerows.describe_processes(one.spare)
    return Cell(text, Level.GOOD if ready else Level.FAIR)


def _clients(one: InstanceStatistics) -> Cell | str:
    """As master: how many clients would survive now. As standby: how many we have."""
    if one.role is Role.INIT:
        return str(one.clients)
    if one.discovery.stock:
        return stockrows.describe_clients(one)
    if one.role not in SOURCES:
        copy = one.importer
        if copy.stale:
            some = f"{copy.records} copied here, {copy.stale} missing or outdated"
            return Cell(some, Level.FAIR)
        return f"{copy.records} copied here"
    count, safe = one.clients, one.exporter.protected
    if safe >= count and one.apart.apart:
        others = f"{one.apart.apart} at an address that does not move"
        return Cell(f"{count} protected, and {others}", Level.FAIR)
    if safe >= count:
        return Cell(f"{count}, all protected" if count else "none", Level.GOOD)
    since = _duration(one.exporter.oldest_unprotected)
    some = f"only {safe}" if safe else "none"
    return Cell(f"{count}, {some} protected (one has waited for {since})", Level.BAD)


def _copy(one: InstanceStatistics) -> Cell | str:
    """A copy stays whole when its master falls silent, but nobody knows what has changed since."""
    if one.role in SOURCES:
        return "- (this node has the originals)"
    if one.discovery.stock:
        text, known = stockrows.describe_leases(one)
        return Cell(text, Level.PLAIN if known else Level.FAIR)
    master = one.importer.following
    if one.sync is Sync.NONE:
        unheard = one.role is Role.STANDBY
        return Cell("none: no master is heard" if unheard else "none", Level.FAIR)
    if one.sync is Sync.SYNCING:
        return Cell(f"being made of {master or 'a master that is not heard'}", Level.FAIR)
    if one.sync is Sync.PARTIAL:
        some = f"{one.importer.refused} clients that OpenVPN refuses"
        return Cell(f"in sync, but for {some} (see below)", Level.BAD)
    if master:
        return Cell(f"in sync with {master}", Level.GOOD)
    return Cell("was in sync; the master is not heard any more", Level.FAIR)


def _grade(one: InstanceStatistics) -> Cell | str:
    """What the VIP manager reads. The long reason of a fault has a line of its own."""
    grade = one.announcer.grade
    if grade == Grade.FAULT:
        refuses = f"{grade}, refuses the VIP (see below)"
        return Cell(refuses if one.problems else str(grade), Level.BAD)
    return f"{grade}, {one.announcer.grade_reason}"


def _epoch(one: InstanceStatistics) -> str:
    if not one.epoch.node:
        return "none: no node has ever been promoted"
    return f"{one.epoch.counter} (begun by {one.epoch.node})"


def _promotion(one: InstanceStatistics) -> str:
    """Since the sidecar started."""
    if not one.promotion.promotions:
        return "none of this node"
    phases = one.promotion.last_promotion_phases
    took = f", the last took {max(phases.values()) * 1000:.1f} ms" if phases else ""
    return f"{one.promotion.promotions} of this node{took}"


def _switchover(one: InstanceStatistics) -> Cell | str:
    """As far as this node knows."""
    last = one.switchover
    if last is None:
        return "-"
    level = {"done": Level.GOOD, "failed": Level.BAD}.get(last.phase, Level.FAIR)
    why = f" ({last.reason.replace('_', ' ')})" if last.reason else ""
    return Cell(f"to {last.target or 'a node that is not heard'}: {last.phase}{why}", level)


def _rekey(one: InstanceStatistics) -> str:
    """After a promotion: of the clients that came from another node."""
    rekey = one.rekey
    if not (rekey.pending or rekey.done or rekey.left):
        return "-"
    left = f", {rekey.left} keep theirs by policy" if rekey.left else ""
    return f"{rekey.done} of {rekey.done + rekey.pending} clients that moved here{left}"


# Other nodes.


def _nodes(instances: Sequence[InstanceStatistics]) -> Grid | Cell:
    """The instance is told where there are several; the problems have lines of their own."""
    if not any(one.nodes for one in instances):
        return Cell("Other nodes: none is heard", Level.FAIR)
    several = len(instances) > 1
    columns = ("node", "role", "VIP", "copy", "grade", "clients", "heard")
    rows = []
    for one in instances:
        for node in one.nodes:
            cells = _cells(node) if node.has_instance else ("-", "", "-", "-", "-")
            where = [one.name] if several else []
            heard = f"{_duration(node.age)} ago"
            rows.append(tuple(map(_cell, (node.name, *cells, heard, *where))))
    return Grid("Other nodes", (*columns, *(["instance"] if several else [])), tuple(rows))


def _cells(node: NodeView) -> tuple[Cell | str, ...]:
    if node.lost:
        return f"was {node.role.value}", "had it" if node.vip else "", "-", "-", "-"
    if not node.believed:
        return "-", "", "-", "-", "-"  # what it says is not heard yet
    level = ROLES[node.role][1]
    copy = "-" if node.role in SOURCES else node.sync.value.replace("_", " ")
    vip = "has it" if node.vip else ""
    role = f"{node.role.value}, paused" if node.paused else node.role.value
    return (
        Cell(role, Level.FAIR if node.paused else level),
        vip,
        copy,
        str(node.grade),
        str(node.clients),
    )


# Links.


def _links(status: NodeStatistics) -> Grid:
    received, sent = sum(status.received.values()), sum(status.sent.values())
    refused = ", ".join(f"{reason} {count}" for reason, count in status.refused.items())
    rows: list[tuple[Cell | str, ...]] = [
        (name, Cell("up", Level.GOOD) if up else Cell("down", Level.BAD), "", "", "")
        for name, up in status.links.items()
    ]
    total = ("all", "", str(received), str(sent), refused or "none")
    return Grid(
        "Back channel network (BCN), in datagrams",
        ("link", "state", "received", "sent", "refused, by reason"),
        tuple(tuple(map(_cell, row)) for row in (*rows, total)),
    )


# Problems.


def _line(problem: Problem) -> str:
    """A line for each: they are too long for a column."""
    node = f", node {problem.node}" if problem.node else ""
    return f"{problem.instance}{node}: {problem}" if problem.instance else str(problem)


# Clients.


def describe_clients(answer: ClientsAnswer) -> ClientsPage:
    """Who is connected, since when, and whether another node has it."""
    stock = any(one.uid is None for one in answer.clients)
    role = (stockrows.LISTING if stock else LISTING).get(answer.role, answer.role.value)
    count = len(answer.clients)
    return ClientsPage(
        f"{answer.instance}: {count_clients(count)}; this node is {role}",
        _list(answer) if count else None,
    )


def _list(answer: ClientsAnswer) -> Grid:
    columns = ("name", "address", "in the tunnel", "connected since", "received", "sent")
    ordered = sorted(answer.clients, key=lambda one: one.name)
    return Grid(
        "",
        (*columns, "another node has it", "came from", "uid"),
        tuple(_row(one, answer.role) for one in ordered),
        frozenset({"received", "sent"}),
    )


def _row(one: ListedClient, role: Role) -> tuple[Cell, ...]:
    texts = (
        one.name + (f" ({one.user})" if one.user else ""),
        one.address,
        " ".join(one.virtual),
        "-" if one.since is None else tell_time(one.since),
        _size(one.received),
        _size(one.sent),
        _protection(one, role),
        _origin(one),
        one.uid.hex() if one.uid is not None else "-",
    )
    return tuple(map(Cell, texts))


def _protection(one: ListedClient, role: Role) -> str:
    if one.uid is None:
        return "no: OpenVPN without the patch"
    if role is Role.STANDBY:
        return "this is the copy"
    wait = one.unprotected
    return "yes" if wait is None else f"no, for {wait:.1f} s"


def _origin(one: ListedClient) -> str:
    if not one.moved:
        return "connected here"
    return f"node {one.origin}" if one.origin else "another node"


def _size(count: float) -> str:
    for unit in UNITS[:-1]:
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} {UNITS[-1]}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"
