"""What the daemon answers to each command but ``status``: frozen records, for ``codec``.

Decides nothing. ``StatusAnswer`` is in ``status``: it is made of the figures of all parts, which a
command such as ``promote`` need not load.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from ovpnha.model import Epoch, InstanceName, NodeName, Role, Uid, Verdict
from ovpnha.replication.history import HistoryEntry


@dataclass(frozen=True)
class PromoteAnswer:
    """OpenVPN is promoted."""

    instance: InstanceName
    role: Role
    epoch: Epoch


@dataclass(frozen=True)
class DemoteAnswer:
    """The role is given up."""

    instance: InstanceName
    role: Role
    epoch: Epoch
    note: str = ""  # what should not be hidden: who is master now, or that nobody is


@dataclass(frozen=True)
class GuardAnswer:
    """Whether this node may be given the VIP, or should give it away."""

    instance: InstanceName
    code: int  # what ``ovpnha guard`` ends with
    text: str  # why


@dataclass(frozen=True)
class LeftInstance:
    """What became of one instance before its OpenVPN is stopped."""

    instance: InstanceName
    role: Role
    good: bool  # no client will notice the stop
    note: str  # who is master now, or what is wrong


@dataclass(frozen=True)
class HandOverAnswer:
    """What became of each instance that it concerned."""

    left: tuple[LeftInstance, ...]


@dataclass(frozen=True)
class RenegotiateAnswer:
    """OpenVPN is being asked for new keys."""

    instance: InstanceName
    clients: int  # how many of them


@dataclass(frozen=True)
class ListedClient:
    """One client that is connected, or that a standby has a copy of."""

    uid: Uid | None  # None: this OpenVPN has not the patch
    name: str  # of its certificate
    user: str  # "" when it gave none
    address: str  # with its port
    virtual: tuple[str, ...]  # its addresses in the tunnel
    since: int | None  # seconds since 1970; None when OpenVPN does not tell
    received: int  # bytes
    sent: int
    unprotected: float | None  # seconds; None: protected, or a copy on a standby
    moved: bool  # it came from another node
    origin: NodeName | None  # that node, when it is known


@dataclass(frozen=True)
class ClientsAnswer:
    """Who is connected."""

    instance: InstanceName
    role: Role
    clients: tuple[ListedClient, ...]


@dataclass(frozen=True)
class HistoryAnswer:
    """Changes of roles that a node knows of, the oldest first."""

    node: NodeName
    entries: tuple[HistoryEntry, ...]
    more: int = 0  # older ones that were not asked for
    file: str = ""  # where they are kept
    problem: str = ""  # why they are not


@dataclass(frozen=True)
class SwitchoverAnswer:
    """What a switchover would do, or how far it is."""

    instance: InstanceName
    master: NodeName  # who gives the role away; "" when none is known
    target: NodeName  # who shall have it; "" when there is nobody
    id: bytes = b""  # of the request; nothing when nothing was begun
    phase: str = ""  # "" when nothing was begun
    reason: str = ""  # why it has failed, as a word for programs
    text: str = ""  # the same for people, with what to do
    times: Mapping[str, float] = field(default_factory=dict)
    """Seconds from its begin to the end of each phase that is over, by name."""
    steps: tuple[str, ...] = ()  # what would be done, in order
    obstacles: tuple[str, ...] = ()  # what stands against it, a line for each


@dataclass(frozen=True)
class SwitchoverWaitAnswer(SwitchoverAnswer):
    """The same, later."""


@dataclass(frozen=True)
class PauseAnswer:
    """These instances do not act."""

    instances: tuple[InstanceName, ...]
    seconds: float


@dataclass(frozen=True)
class ResyncAnswer:
    """The copy was fetched anew."""

    instance: InstanceName
    clients: int
    master: NodeName  # whose they are


@dataclass(frozen=True)
class ResumeAnswer:
    """These instances act; those that were paused are named apart."""

    instances: tuple[InstanceName, ...]
    paused: tuple[InstanceName, ...] = ()


@dataclass(frozen=True)
class ListedCheck:
    """One check of the service, of one node."""

    node: NodeName
    instance: InstanceName
    name: str
    verdict: Verdict
    critical: bool
    resting: bool  # it runs on a master only, and that node is none
    stuck: bool  # failed until it is reset there
    age: float | None  # seconds since its last result, by that node's clock; None: it had none
    text: str


@dataclass(frozen=True)
class ChecksAnswer:
    """The checks of every node that is heard; the others tell of their first few."""

    checks: tuple[ListedCheck, ...]


@dataclass(frozen=True)
class ResetAnswer:
    """What had failed and was reset."""

    checks: tuple[str, ...]


def tell_time(when: float, *, exact: bool = False) -> str:
    """A moment, seconds since 1970, as the clock on the wall here shows it."""
    told = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))
    return f"{told}.{int(when * 1000) % 1000:03}" if exact else told


def count_clients(count: int) -> str:
    """How many, as a person says it."""
    return "1 client" if count == 1 else f"{count} clients"
