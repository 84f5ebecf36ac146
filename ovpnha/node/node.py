"""A whole node without its shell: management channels, back channel and policy, composed.

Every verb takes ``now`` in monotonic seconds; after each, the shell carries out what
``next_output`` gives, in order, and sets one timer to ``get_timer``. Must never raise for what
comes from outside, never wait, and hold no policy of its own: that is ``instance``'s. Rules:
docs/architecture.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from types import MappingProxyType

from ovpnha.model import (
    BootId,
    CheckState,
    InstanceName,
    InstanceState,
    NodeName,
    Role,
    ServerClient,
    Unreachable,
    VipPlace,
)
from ovpnha.node.asked import Asked
from ovpnha.node.chronicle import Chronicle
from ovpnha.node.config import NodeConfig
from ovpnha.node.dispatch import Dispatch, RecordEvent
from ovpnha.node.instance import Instance
from ovpnha.node.memory import Memory
from ovpnha.node.outputs import (
    ClientView,
    HistoryChanged,
    LogEvent,
    Output,
    Remember,
    Roster,
    SendDatagram,
)
from ovpnha.node.part import first
from ovpnha.node.parts import Parts
from ovpnha.node.statistics import NodeStatistics, describe_heard
from ovpnha.problems import Problem, ProblemKind
from ovpnha.replication import events
from ovpnha.replication.agenda import Agenda
from ovpnha.replication.boots import NodeHeard
from ovpnha.replication.history import HistoryEntry
from ovpnha.replication.protocol import Replication

CONFLICT_SHOWN = 30.0
"""Seconds for which two machines of one name are shown: longer than a challenge lives."""


class Node(Asked):
    """One node of the cluster."""

    def __init__(
        self,
        config: NodeConfig,
        *,
        boot: BootId,
        random: Callable[[int], bytes],
        now: float,
        wall: Callable[[], float] = lambda: 0.0,
        history: Iterable[HistoryEntry] = (),
        memories: Mapping[InstanceName, Memory] = MappingProxyType({}),
    ) -> None:
        self._wall = wall
        self._name = config.replication.node
        self._boot = boot
        self._started = now
        self._outputs: deque[Output] = deque()
        self._replication = Replication(
            config.replication, boot=boot, random=random, now=now, wall=wall, history=history
        )
        self._links = dict.fromkeys(config.replication.links, True)
        self._told: dict[NodeName, Mapping[InstanceName, InstanceState]] = {}  # by nodes heard
        self._instances = {
            one.name: Instance(
                Parts(
                    *(one, self._name, self._replication, self._outputs, now),
                    memories.get(one.name),
                ),
                now,
            )
            for one in config.instances
        }
        self._chronicles = {
            name: Chronicle(
                one.parts, self._name, boot, self._replication.history.find_last(self._name, name)
            )
            for name, one in self._instances.items()
        }
        self._dispatch = {name: Dispatch(one) for name, one in self._instances.items()}
        self._agenda = Agenda(self._instances)
        self._unsettled = set(self._instances)

    # OpenVPN.

    def management_up(self, instance: InstanceName, now: float) -> None:
        """The management socket is connected."""
        self._instances[instance].connect(now)
        self._go_on(now, {instance})

    def management_down(self, instance: InstanceName, reason: str, now: float) -> None:
        """The management socket is closed, or cannot be connected."""
        self._instances[instance].disconnect(reason, now)
        self._go_on(now, {instance})

    def management_unreachable(self, instance: InstanceName, why: Unreachable, now: float) -> None:
        """The management socket cannot be connected, for this reason."""
        self._instances[instance].miss(why, now)
        self._go_on(now, {instance})

    def receive_management(self, instance: InstanceName, data: bytes, now: float) -> None:
        """Bytes as read from the management socket."""
        alone = self._dispatch[instance].take_bytes(data, now)
        self._go_on(now, set() if alone else {instance}, {instance})

    # The network.

    def receive_datagram(self, data: bytes, link: str, now: float) -> None:
        """A datagram as read from a BCN socket."""
        self.receive_datagrams((data,), link, now)

    def receive_datagrams(self, batch: Sequence[bytes], link: str, now: float) -> None:
        """Datagrams that were waiting together; the situation changes only when one says news."""
        for data in batch:
            self._replication.receive_datagram(data, link, now)
        if self._replication.has_events:
            self._go_on(now, set())
        else:
            self._send(now)

    def vip_changed(self, instance: InstanceName, present: bool, now: float, why: str = "") -> None:
        """The VIP arrived or left; the first call tells the initial state.

        ``why`` is told of a move between the two processes of a machine (``pair``).
        """
        self._instances[instance].parts.vip.set(present, now, why)
        self._go_on(now, {instance})

    def slot_changed(self, instance: InstanceName, slot: bool, now: float) -> None:
        """The VIP of this machine is for this process from now on, or for the other one's."""
        self._instances[instance].set_slot(slot, now)
        self._go_on(now, {instance})

    @property
    def name(self) -> NodeName:
        """The name of this node."""
        return self._name

    @property
    def instance_names(self) -> tuple[InstanceName, ...]:
        """What it is made of."""
        return tuple(self._instances)

    def greet(self, now: float) -> None:
        """Say hello at once: this process was stopped for a while."""
        self._replication.greet(now)
        self._send(now)

    def instance(self, name: InstanceName) -> Instance:
        """One instance, for what has two processes of it (``pair``)."""
        self._agenda.touch(name)
        return self._instances[name]

    def vip_placed(self, instance: InstanceName, place: VipPlace, now: float) -> None:
        """Where the VIP counts, and where it is; told at the start and whenever it changes."""
        self._instances[instance].parts.vip_problems.take(place, now)
        self._go_on(now, {instance})

    def grade_read(self, instance: InstanceName, read: bool, now: float) -> None:
        """Whether a VIP manager reads the grade; until told otherwise, one does."""
        parts = self._instances[instance].parts
        parts.announcer.note_reader(read, tell=parts.slot)
        self._go_on(now, {instance})

    def checks_told(
        self, states: Mapping[InstanceName, tuple[CheckState, ...]], now: float
    ) -> None:
        """What the checks of the service say now, those that failed first."""
        for name, checks in states.items():
            self._instances[name].parts.checks.states = checks
        self._go_on(now)

    def link_changed(self, link: str, up: bool, now: float) -> None:
        """A BCN link can carry datagrams, or cannot. Until told otherwise, all can."""
        if self._links.get(link) != up:
            level = "info" if up else "warning"
            self._outputs.append(LogEvent(level, "bcn link", {"link": link, "up": up}))
        self._links[link] = up
        for one in self._instances.values():
            one.parts.view.set_links(all(self._links.values()), now)
        self._go_on(now)

    def fence_done(self, node: NodeName, text: str, now: float) -> None:
        """The program has ended, well if the text is empty. One fence counts for all instances."""
        for one in self._instances.values():
            one.parts.fence.done(node, text, now)
        self._go_on(now)

    # The administrator.

    def use_keys(
        self, keys: Sequence[bytes], cookie_keys: Mapping[InstanceName, bytes], now: float
    ) -> None:
        """The cluster keys were read again: the first seals, all open; cookie keys follow."""
        self._replication.use_keys(keys)
        for name, one in self._instances.items():
            one.parts.discovery.use_cookie_key(cookie_keys[name])
        self._outputs.append(LogEvent("info", "cluster keys read again", {"keys": len(keys)}))
        self._go_on(now)

    # Time and outputs.

    def get_timer(self) -> float | None:
        """When ``handle_timer`` is to be called next."""
        return first((self._agenda.get_timer(), self._replication.get_timer()))

    def handle_timer(self, now: float) -> None:
        """Time has passed."""
        self._replication.handle_timer(now)
        due = set(self._agenda.due(now))
        for name in due:
            self._instances[name].handle_timer(now)
        self._go_on(now, due)

    def next_output(self) -> Output | None:
        """What the shell is to do next."""
        return self._outputs.popleft() if self._outputs else None

    def statistics(self, now: float) -> NodeStatistics:
        """Everything ``status`` and metrics may read."""
        figures = self._replication.statistics()
        heard: dict[NodeName, NodeHeard] = {}
        for one in sorted(figures.nodes, key=lambda one: one.last_heard):
            heard[one.node] = one
        return NodeStatistics(
            node=self._name,
            boot=self._boot.hex(),
            uptime=now - self._started,
            links=MappingProxyType(dict(self._links)),
            instances=tuple(one.parts.statistics(heard, now) for one in self._instances.values()),
            received=figures.received,
            sent=figures.sent,
            refused=figures.refused,
            bytes_received=figures.bytes_received,
            bytes_sent=figures.bytes_sent,
            resyncs=figures.resyncs,
            nacks=figures.nacks,
            repaired=figures.repaired,
            differences=figures.differences,
            oversized=figures.oversized,
            lacking=self._lacking(),
            keys=tuple(key.hex() for key in self._replication.keys),
            heard=tuple(describe_heard(one, now) for _, one in sorted(heard.items())),
        )

    def _lacking(self) -> Mapping[str, tuple[NodeName, ...]]:
        """Instances of other nodes that this node does not have."""
        names = sorted(set[InstanceName]().union(*self._told.values()) - set(self._instances))
        return {
            name: tuple(sorted(node for node, told in self._told.items() if name in told))
            for name in names
        }

    def clients(self, instance: InstanceName) -> tuple[ServerClient, ...]:
        """Each client as OpenVPN last told; apart from ``statistics``, which names no client."""
        return self._instances[instance].parts.traffic.clients

    def table(self, instance: InstanceName, now: float) -> tuple[ClientView, ...]:
        """Each client that a master or held instance has, by its uid."""
        waits = self._instances[instance].parts.exporter.table.waits(now)
        return tuple(ClientView(uid, wait) for uid, wait in sorted(waits, key=itemgetter(0)))

    def ask_clients(self, instance: InstanceName, now: float) -> None:
        """Somebody wants to know who is connected; ``roster`` has it when OpenVPN has answered."""
        parts = self._instances[instance].parts
        parts.presence.ask(stock=parts.discovery.stock)
        self._go_on(now, {instance})

    def roster(self, instance: InstanceName, now: float) -> Roster:
        """Who is connected, as OpenVPN told when it was last asked."""
        parts = self._instances[instance].parts
        if parts.stock.active and not parts.stock.serves:
            return parts.presence.elsewhere(parts.stock.clients(), parts.stock.following)
        copied = parts.importer.following if parts.role.role is Role.STANDBY else None
        return parts.presence.roster(dict(parts.exporter.table.waits(now)), copied)

    def stop(self, now: float) -> None:
        """The sidecar stops: say so on the BCN. OpenVPN keeps its role and its clients."""
        self._replication.goodbye(now)
        self._send(now)

    def _go_on(
        self,
        now: float,
        whole: set[InstanceName] | None = None,
        told: Iterable[InstanceName] = (),
    ) -> None:
        """Everything that follows from an event, for the instances that it concerns.

        The situation of those in ``whole`` (None: all) may be another; ``told`` has news of
        clients, at least.
        """
        whole, clients = set(self._instances) if whole is None else whole, set(told)
        while (event := self._replication.next_event()) is not None:
            if isinstance(event, RecordEvent):
                clients.add(event.instance)
            else:
                whole |= self._concerned(event)
            self._take(event, now)
        for name in [one for one in self._instances if one in whole | clients | self._unsettled]:
            self._look_at(name, now, whole=name in whole)
        self._send(now)

    def _concerned(self, event: events.Event) -> set[InstanceName]:
        """Those whose situation it may change."""
        match event:
            case events.HelloReceived(node=node, instances=states):
                before = self._told.get(node, {})
                return {one for one in self._instances if states.get(one) != before.get(one)}
            case events.SnapshotEnded(instance=name) | events.CopyProved(instance=name):
                return {name} & self._instances.keys()
            case _:
                return set(self._instances)

    def _look_at(self, name: InstanceName, now: float, *, whole: bool) -> None:
        one = self._instances[name]
        if whole or not one.parts.is_settled_in():
            one.evaluate(now)
        else:
            one.evaluate_clients(now)
        self._agenda.touch(name)
        (self._unsettled.discard if one.parts.is_settled_in() else self._unsettled.add)(name)
        known = one.parts.remembered
        if one.parts.memory.note(known, now) and known is not None:
            self._outputs.append(Remember(name, known))
        for entry in self._chronicles[name].tell(self._wall):
            self._replication.history.record(entry, now)
            self._outputs.append(HistoryChanged(entry))

    def history(self) -> tuple[HistoryEntry, ...]:
        """Every change of a role that this node knows of, the oldest first."""
        return self._replication.history.entries

    def _send(self, now: float) -> None:
        for datagram in self._replication.datagrams_to_send(now):
            self._outputs.append(SendDatagram(datagram.data, datagram.link))

    def _take(self, event: events.Event, now: float) -> None:
        match event:
            case events.NodeUp(node=node):
                self._log("info", "node heard", node)
                self._tell_views(event, now)
            case events.NodeDown(node=node, reason=reason):
                self._log("warning", "node lost", node, reason=reason)
                self._told.pop(node, None)
                self._tell_views(event, now)
            case events.HelloReceived(node=node, instances=states):
                self._told[node] = states
                self._tell_views(event, now)
            case events.NameConflict(node=node, boot=boot):
                self._name_conflict(node, boot, now)
            case events.OneWayLink(node=node):
                self._tell_views(event, now)
                self._log("error", "node does not hear us", node)
            case events.OtherKey(reason=reason, link=link):
                fields = {"reason": reason, "link": link}
                self._outputs.append(LogEvent("warning", "datagrams under another key", fields))
            case events.OtherVersion(link=link):
                phrase = "datagrams of another version of ovpnha"
                self._outputs.append(LogEvent("error", phrase, {"link": link}))
            case events.HistoryReceived(entries=entries):
                self._outputs.extend(map(HistoryChanged, entries))
            case _ if event.instance in self._instances:
                self._dispatch[event.instance].take_backchannel(event, now)
            case _:
                pass

    def _tell_views(self, event: events.Event, now: float) -> None:
        for one in self._instances.values():
            one.parts.view.take(event, now)
            one.parts.fence.take(event, now)

    def _name_conflict(self, node: NodeName, boot: BootId, now: float) -> None:
        """Logged once; counted and shown for as long as it lasts."""
        problem = Problem(ProblemKind.NODE_HAS_OUR_NAME, "another machine has the same node name")
        news = False
        for one in self._instances.values():
            one.parts.openvpn.counters["name_conflicts"] += 1
            news |= one.parts.view.set_problem(node, problem, now, lasts=CONFLICT_SHOWN)
        if news:
            self._log("error", "two machines have one node name", node, refused_boot=boot.hex())

    def _log(self, level: str, event: str, node: NodeName, **fields: object) -> None:
        self._outputs.append(LogEvent(level, event, {"node": node, **fields}))
