"""What the pure core of a node asks its shell to do, and who its clients are.

The shell carries these out in order and decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ovpnha.machines import Process
from ovpnha.model import (
    Epoch,
    InstanceName,
    NodeName,
    OpenvpnStatus,
    Role,
    ServerClient,
    Uid,
)
from ovpnha.node.memory import Remembered
from ovpnha.replication.history import HistoryEntry


@dataclass(frozen=True)
class WriteManagement:
    """Bytes for the management socket of one instance. They may hold keys."""

    instance: InstanceName
    data: bytes = field(repr=False)
    process: Process = Process.MAIN


@dataclass(frozen=True)
class CloseManagement:
    """This connection is of no more use: close it and connect again."""

    instance: InstanceName
    reason: str
    process: Process = Process.MAIN


@dataclass(frozen=True)
class PassDescriptors:
    """Link socket and tun, which came with the last answer of one process, go to the other.

    ``data`` is to be written to the other's management socket, and they go with its first byte.
    The shell keeps no copy of them, whatever happens. What cannot be passed on ends the connection
    to the other: it says again that it waits.
    """

    instance: InstanceName
    source: Process
    target: Process
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class EndProcess:
    """This process must end before the other one may serve; ``Pair.process_ended`` hears of it.

    Its management connection has ended, or it says nothing. It may serve all the while.
    """

    instance: InstanceName
    process: Process
    reason: str


@dataclass(frozen=True)
class OpenvpnFound:
    """OpenVPN has said what it is: its ``local`` address, its BCN options, its version."""

    instance: InstanceName
    status: OpenvpnStatus
    process: Process = Process.MAIN


@dataclass(frozen=True)
class SendDatagram:
    """One sealed datagram, to be sent once on every BCN link (or only on ``link``)."""

    data: bytes = field(repr=False)
    link: str | None = None


@dataclass(frozen=True)
class SetGrade:
    """The number for the VIP manager's track file, and why it is that number."""

    instance: InstanceName
    grade: int
    reason: str


@dataclass(frozen=True)
class RoleChanged:
    """The role of an instance has changed. For logs, hooks, metrics and the service manager."""

    instance: InstanceName
    old: Role
    new: Role
    epoch: Epoch
    reason: str


@dataclass(frozen=True)
class RunFence:
    """Cut this node off, a master that has fallen silent; ``Node.fence_done`` hears how it went."""

    instance: InstanceName
    node: NodeName
    epoch: Epoch  # that it was last heard of as master
    required: bool  # a promotion waits for it


@dataclass(frozen=True)
class Remember:
    """What the next sidecar is to know of this OpenVPN process: to be kept while this host runs."""

    instance: InstanceName
    what: Remembered
    process: Process = Process.MAIN


@dataclass(frozen=True)
class KeepPool:
    """What is to stand in the file from which an OpenVPN without the patch reads addresses."""

    instance: InstanceName
    text: str
    to_be_read: bool  # behind all that OpenVPN has read of it: it is told to start anew now


@dataclass(frozen=True)
class ProbeClients:
    """Clients over TCP, of a server that is gone, are to learn of it."""

    instance: InstanceName
    vip: str  # IPv4; that they are connected to
    port: int
    clients: tuple[str, ...]  # as the server told: address and port


@dataclass(frozen=True)
class HistoryChanged:
    """A role changed, here or on another node, or more is known of it: to be kept."""

    entry: HistoryEntry


@dataclass(frozen=True)
class LogEvent:
    """A constant short phrase with keys; never key material, never bytes of the network."""

    level: str  # "debug", "info", "warning", "error"
    event: str
    fields: Mapping[str, object] = field(default_factory=dict)


Output = (
    WriteManagement
    | CloseManagement
    | PassDescriptors
    | EndProcess
    | OpenvpnFound
    | SendDatagram
    | SetGrade
    | RoleChanged
    | RunFence
    | Remember
    | KeepPool
    | ProbeClients
    | HistoryChanged
    | LogEvent
)


@dataclass(frozen=True)
class ClientView:
    """One client of a master or held instance, for ``ovpnha clients``."""

    uid: Uid
    unprotected: float | None  # seconds for which no other node has it as it is; None when one has


@dataclass(frozen=True)
class ConnectedClient:
    """One client as OpenVPN tells of it, for ``ovpnha clients``."""

    uid: Uid | None  # None: this OpenVPN has not the patch
    client: ServerClient
    unprotected: float | None  # seconds; None: protected, or a copy on a standby
    moved: bool  # it came from another node
    origin: NodeName | None  # that node, when it is known


@dataclass(frozen=True)
class Roster:
    """All of them, and how many times OpenVPN has told."""

    answers: int
    clients: tuple[ConnectedClient, ...]
