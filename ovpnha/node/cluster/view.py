"""What the other nodes say of one instance, and what follows from it for this node.

Decides whom a standby follows, which holders are granted packet ids, and which epoch is the
highest. Believes only nodes whose boot has proved fresh. The sibling, on the same machine, is one
like any other, but to the loss of this machine, and to what asks whether it is cut off. Rules:
docs/roles.md, "Epochs" and "A spare".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ovpnha.machines import is_spare, machine_of, sibling_of
from ovpnha.model import (
    NO_EPOCH,
    SOURCES,
    CheckState,
    Epoch,
    Grade,
    HolderId,
    InstanceName,
    InstanceState,
    NodeName,
    Role,
    Sync,
)
from ovpnha.node.cluster.fence import Suspect
from ovpnha.node.cluster.grading import LISTENING
from ovpnha.node.cluster.picture import Picture
from ovpnha.node.part import Part, first
from ovpnha.node.role.lineage import Lineage
from ovpnha.problems import Problem, ProblemKind
from ovpnha.replication.boots import NodeHeard
from ovpnha.replication.events import HelloReceived, NodeDown, NodeUp, OneWayLink

LACKS_AFTER = 5.0
"""Seconds after which a node that tells nothing of an instance has none: until its sidecar knows
what its OpenVPN is, which takes 3 s at most, it says nothing either."""

HEARD_FOR = 2.5
"""Seconds for which a node that has died is still believed, and more (``proof_timeout``)."""

DEAF = Problem(ProblemKind.NODE_DOES_NOT_HEAR, "it does not hear us")


@dataclass(frozen=True)
class NodeView:
    """Another node as this one sees it, for ``status``."""

    name: NodeName
    believed: bool
    age: float  # seconds since its last hello
    role: Role
    epoch: Epoch
    vip: bool
    sync: Sync
    grade: int
    clients: int
    problem: Problem | None  # why it must not replicate with us, or does not hear us
    round_trip: float | None = None  # seconds; None while not measured
    clock_offset: float | None = None  # seconds that its clock is ahead of ours
    has_instance: bool = True  # False: it is heard, and tells nothing of this instance
    lost: bool = False  # it was believed, and is not any more: what it said is history
    managed: bool = True  # a VIP manager reads its grade, as far as it can tell
    openvpn: str = ""  # version of its OpenVPN; "" when not known
    paused: bool = False  # it does not act
    checks: tuple[CheckState, ...] = ()  # of the service there, as many as its hello tells
    seamless: bool = True  # False: its OpenVPN has not the patch, as it says


@dataclass
class Other:
    """Another node's side of this instance."""

    heard: float
    state: InstanceState | None = None
    believed: bool = True
    lost: float = 0.0
    problem: Problem | None = None
    problem_until: float = math.inf
    met: bool = True  # it was believed once; of others only the problem is known
    mute_since: float = 0.0  # since when it tells nothing of this instance

    def current_problem(self, now: float) -> Problem | None:
        """What is wrong with it now."""
        return self.problem if now < self.problem_until else None

    def describe(
        self, name: NodeName, heard: NodeHeard | None, problem: Problem | None, now: float
    ) -> NodeView:
        """The node, for ``status``."""
        state, distance = self.state, heard.distance if heard is not None else None
        return NodeView(
            name=name,
            believed=self.believed,
            age=now - (heard.last_heard if heard is not None else self.heard),
            role=state.shown_role if state else Role.INIT,
            epoch=state.epoch if state else NO_EPOCH,
            vip=state.vip if state else False,
            sync=state.shown_sync if state else Sync.NONE,
            grade=state.grade if state else 0,
            clients=state.clients if state else 0,
            problem=problem,
            round_trip=distance.round_trip if distance is not None else None,
            clock_offset=distance.offset if distance is not None else None,
            has_instance=not self.lacks(now),
            lost=self.met and not self.believed,
            managed=state is None or not self.believed or state.managed,
            openvpn=state.openvpn if state else "",
            checks=state.checks if state else (),
            paused=state is not None and self.believed and state.paused,
            seamless=state is None or state.stock is None,
        )

    def lacks(self, now: float) -> bool:
        """Whether it has no such instance, as far as can be known."""
        return self.believed and self.state is None and now - self.mute_since >= LACKS_AFTER


