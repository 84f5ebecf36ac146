"""What the other nodes say of one instance, and what follows from it for this node.

Decides whom a standby follows, which holders are granted packet ids, and which epoch is the
highest. Believes only nodes whose boot has proved fresh. Rules: docs/architecture.md, Roles.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from ovpnha.model import (
    NO_EPOCH,
    Epoch,
    HolderId,
    InstanceState,
    NodeName,
    OpenvpnStatus,
    Role,
    Sync,
)

NO_HOLDER = HolderId(bytes(16))

LACKS_AFTER = 5.0
"""Seconds after which a node that tells nothing of an instance has none: until its sidecar knows
what its OpenVPN is, which takes 3 s at most, it says nothing either."""


@dataclass
class Other:
    """Another node's side of this instance."""

    heard: float
    state: InstanceState | None = None
    believed: bool = True
    lost: float = 0.0
    problem: str = ""
    problem_until: float = math.inf
    met: bool = True  # it was believed once; of others only the trouble is known
    mute_since: float = 0.0  # since when it tells nothing of this instance

    def trouble(self, now: float) -> str:
        """What is wrong with it now."""
        return self.problem if now < self.problem_until else ""

    def lacks(self, now: float) -> bool:
        """Whether it has no such instance, as far as can be known."""
        return self.believed and self.state is None and now - self.mute_since >= LACKS_AFTER


class ClusterView:
    """Every other node, as far as this instance is concerned."""

    def __init__(self, now: float) -> None:
        self._nodes: dict[NodeName, Other] = {}
        self._lone_since = now
        self.highest = NO_EPOCH

    def note_epoch(self, epoch: Epoch) -> None:
        """An epoch that exists; the highest ever is kept for good."""
        self.highest = max(self.highest, epoch)

    def node_up(self, node: NodeName, now: float) -> None:
        """A node is believed from now on; what it is, its hello says."""
        self._nodes[node] = Other(now, mute_since=now)

    def node_down(self, node: NodeName, now: float) -> None:
        """A node is silent. Its last state stays known, and counts for nothing."""
        other = self._nodes.get(node)
        if other is not None and other.believed:
            other.believed = False
            other.lost = self._lone_since = now

    def hello(self, node: NodeName, state: InstanceState | None, now: float) -> None:
        """A node's current state; ``None`` when it has no such instance."""
        other = self._nodes.setdefault(node, Other(now, mute_since=now))
        other.heard, other.believed, other.met = now, True, True
        if state is None and other.state is not None:
            self._lone_since = other.mute_since = now
        other.state = state
        if state is not None:
            self.note_epoch(state.epoch)

    def trouble(self, node: NodeName, problem: str, now: float, lasts: float = math.inf) -> bool:
        """Something is wrong with a node, believed or not; returns whether that is news."""
        other = self._nodes.setdefault(node, Other(now, believed=False, met=False))
        news = other.trouble(now) != problem
        other.problem, other.problem_until = problem, now + lasts
        return news

    def others(self, now: float) -> Iterator[tuple[NodeName, Other]]:
        """Every node that was ever believed, and those with which something is wrong now."""
        for name, other in self._nodes.items():
            if other.met or other.trouble(now):
                yield name, other

    def states(self) -> Iterator[tuple[NodeName, InstanceState]]:
        """The nodes that are heard now and have this instance."""
        for name, other in self._nodes.items():
            if other.believed and other.state is not None:
                yield name, other.state

    def state(self, node: NodeName | None) -> InstanceState | None:
        """One node's state, if it is heard now."""
        return dict(self.states()).get(node) if node is not None else None

    def lone_since(self) -> float | None:
        """Since when no other node with this instance is heard; ``None`` when one is."""
        return None if any(True for _ in self.states()) else self._lone_since

    def silent_since(self) -> float | None:
        """Since when a node that had this instance is not heard; ``None`` when all are."""
        silent = [
            other.lost
            for other in self._nodes.values()
            if other.state is not None and not other.believed
        ]
        return max(silent, default=None)

    def rivals(self) -> list[NodeName]:
        """The nodes that say they are master and have the VIP."""
        return sorted(
            name for name, state in self.states() if state.role is Role.MASTER and state.vip
        )

    def highest_is_claimed(self) -> bool:
        """Whether the node of the highest epoch says that it is master of it.

        A master without the VIP has been promised it: whoever loses the VIP is held.
        """
        state = self.state(self.highest.node)
        return state is not None and state.role is Role.MASTER and state.epoch == self.highest

    def is_outranked(self, epoch: Epoch) -> bool:
        """Whether another node says that it is master of a higher epoch and has the VIP."""
        return self.highest > epoch and self.highest_is_claimed() and bool(self.rivals())

    def choose_master(self, current: NodeName | None, followed: Epoch) -> NodeName | None:
        """Whom a standby follows: the highest epoch that has the VIP, else whom it followed.

        Never one below the epoch ``followed`` last: its records are older than our copies, and a
        master that goes on overtakes as soon as it hears of that epoch. Without the VIP only the
        highest epoch ever heard of counts: any other is history.
        """
        claims = {name: state for name, state in self.states() if state.role is Role.MASTER}
        claims = {
            name: state for name, state in claims.items() if state.vip and state.epoch >= followed
        }
        if claims:
            return max(claims, key=lambda name: claims[name].epoch)
        silent = {
            name: state for name, state in self.states() if state.role in (Role.MASTER, Role.HELD)
        }
        if current in silent:
            return current
        return next((name for name in silent if silent[name].epoch == self.highest), None)

    def holders(self) -> dict[NodeName, HolderId]:
        """The standbys that packet ids are granted to."""
        return {
            name: state.holder
            for name, state in self.states()
            if state.role is Role.STANDBY and state.holder != NO_HOLDER
        }

    def anyone_serves(self) -> bool:
        """Whether a node is heard that is master or held."""
        return any(state.role in (Role.MASTER, Role.HELD) for _, state in self.states())

    def anyone_in_sync(self) -> bool:
        """Whether a standby is heard that has everything."""
        return any(
            state.role is Role.STANDBY and state.sync is Sync.IN_SYNC for _, state in self.states()
        )

    def someone_knows_more(self, clients: int) -> bool:
        """Whether a standby is heard that is in sync, or holds more clients than this node."""
        return any(
            state.sync is Sync.IN_SYNC or state.clients > clients
            for _, state in self.states()
            if state.role is Role.STANDBY
        )


