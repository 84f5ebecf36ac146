"""What the replication of one node is told: names, keys, links and every time it keeps.

All times are seconds. Each field says what follows from making it larger or smaller.
docs/wire.md rules their meaning.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ovpnha.errors import ConfigError
from ovpnha.model import NodeName
from ovpnha.replication.pacing import LEAST_SHARE

CLUSTER_KEY_SIZE = 32
RECORD_BYTES = 700  # of one client on its way, at most but for rare ones
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
    proof_timeout: float = 2.4
    """Age of a challenge of ours at which an echo of it proves nothing any more, and at which a
    boot is believed no longer that has echoed no newer one: for so long at most hellos that were
    held back keep a dead node alive. Longer than ``node_timeout``, because what is echoed is up to
    two hello intervals old when the next hello is due."""
    proof_due: float = 1.2
    """Age of the newest echo from which on hellos are said more often. Without loss none gets so
    old: two hello intervals, and 0.2 s for the way there and back."""
    proof_retry: float = 0.1
    """Between those hellos."""
    sync_timeout: float = 2.0
    """How long a standby may lack what its master said in a hello that it has, besides the time
    that its whole table needs at the pace. Larger: who drops datagrams hides it for longer.
    Smaller: loss makes a standby that is being repaired count as not in sync."""
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
    mark_interval: float = 0.5
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
    release: str = ""
    """Version of ovpnha, for the other nodes."""

    def sync_bound(self, clients: int) -> float:
        """Seconds within which a copy must reach what a hello said.

        ``clients`` are all that share the pace: those of every instance that follows the node.
        """
        size = clients * RECORD_BYTES
        return self.timings.sync_timeout + size / (self.bytes_per_second * LEAST_SHARE)

    def counters_kept(self, clients: int) -> float:
        """Seconds for which a source keeps counters for those that have not got them.

        Longer than any of them can lack counters and still count as in sync: what is kept no longer
        is said to be void, and so no longer missed.
        """
        return self.sync_bound(clients) + 2 * self.timings.proof_timeout

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
