"""The boots that were heard, as long as they matter: what each said, and how far it is trusted.

Decides which are forgotten when there are too many: the oldest candidate, the oldest retired one.
One that is believed never is. Judges nothing: ``membership`` does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ovpnha.model import BootId, InstanceName, InstanceState, NodeName
from ovpnha.replication.hello import Hello, HelloState, LogHead
from ovpnha.replication.roundtrip import Distance, LinkRounds, Sample
from ovpnha.replication.sealing import CANDIDATE_LIMIT, RETIRED_LIMIT, BootTrust

States = dict[InstanceName, InstanceState]
Heads = dict[InstanceName, LogHead]
LIMITS = ((BootTrust.CANDIDATE, CANDIDATE_LIMIT), (BootTrust.RETIRED, RETIRED_LIMIT))


@dataclass(frozen=True)
class NodeHeard:
    """One boot as membership sees it, for statistics."""

    node: NodeName
    boot: BootId
    believed: bool
    last_heard: float
    links: Mapping[str, float]  # when a hello last came over each link
    states: Mapping[InstanceName, InstanceState]
    distance: Sample | None
    release: str = ""  # version of its ovpnha; "" when it does not tell
    keys: tuple[bytes, ...] = ()  # numbers of its cluster keys, the one that seals in front
    losses: Mapping[str, float] = field(default_factory=dict)  # share of hellos lost, by link


@dataclass
class HeardBoot:
    """One boot, and all that is known of it."""

    boot: BootId
    node: NodeName
    first_heard: float
    last_heard: float
    trust: BootTrust = BootTrust.CANDIDATE
    challenge: bytes = b""
    challenge_sequence: int = 0
    echoed: float = -math.inf  # when our last hello left that answered a challenge of this boot
    fresh: float = -math.inf  # when the newest challenge of ours was drawn that it has answered
    retired_at: int = 0  # how many challenges we had drawn when it was retired, or last alarmed
    believed_at: int = 0  # and when it was believed; 0: never
    alarmed: float = -math.inf  # when it was last told of as the second of its name
    one_way: bool = False
    links: dict[str, float] = field(default_factory=dict)
    round: int = -1
    parts: dict[int, tuple[HelloState, ...]] = field(default_factory=dict)
    states: States | None = None
    heads: Heads = field(default_factory=dict)
    told: States | None = None
    distance: Distance = field(default_factory=Distance)
    rounds: LinkRounds = field(default_factory=LinkRounds)
    release: str = ""
    keys: tuple[bytes, ...] = ()
    history: bytes = b""  # digest of the history as it knows it

    def collect(self, hello: Hello) -> bool:
        """Take in what it says; returns whether its newest round is whole now."""
        if hello.round < self.round:
            return False
        if hello.round > self.round:
            self.round, self.parts = hello.round, {}
        self.parts[hello.part] = hello.states
        if len(self.parts) < hello.parts:
            return False
        self.release, self.keys, self.history = hello.release, hello.keys, hello.history
        told = [state for part in self.parts.values() for state in part]
        self.states = {state.instance: state.state for state in told}
        self.heads = {state.instance: state.log for state in told if state.log is not None}
        return True

    def silence(self) -> None:
        """What it said counts no more."""
        self.parts, self.states, self.told = {}, None, None
        self.heads = {}

    def describe(self) -> NodeHeard:
        """For statistics."""
        return NodeHeard(
            self.node,
            self.boot,
            self.trust is BootTrust.BELIEVED,
            self.last_heard,
            dict(self.links),
            dict(self.states or {}),
            self.distance.best,
            self.release,
            self.keys,
            self.rounds.losses(),
        )


class HeardBoots:
    """All of them, the one that was heard first in front."""

    def __init__(self) -> None:
        self._boots: dict[BootId, HeardBoot] = {}

    def __iter__(self) -> Iterator[HeardBoot]:
        return iter(self._boots.values())

    def __getitem__(self, boot: BootId) -> HeardBoot:
        return self._boots[boot]

    def find(self, boot: BootId, name: str, now: float) -> HeardBoot:
        """This boot, which may be a new one."""
        return self._boots.get(boot) or self._remember(boot, NodeName(name), now)

    def _remember(self, boot: BootId, node: NodeName, now: float) -> HeardBoot:
        for trust, limit in LIMITS:
            same = self.of(trust)
            for oldest in same[: max(0, len(same) - limit + 1)]:
                del self._boots[oldest.boot]
        known = self._boots[boot] = HeardBoot(boot, node, now, now)
        return known

    def of(self, trust: BootTrust) -> list[HeardBoot]:
        """All that are trusted so far and no further."""
        return [boot for boot in self if boot.trust is trust]

    def believed(self, node: NodeName) -> HeardBoot | None:
        """The one boot of this name that is believed."""
        return next((boot for boot in self.of(BootTrust.BELIEVED) if boot.node == node), None)
