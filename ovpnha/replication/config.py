"""What the replication of one node is told: names, keys, links and every time it keeps.

All times are seconds. Each field says what follows from making it larger or smaller.
docs/wire.md rules their meaning.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ovpnha.errors import ConfigError
from ovpnha.model import NodeName

CLUSTER_KEY_SIZE = 32
NAME_LIMIT = 64  # bytes of UTF-8 of a cluster, node, instance or link name


@dataclass(frozen=True)
class Timings:
    """The clocks of the protocol."""

    hello_interval: float = 0.5
    """Between hellos without news. Larger: one-way links and lost nodes are seen later."""
    hello_gap: float = 0.02
    """Least time between hellos that say news; changes meanwhile share one."""
    answer_jitter: float = 0.004
    """An answering hello waits up to this long, so that many nodes do not answer at once."""
    node_timeout: float = 2.0
    """A node not heard for this long is down: four hellos lost in a row."""
    challenge_life: float = 10.0
    """Age at which our challenge is drawn anew; a recorded hello is of no use after it."""
    challenge_grace: float = 2.0
    """How long the challenge before the newest still proves: more than a lost hello or two."""
    nack_delay: float = 0.01
    """How long a gap may be mere reordering before it is reported."""
    nack_interval: float = 0.1
    """Between reports of the same gap."""
    ack_gap: float = 0.005
    """Least time between acknowledgements; those meanwhile share a datagram."""
    ack_interval: float = 0.5
    """Between acknowledgements without news, which tell a source that it is followed."""
    resync_interval: float = 0.25
    """Between requests for everything that no source has answered."""
    ask_interval: float = 0.25
    """Between questions after acknowledgements that did not come."""
    beacon_interval: float = 0.5
    """Between snapshot_end messages without news: the longest a lost last change stays unseen."""
    digest_interval: float = 10.0
    """Between digests of the whole table, by which a difference of any cause is found."""
    resend_gap: float = 0.03
    """An entry sent less than this ago is not repeated: longer than the way there and back."""


@dataclass(frozen=True)
class ReplicationConfig:
    """One node's side of the back channel."""

    cluster: str
    node: NodeName
    keys: tuple[bytes, ...] = field(repr=False)
    """Cluster keys of 32 bytes: the first seals, every one opens."""
    links: tuple[str, ...] = ("bcn",)
    timings: Timings = field(default_factory=Timings)
    bytes_per_second: int = 5_000_000
    """Pace of snapshots and repairs: 40 Mbit/s leaves a 100 Mbit/s link room for live changes."""

    def __post_init__(self) -> None:
        _check_name("cluster", self.cluster)
        _check_name("node", self.node)
        if not self.keys or any(len(key) != CLUSTER_KEY_SIZE for key in self.keys):
            raise ConfigError("keys: one or more cluster keys of 32 bytes are needed")
        if len(set(self.keys)) != len(self.keys):
            raise ConfigError("keys: a cluster key is listed twice; remove one of the two lines")
        if not self.links:
            raise ConfigError("links: at least one BCN link is needed")


def _check_name(what: str, name: str) -> None:
    if not 0 < len(name.encode()) <= NAME_LIMIT:
        raise ConfigError(f"{what}: the name must have 1 to {NAME_LIMIT} bytes")
