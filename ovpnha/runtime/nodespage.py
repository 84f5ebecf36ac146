"""All nodes of the cluster as one of them sees them: a row for each, and every word of it.

Decides what stands together: what is known of a node on the BCN, and of each of its instances.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ovpnha.model import SOURCES, Epoch, InstanceName, NodeName, Role, Sync
from ovpnha.node.cluster.view import NodeView
from ovpnha.node.statistics import HeardLink, HeardNode, InstanceStatistics, NodeStatistics
from ovpnha.problems import Problem
from ovpnha.replication.history import cut
from ovpnha.runtime.problems import find_problems
from ovpnha.runtime.rows import ROLES, Cell, Grid, Level


@dataclass(frozen=True)
class InstanceOnNode:
    """One instance on one node."""

    instance: InstanceName
    role: Role
    grade: int
    vip: bool
    sync: Sync
    clients: int
    epoch: Epoch
    openvpn: str
    seamless: bool = True  # False: it runs without cluster, so its clients reconnect


@dataclass(frozen=True)
class ListedNode:
    """One node."""

    name: NodeName
    here: bool  # the one that was asked
    believed: bool
    age: float  # seconds since it was heard; 0.0 here
    release: str
    keys: tuple[str, ...]
    instances: tuple[InstanceOnNode, ...]
    boot: str = ""
    round_trip: float | None = None  # seconds
    clock_offset: float | None = None  # seconds
    links: tuple[HeardLink, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class NodesAnswer:
    """All nodes, this one first."""

    nodes: tuple[ListedNode, ...]


def list_nodes(status: NodeStatistics) -> NodesAnswer:
    """Every node that is known, with what is wrong with it."""
    problems = find_problems(status)
    here = ListedNode(
        name=status.node,
        here=True,
        believed=True,
        age=0.0,
        release=status.ovpnha,
        keys=status.keys,
        instances=tuple(map(_own, status.instances)),
        boot=status.boot,
        problems=tuple(one for one in problems if not one.node),
    )
    heard = {one.name: one for one in status.heard}
    names = sorted(heard.keys() | {node.name for one in status.instances for node in one.nodes})
    return NodesAnswer((here, *(_other(name, heard.get(name), status, problems) for name in names)))


def _own(one: InstanceStatistics) -> InstanceOnNode:
    return InstanceOnNode(
        *(one.name, one.role, one.announcer.grade, one.vip, one.sync, one.clients, one.epoch),
        *(one.discovery.openvpn, not one.discovery.stock),
    )


def _other(
    name: NodeName,
    heard: HeardNode | None,
    status: NodeStatistics,
    problems: tuple[Problem, ...],
) -> ListedNode:
    views = [
        (one.name, node) for one in status.instances for node in one.nodes if node.name == name
    ]
    ages = [node.age for _, node in views]
    return ListedNode(
        name=name,
        here=False,
        believed=heard.believed if heard is not None else any(node.believed for _, node in views),
        age=heard.age if heard is not None else min(ages, default=0.0),
        release=heard.release if heard is not None else "",
        keys=heard.keys if heard is not None else (),
        instances=tuple(_seen(instance, node) for instance, node in views if node.has_instance),
        boot=heard.boot if heard is not None else "",
        round_trip=heard.round_trip if heard is not None else None,
        clock_offset=heard.clock_offset if heard is not None else None,
        links=heard.links if heard is not None else (),
        problems=tuple(one for one in problems if one.node == name),
    )


def _seen(instance: InstanceName, node: NodeView) -> InstanceOnNode:
    return InstanceOnNode(
        *(instance, node.role, node.grade, node.vip, node.sync, node.clients, node.epoch),
        *(node.openvpn, node.seamless),
    )


def describe_nodes(answer: NodesAnswer) -> tuple[Grid, Grid, tuple[str, ...]]:
    """Their instances, how they are heard, and what is wrong."""
    several = len({one.instance for node in answer.nodes for one in node.instances}) > 1
    columns = ("node", "role", "VIP", "copy", "grade", "clients", "epoch", "OpenVPN")
    instances = Grid(
        "Nodes",
        (*columns, *(["instance"] if several else [])),
        tuple(row for node in answer.nodes for row in _instance_rows(node, several=several)),
    )
    heard = Grid(
        "How they are heard",
        ("node", "heard", "ovpnha", "cluster keys", "link", "there and back", "lost", "clock"),
        tuple(row for node in answer.nodes for row in _heard_rows(node)),
    )
    problems = tuple(
        f"{one.instance + ', ' if one.instance else ''}node {cut(node.name)}: {one}"
        for node in answer.nodes
        for one in node.problems
    )
    return instances, heard, problems


def _instance_rows(node: ListedNode, *, several: bool) -> Iterator[tuple[Cell, ...]]:
    if not node.instances:
        yield (Cell(cut(node.name)), *(Cell("-") for _ in range(7 + several)))
    for one in node.instances:
        role = one.role.value if node.believed else f"was {one.role.value}"
        level = ROLES[one.role][1] if node.believed else Level.PLAIN
        copy = "-" if one.role in SOURCES else one.sync.value.replace("_", " ")
        vip = ("here" if node.here else "has it") if one.vip else ""
        server = ", ".join(filter(None, (cut(one.openvpn), "" if one.seamless else "seamless: no")))
        texts = (copy, str(one.grade), str(one.clients), f"{one.epoch.counter}", server)
        where = [Cell(cut(one.instance))] if several else []
        yield (Cell(cut(node.name)), Cell(role, level), Cell(vip), *map(Cell, texts), *where)


def _heard_rows(node: ListedNode) -> Iterator[tuple[Cell, ...]]:
    offset = "-" if node.clock_offset is None else f"{node.clock_offset * 1000:+.0f} ms"
    trip = "-" if node.round_trip is None else f"{node.round_trip * 1000:.2f} ms"
    heard = "this node" if node.here else f"{node.age:.1f} s ago"
    level = Level.PLAIN if node.believed else Level.BAD
    first = (Cell(heard, level), Cell(cut(node.release) or "-"), Cell(" ".join(node.keys) or "-"))
    for link in node.links or (HeardLink("-", 0.0),):
        loss = "-" if link.loss is None else f"{link.loss:.0%}"
        cells = (Cell(link.name), Cell(trip), Cell(loss, _loss_level(link)), Cell(offset))
        yield (Cell(cut(node.name)), *first, *cells)
        first = (Cell(""), Cell(""), Cell(""))


def _loss_level(link: HeardLink) -> Level:
    return Level.FAIR if link.loss else Level.PLAIN