def find_difference(
    ours: OpenvpnStatus, theirs: InstanceState, tolerate: frozenset[str] = frozenset()
) -> str:
    """What keeps two nodes from replicating with each other; "" when nothing does."""
    pairs = {
        "record format": (str(ours.record_format), str(theirs.record_format)),
        "digest": (ours.digest, theirs.digest),
        "issuer": (ours.issuer, theirs.issuer),
        "certificate": (ours.certificate, theirs.certificate),
    }
    for name, (mine, other) in pairs.items():
        if mine != other and name not in tolerate:
            return DIFFERENCES[name] + (_name_options(mine, other) if name == "digest" else "")
    return ""


def _name_options(mine: str, other: str) -> str:
    """Which options two digests say differ, in brackets; "" when they do not tell."""
    at = len(mine) - 2 * len(OPTION_GROUPS)
    if at <= 0 or len(mine) != len(other):
        return ""
    hints = [digest[at:] for digest in (mine, other)]
    differ = [
        group
        for number, group in enumerate(OPTION_GROUPS)
        if hints[0][2 * number : 2 * number + 2] != hints[1][2 * number : 2 * number + 2]
    ]
    return f" (look at {'; '.join(differ)})" if differ else ""


OPTION_GROUPS = (
    "proto, local, port",
    "tls-auth, tls-crypt, tls-crypt-v2",
    "tls-version-min, verify-client-cert and the like",
    "hand-window, tran-window",
    "reneg-sec, reneg-bytes, reneg-pkts",
    "auth-gen-token",
    "data-ciphers",
    "auth",
    "replay-window",
    "keepalive, inactive",
    "tun-mtu, mssfix",
    "compress",
    "topology, server",
    "ifconfig-pool",
    "max-clients, duplicate-cn, client-to-client",
    "push",
)
"""In the order of ``enum cluster_digest_group``: the digest ends in a byte for each."""

DIFFERENCES = {
    "record format": "record format differs: install the same version of the patched OpenVPN",
    "digest": "configuration differs: make OpenVPN's configuration the same on all nodes",
    "issuer": "certificate issuer differs: use server certificates of the same CA",
    "certificate": "certificate differs: use the same server certificate on all nodes",
}
