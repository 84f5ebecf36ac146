"""The sidecar of this node, what it says, and the links that it uses, looked at twice.

Decides what counts as running: who answers at the control socket. A sidecar that does not answer
is as good as none; one that this user may not ask is an ``Unread``.
"""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ovpnha.config import Config
from ovpnha.doctor.facts import KeyFacts, LinkFacts, NodeFacts, SidecarFacts, Unread
from ovpnha.errors import ConfigError, OvpnhaError
from ovpnha.model import Role
from ovpnha.node.statistics import NodeStatistics
from ovpnha.runtime.control import StatusRequest, ask
from ovpnha.runtime.firewall import read_number
from ovpnha.runtime.hostprocesses import read_process, read_user, serving_process
from ovpnha.runtime.hostservers import SidecarUser, find_sidecar_user
from ovpnha.runtime.keyfile import read_keys
from ovpnha.runtime.problems import find_problems
from ovpnha.runtime.status import StatusAnswer

COUNTERS = ("rx_packets", "tx_packets")
LOSSES = ("rx_dropped", "rx_errors", "tx_dropped", "tx_errors")
CLASS = Path("/sys/class/net")
Counts = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class StatusLook:
    """What is counted, at one moment."""

    when: float
    status: NodeStatistics | Unread | None
    """None: the sidecar does not run."""
    links: Counts


def look(config: Config | None, within: float) -> StatusLook:
    """Ask the sidecar, and read the counters of the links."""
    names = [link.interface for link in config.bcn.links] if config is not None else []
    status = _ask(config.control.socket, within) if config is not None else None
    return StatusLook(time.monotonic(), status, {name: _count(name) for name in names})


def _ask(path: Path, within: float) -> NodeStatistics | Unread | None:
    try:
        serving_process(path)
    except PermissionError:
        return Unread(f"this user may not use {path}; run as root, or in the socket's group")
    except OSError:
        return None
    try:
        return ask(path, StatusRequest(), StatusAnswer, within).status
    except OvpnhaError as error:
        return Unread(str(error))


def _count(interface: str) -> Mapping[str, int]:
    directory = CLASS / interface / "statistics"
    found = {name: read_number(directory / name) for name in (*COUNTERS, *LOSSES)}
    return {name: value for name, value in found.items() if value is not None}


def find_user(config: Config | None) -> SidecarUser:
    """Whom the sidecar runs as, or would."""
    try:
        pid = serving_process(config.control.socket) if config is not None else 0
    except OSError:
        pid = 0
    return find_sidecar_user(pid, read_user(pid) if pid else None)


def make_sidecar(
    before: StatusLook, after: StatusLook, user: SidecarUser
) -> SidecarFacts | Unread | None:
    """What the sidecar says, and what it has refused between two looks."""
    status = after.status
    if status is None or isinstance(status, Unread):
        return status
    earlier = before.status if isinstance(before.status, NodeStatistics) else status
    process = read_process(user.pid) if user.pid else None
    return SidecarFacts(
        version=status.ovpnha,
        problems=find_problems(status),
        openvpn={one.name: one.discovery.openvpn for one in status.instances},
        nodes=_nodes(status),
        refused={
            reason: count - earlier.refused.get(reason, 0)
            for reason, count in status.refused.items()
        },
        master=any(one.role is Role.MASTER for one in status.instances),
        capabilities=process.capabilities if process is not None else Unread("it has just ended"),
    )


def _nodes(status: NodeStatistics) -> tuple[NodeFacts, ...]:
    releases = {node.name: node.release for node in status.heard}
    found = {
        node.name: NodeFacts(node.name, node.openvpn, node.believed, releases.get(node.name, ""))
        for one in status.instances
        for node in one.nodes
    }
    return tuple(found.values())


def make_links(before: StatusLook, after: StatusLook) -> tuple[LinkFacts, ...]:
    """Each link that is there, with what went through it between two looks."""
    found = []
    for name, counts in after.links.items():
        mtu = read_number(CLASS / name / "mtu")
        if mtu is None or not counts:
            continue
        since = {key: value - before.links[name].get(key, 0) for key, value in counts.items()}
        found.append(
            LinkFacts(
                name=name,
                mtu=mtu,
                received=since["rx_packets"],
                sent=since["tx_packets"],
                errors=sum(since.get(key, 0) for key in LOSSES),
                seconds=after.when - before.when,
            )
        )
    return tuple(found)


def read_key(path: Path, user: SidecarUser) -> KeyFacts | Unread:
    """The cluster key file: its content, its mode, and whether it is the sidecar's."""
    try:
        owner = path.stat().st_uid
    except FileNotFoundError:
        return KeyFacts(str(path), _key_problem(path))
    except OSError as error:
        return Unread(f"{path}: {error.strerror}; run as root")
    if os.geteuid() not in {0, owner}:
        return Unread(f"{path}: only its owner and root may read it; run as root")
    return KeyFacts(
        path=str(path),
        problem=_key_problem(path),
        owner=_user_name(owner),
        for_sidecar=user.number in {None, 0, owner},
    )


def _key_problem(path: Path) -> str:
    try:
        read_keys(path)
    except ConfigError as error:
        return str(error)
    return ""


def _user_name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"
