"""The node that was promoted after this one, as long as this one is held and keeps its clients.

Decides nothing: it measures for how long that node has served without a break, and notes which
clients have a newer generation there, so that a node that goes on without it knows whose keys it
does not have. Imports nothing (rule R5); the receive marks that it tells are OpenVPN's at once
(``dispatch``). Rules: docs/roles.md, "Steps".
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from ovpnha.model import NO_EPOCH, SOURCES, InstanceName, InstanceState, NodeName, Role, Sync, Uid
from ovpnha.node.part import Part
from ovpnha.node.role.lineage import Kin
from ovpnha.node.role.succession import Heir
from ovpnha.replication.events import GenerationHeard, RecordReceived
from ovpnha.replication.protocol import Replication

LAG = 1.2
"""Seconds that the newest proof of a node that lives may be old: two hellos, and their way."""
LOOK = 0.1
"""Seconds between looks at one whose newest proof is older."""


class Successor(Part):
    """What is known of it."""

    def __init__(self, instance: InstanceName, backchannel: Replication) -> None:
        self._instance = instance
        self._backchannel = backchannel
        self._generations: dict[Uid, int] = {}
        self._epoch = NO_EPOCH
        self._state: InstanceState | None = None
        self.serves_since: float | None = None  # without a break, as master with the VIP
        self._look_at: float | None = None  # it may have proved more by then
        self.following: NodeName | None = None
        self.planned = False  # somebody moved the VIP in order, or asked for a demote

    def observe(self, state: InstanceState | None, now: float) -> None:
        """What the node of a higher epoch says now; ``None`` when there is none, or it is silent.

        One that is master without the VIP was promised it: a planned move.
        """
        self._state = state
        serves = state is not None and state.serves
        if state is None or not serves:
            self.serves_since = None
        elif self.serves_since is None or self._epoch != state.epoch:
            self.serves_since, self._epoch = now, state.epoch
        if state is not None and state.role is Role.MASTER and not state.vip:
            self.planned = True

    def follow(self, node: NodeName | None, now: float) -> None:
        """Listen to what this node publishes, or to nobody."""
        if node == self.following:
            return
        self.following = node
        self._generations.clear()
        self._backchannel.follow(self._instance, node, now)

    def leave(self, now: float) -> NodeName | None:
        """This node goes on above it; whom it listened to, and is listened to still."""
        node, self.following = self.following, None
        self._generations.clear()
        self.stop(now)
        return node

    def stop(self, now: float) -> None:
        """This node is not held any more."""
        self.follow(None, now)
        self.planned = False

    def take(self, event: object, _now: float) -> None:
        """That node publishes something."""
        match event:
            case GenerationHeard(uid=uid, generation=generation):
                self._hear(uid, generation)
            case RecordReceived(record=record):
                self._hear(record.uid, record.generation)

    def _hear(self, uid: Uid, generation: int) -> None:
        """A client has this generation there."""
        self._generations[uid] = max(generation, self._generations.get(uid, generation))

    def newer(self, ours: Mapping[Uid, int]) -> list[Uid]:
        """The clients of ours that have changed there."""
        return sorted(
            uid
            for uid, generation in ours.items()
            if self._generations.get(uid, generation) > generation
        )

    def moments(self, keep: float) -> Iterator[float]:
        """When it may have served for so long."""
        if self.serves_since is not None:
            yield self.serves_since + keep
        if self._look_at is not None:
            yield self._look_at

    def describe(
        self,
        kin: Kin,
        now: float,
        *,
        spare: bool,
        alive: bool = False,
        touched: bool = False,
        proved: float = math.inf,
    ) -> Heir:
        """For the next step.

        ``spare``: what we have is worth nothing to that node. ``touched``: clients changed between
        our epoch and its own. ``proved``: when it was certainly alive. It is believed for longer
        when it has died, or when this process was stopped; so long it has not served.
        """
        late = self.serves_since is not None and now > proved + LAG
        self._look_at = now + LOOK if late else None
        state = self._state
        if state is None or state.role not in SOURCES:
            return Heir(kin, None, False, False, None, False)
        has = state.sync is Sync.NONE or (state.sync is Sync.IN_SYNC and state.origin != NO_EPOCH)
        return Heir(
            kin=kin,
            role=state.role,
            has=has or spare or kin is Kin.ABOVE,
            touched=state.touched or touched,
            served=None
            if self.serves_since is None
            else max(0.0, min(now, proved + LAG) - self.serves_since),
            alive=alive,
        )
