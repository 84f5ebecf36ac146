"""What the pure core of a node is told at its start."""

from __future__ import annotations

from dataclasses import dataclass, field

from ovpnha.model import FencePolicy, InstanceName, RekeyPolicy
from ovpnha.replication.config import ReplicationConfig


@dataclass(frozen=True)
class InstanceConfig:
    """One OpenVPN daemon. Times are seconds."""

    name: InstanceName
    vips: tuple[str, ...] = ()
    """The virtual IPs, for messages only: whether they are here is told by ``vip_changed``."""
    held_max: float = 60.0
    """How long a master without the VIP keeps its clients while nobody is heard to be promoted."""
    lone_after: float = 10.0
    """How long no other node must have been heard until this one counts as alone."""
    answer_within: float = 3.0
    """How long OpenVPN may say nothing, though asked, until this node gives the VIP up."""
    protect_wait: float = 0.1
    """How long a new client waits at most until another node has it; 0.0: it never waits."""
    rekey_after_promotion: RekeyPolicy = RekeyPolicy.AUTO
    """Which clients that came from another node are renegotiated."""
    rekey_rate: float = 50.0
    """How many of them a second."""
    per_client: bool = False
    """Whether OpenVPN is asked for the figures of each client."""
    cookie_key: bytes = field(default=b"", repr=False)
    """32 bytes, the same on all nodes: what OpenVPN answers a client's first packet with. Without
    it a client that had been answered by a server that died begins anew after its hand-window."""
    tolerate: frozenset[str] = frozenset()
    """What may differ from the master during a rolling replacement: digest, certificate, issuer."""

    stock: bool = False
    """Whether OpenVPN is meant to run without the patch, so that this is no problem."""
    pool: str | None = None
    """Without the patch: what stands in its pool file; None: no such file is kept."""
    tcp_port: int | None = None
    """Without the patch: the port of a TCP server, whose idle clients are told of a takeover."""
    fence: FencePolicy = FencePolicy.OFF
    """Whether a silent master is fenced, and whether a promotion waits for that."""
    fence_unknown_waits: bool = True
    """Whether a required fence keeps a node from serving that does not know who was master."""


@dataclass(frozen=True)
class NodeConfig:
    """One node."""

    replication: ReplicationConfig
    instances: tuple[InstanceConfig, ...]