class ClusterView(Part):
    """Every other node, as far as this instance is concerned."""

    def __init__(
        self, instance: InstanceName, now: float, lone_after: float, ours: NodeName = NO_EPOCH.node
    ) -> None:
        self._ours = ours
        self._instance = instance
        self._nodes: dict[NodeName, Other] = {}
        self.sibling = sibling_of(ours)
        self.has_machines = False  # another machine with this instance was heard once
        self._sibling_served = False
        self._picture = Picture({}, self.sibling)
        self._lone_after = lone_after
        self._lone_since = self._seen = now
        self.started = now
        self.links_up = True
        self.relinked: float | None = None  # when a BCN link came back
        self.highest = NO_EPOCH
        self._highest_other = NO_EPOCH  # of those that others made
        self._highest_at = now
        self.lineage = Lineage()

    def take(self, event: object, now: float) -> None:
        """Another node is heard, says what it is, or has fallen silent."""
        match event:
            case HelloReceived(node=node, instances=states):
                self.hello(node, states.get(self._instance), now)
            case NodeUp(node=node):
                self.node_up(node, now)
            case NodeDown(node=node):
                self.node_down(node, now)
            case OneWayLink(node=node):
                self.set_problem(node, DEAF, now)

    def set_links(self, up: bool, now: float) -> None:
        """Every BCN link can carry datagrams, or one cannot."""
        if up and not self.links_up:
            self.relinked = now
        self.links_up = up

    def get_timer(self) -> float | None:
        """When silence has lasted long enough to mean something."""
        silences = (self.lone_since(), self.silent_since(), self.started)
        moments = [one + self._lone_after for one in silences if one is not None]
        relinked = () if self.relinked is None else (self.relinked + LISTENING,)
        return first((*moments, *relinked), after=self._seen)

    def handle_timer(self, now: float) -> None:
        """What silence means is seen in the step that follows."""
        self._seen = now

    def note_epoch(self, epoch: Epoch) -> None:
        """An epoch that exists; the highest ever is kept."""
        self.highest = max(self.highest, epoch)

    def forget_ours(self, before: Epoch) -> None:
        """An epoch that we wanted to make never was: ``before`` was the highest of that time."""
        self.highest = max(before, self._highest_other)

    def node_up(self, node: NodeName, now: float) -> None:
        """A node is believed from now on; what it is, its hello says."""
        self._nodes[node] = Other(now, mute_since=now)
        self._look()

    def node_down(self, node: NodeName, now: float) -> None:
        """A node is silent. Its last state stays known, and counts for nothing."""
        other = self._nodes.get(node)
        if other is not None and other.believed:
            other.believed = False
            other.lost = now
            self._note_loss(node, now)
            self._look()

    def _note_loss(self, node: NodeName, now: float) -> None:
        self._lone_since = now if node != self.sibling else self._lone_since

    def hello(self, node: NodeName, state: InstanceState | None, now: float) -> None:
        """A node's current state; ``None`` when it has no such instance."""
        other = self._nodes.setdefault(node, Other(now, mute_since=now))
        other.heard, other.believed, other.met = now, True, True
        if state is None and other.state is not None:
            other.mute_since = now
            self._note_loss(node, now)
        other.state = state
        self._look()
        if state is not None:
            self.has_machines |= node != self.sibling
            self._sibling_served |= node == self.sibling and state.role in SOURCES
            if state.epoch > self._highest_other and state.epoch.node != self._ours:
                self._highest_other, self._highest_at = state.epoch, now
            self.note_epoch(state.epoch)
            if state.role in SOURCES:
                self.lineage.note(state.epoch, state.origin, touched=state.touched)

    def _look(self) -> None:
        heard = {name: other.state for name, other in self._nodes.items() if other.believed}
        told = {name: one for name, one in heard.items() if one is not None}
        self._picture = Picture(told, self.sibling)

    def set_problem(
        self, node: NodeName, problem: Problem, now: float, lasts: float = math.inf
    ) -> bool:
        """Something is wrong with a node, believed or not; returns whether that is news."""
        other = self._nodes.setdefault(node, Other(now, believed=False, met=False))
        news = other.current_problem(now) != problem
        other.problem, other.problem_until = problem, now + lasts
        return news

    def others(self, now: float) -> Iterator[tuple[NodeName, Other]]:
        """Every node that was ever believed, and those with which something is wrong now.

        A machine need not have a spare.
        """
        for name, other in self._nodes.items():
            absent = is_spare(name) and other.believed and other.state is None
            if (other.met and not absent) or other.current_problem(now):
                yield name, other

    def states(self) -> Iterable[tuple[NodeName, InstanceState]]:
        """The nodes that are heard now and have this instance."""
        return self._picture.states.items()

    def state(self, node: NodeName | None) -> InstanceState | None:
        """One node's state, if it is heard now."""
        return self._picture.states.get(node) if node is not None else None

    def anyone_may_have_more(self, clients: int) -> bool:
        """Whether somebody has more clients than so many, or a copy that its master has proved."""
        return any(
            state.clients > clients or state.sync is Sync.IN_SYNC
            for state in self._picture.states.values()
            if state.stock is None
        )

    def lone_since(self) -> float | None:
        """Since when no other machine with this instance is heard; ``None`` when one is."""
        return None if self._picture.apart else self._lone_since

    def silent_since(self) -> float | None:
        """Since when a node that had this instance is not heard; ``None`` when all are."""
        silent = [
            other.lost
            for name, other in self._nodes.items()
            if other.state is not None and not other.believed and name != self.sibling
        ]
        return max(silent, default=None)

    def bearers(self) -> frozenset[NodeName]:
        """The nodes that say they have the VIP, whatever they are."""
        return self._picture.bearers

    def rivals(self) -> Sequence[NodeName]:
        """The nodes that say they are master and have the VIP."""
        return self._picture.rivals

    def serving(self) -> Sequence[NodeName]:
        """The same, and those whose OpenVPN has not the patch."""
        return self._picture.serving

    def highest_is_claimed(self) -> bool:
        """Whether the node of the highest epoch says that it is master of it.

        A master without the VIP has been promised it: one that loses the VIP is held.
        """
        state = self.state(self.highest.node)
        return state is not None and state.role is Role.MASTER and state.epoch == self.highest

    def heir(self, epoch: Epoch) -> InstanceState | None:
        """The node of the highest epoch, if that lies above this one and it is heard as such."""
        state = self.state(self.highest.node) if self.highest > epoch else None
        there = state is not None and state.role in SOURCES and state.epoch == self.highest
        return state if there else None

    def is_outranked(self, epoch: Epoch) -> bool:
        """Whether another node says that it is master of a higher epoch and has the VIP."""
        return self.highest > epoch and self.highest_is_claimed() and bool(self.rivals())

    def anyone_begins(self, now: float, within: float) -> bool:
        """Whether a node's sidecar has just started and has not said yet what its OpenVPN has."""
        return any(
            other.believed and other.state is None and now < other.mute_since + within
            for name, other in self._nodes.items()
            if name != self.sibling
        )

    @property
    def knows_masters(self) -> bool:
        """Whether a machine has told of this instance ever, or our sibling has served."""
        return self.has_machines or self._sibling_served

    def suspects(
        self, last_heard: Callable[[NodeName], float], last_proved: Callable[[NodeName], float]
    ) -> Iterator[Suspect]:
        """The nodes whose last word was that they are master, heard or not.

        One of an older epoch only if it was still heard when the highest was: of any other the
        node of the highest epoch has taken care. That one is named even if it was never heard. Whom
        a fence cuts off is a machine. Of the sibling it is known for certain what it does.
        """
        highest, made_by = self._highest_other, self._highest_other.node
        for name, other in self._nodes.items():
            state = other.state
            if state is not None and state.role is Role.MASTER and name != self.sibling:
                late = other.believed or other.lost > self._highest_at + HEARD_FOR
                if late or state.epoch == highest:
                    times = last_heard(name), last_proved(name), other.lost
                    yield Suspect(machine_of(name), state.epoch, other.believed, *times)
        told = self._nodes.get(made_by)
        unheard = told is None or told.state is None
        if highest != NO_EPOCH and made_by != self.sibling and unheard:
            heard = told is not None and told.believed
            never = -math.inf
            yield Suspect(machine_of(made_by), highest, heard, never, never, self._highest_at)

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
        silent = {name: state for name, state in self.states() if state.role in SOURCES}
        if current in silent:
            return current
        return next((name for name in silent if silent[name].epoch == self.highest), None)

    def holders(self) -> Mapping[NodeName, HolderId]:
        """The standbys that packet ids are granted to."""
        return self._picture.holders

    def anyone_serves(self) -> bool:
        """Whether a node is heard that is master or held."""
        return self._picture.served

    def anyone_whole(self) -> bool:
        """Whether a standby is heard that has everything, or all that its OpenVPN takes.

        The sibling counts only where no other machine is known: it does not outlive this one.
        """
        syncs = self._picture.syncs_apart if self.has_machines else self._picture.syncs
        return bool(syncs & {Sync.IN_SYNC, Sync.PARTIAL})

    def anyone_acts(self) -> bool:
        """Whether a node is heard that is master or held, or would serve at once as a standby."""
        return self._picture.served or any(
            state.role is Role.STANDBY and state.sync is Sync.IN_SYNC and not state.paused
            for _, state in self.states()
        )

    def anyone_in_sync(self) -> bool:
        """Whether a standby is heard that has everything."""
        return Sync.IN_SYNC in self._picture.syncs

    def anyone_fit(self) -> bool:
        """Whether a standby is heard that has everything, and is worth the VIP."""
        return any(
            state.sync is Sync.IN_SYNC and state.role is Role.STANDBY and state.grade >= Grade.LONE
            for _, state in self.states()
        )

    def anyone_awaited(self) -> bool:
        """Whether nobody is heard that serves, and a node is that is worth the VIP."""
        return self._picture.awaited

    def most_clients(self) -> int:
        """The most clients that a node says it has."""
        return max((one.clients for _, one in self.states() if one.stock is None), default=0)

    def knows_more(self, state: InstanceState, clients: int) -> bool:
        """Whether this is a standby that is in sync, or holds more clients than that."""
        more = state.sync is Sync.IN_SYNC or state.clients > clients
        return state.role is Role.STANDBY and more
