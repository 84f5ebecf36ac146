"""What the daemon answers to each command but ``status``: frozen records, for ``codec``.

Decides nothing. ``StatusAnswer`` is in ``status``: it is made of the figures of all parts, which a
command such as ``promote`` need not load.
"""

from __future__ import annotations

from dataclasses import dataclass

from ovpnha.model import Epoch, InstanceName, NodeName, Role, Uid


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


def count_clients(count: int) -> str:
    """How many, as a person says it."""
    return "1 client" if count == 1 else f"{count} clients"
