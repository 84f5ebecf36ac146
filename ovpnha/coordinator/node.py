"""A whole node without its shell: management channels, back channel and policy, composed.

Every verb takes ``now`` in monotonic seconds; after each, the shell carries out what
``next_output`` gives, in order, and sets one timer to ``get_timer``. Must never raise for what
comes from outside, never wait, and hold no policy of its own: that is ``instance``'s. Rules:
docs/architecture.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from types import MappingProxyType

from ovpnha.coordinator import asking
from ovpnha.coordinator.config import NodeConfig
from ovpnha.coordinator.figures import describe_instance
from ovpnha.coordinator.instance import Instance
from ovpnha.coordinator.outputs import (
    ClientView,
    LogEvent,
    NodeStatistics,
    Output,
    SendDatagram,
)
from ovpnha.coordinator.routing import take_backchannel, take_bytes
from ovpnha.model import (
    BootId,
    InstanceName,
    NodeName,
    ServerClient,
    Uid,
    Unreachable,
    VipPlace,
)
from ovpnha.replication import events
from ovpnha.replication.membership import NodeHeard
from ovpnha.replication.protocol import Replication

CONFLICT_SHOWN = 30.0
"""Seconds for which two machines of one name are shown: longer than a challenge lives."""


class Node:
    """One node of the cluster."""

    def __init__(
        self,
        config: NodeConfig,
        *,
        boot: BootId,
        random: Callable[[int], bytes],
        now: float,
        wall: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._name = config.replication.node
        self._boot = boot
        self._started = now
        self._outputs: deque[Output] = deque()
        self._replication = Replication(
            config.replication, boot=boot, random=random, now=now, wall=wall
        )
        self._links = dict.fromkeys(config.replication.links, True)
        self._told: dict[NodeName, frozenset[InstanceName]] = {}  # instances of the nodes heard
        self._instances = {
            one.name: Instance(one, self._name, self._replication, self._outputs, now)
            for one in config.instances
        }

    # OpenVPN.

    def management_up(self, instance: InstanceName, now: float) -> None:
        """The management socket is connected."""
        self._instances[instance].connect(now)
        self._go_on(now)

    def management_down(self, instance: InstanceName, reason: str, now: float) -> None:
        """The management socket is closed, or cannot be connected."""
        self._instances[instance].disconnect(reason, now)
        self._go_on(now)

    def management_unreachable(self, instance: InstanceName, why: Unreachable, now: float) -> None:
        """The management socket cannot be connected, for this reason."""
        self._instances[instance].miss(why)
        self._go_on(now)

    def receive_management(self, instance: InstanceName, data: bytes, now: float) -> None:
        """Bytes as read from the management socket."""
        take_bytes(self._instances[instance], data, now)
        self._go_on(now)

    # The network.

    def receive_datagram(self, data: bytes, link: str, now: float) -> None:
        """A datagram as read from a BCN socket."""
        self.receive_datagrams((data,), link, now)

    def receive_datagrams(self, batch: Sequence[bytes], link: str, now: float) -> None:
        """Datagrams that were waiting together; the situation changes only when one says news."""
        for data in batch:
            self._replication.receive_datagram(data, link, now)
        if self._replication.has_events:
            self._go_on(now)
        else:
            self._send(now)

    def vip_changed(self, instance: InstanceName, present: bool, now: float) -> None:
        """The VIP arrived or left; the first call tells the initial state."""
        self._instances[instance].wishes.set_vip(present, now)
        self._go_on(now)

    def vip_placed(self, instance: InstanceName, place: VipPlace, now: float) -> None:
        """Where the VIP counts, and where it is; told at the start and whenever it changes."""
        self._instances[instance].obstacles.take_place(place)
        self._go_on(now)

    def link_changed(self, link: str, up: bool, now: float) -> None:
        """A BCN link can carry datagrams, or cannot. Until told otherwise, all can."""
        if self._links.get(link) != up:
            level = "info" if up else "warning"
            self._outputs.append(LogEvent(level, "bcn link", {"link": link, "up": up}))
        self._links[link] = up
        for one in self._instances.values():
            one.set_links(all(self._links.values()), now)
        self._go_on(now)

    # The administrator.

    def ask_promote(self, instance: InstanceName, expect_vip: float, now: float) -> None:
        """Promote now; the VIP is to come within ``expect_vip`` seconds."""
        asking.ask_promote(self._instances[instance], expect_vip, now)
        self._go_on(now)

    def ask_demote(self, instance: InstanceName, now: float) -> None:
        """Master: hand the VIP over. Held: demote."""
        asking.ask_demote(self._instances[instance], now)
        self._go_on(now)

    def ask_renegotiate(
        self, instance: InstanceName, uid: Uid | None, rate: float, now: float
    ) -> None:
        """Renegotiate with one client, or with all at ``rate`` a second."""
        asking.ask_renegotiate(self._instances[instance], uid, rate)
        self._go_on(now)

    def use_keys(
        self, keys: Sequence[bytes], cookie_keys: Mapping[InstanceName, bytes], now: float
    ) -> None:
        """The cluster keys were read again: the first seals, all open; cookie keys follow."""
        self._replication.use_keys(keys)
        for name, one in self._instances.items():
            one.discovery.use_cookie_key(cookie_keys[name])
        self._outputs.append(LogEvent("info", "cluster keys read again", {"keys": len(keys)}))
        self._go_on(now)

    # Time and outputs.

    def get_timer(self) -> float | None:
        """When ``handle_timer`` is to be called next."""
        moments = [one.get_timer() for one in self._instances.values()]
        moments.append(self._replication.get_timer())
        return min((one for one in moments if one is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Time has passed."""
        self._replication.handle_timer(now)
        for one in self._instances.values():
            one.handle_timer(now)
        self._go_on(now)

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
            instances=tuple(describe_instance(one, heard, now) for one in self._instances.values()),
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
        return self._instances[instance].server.clients

    def table(self, instance: InstanceName, now: float) -> tuple[ClientView, ...]:
        """Each client that a master or held instance has, by its uid."""
        waits = self._instances[instance].exporter.table.waits(now)
        return tuple(ClientView(uid, wait) for uid, wait in sorted(waits, key=itemgetter(0)))

    def stop(self, now: float) -> None:
        """The sidecar stops: say so on the BCN. OpenVPN keeps its role and its clients."""
        self._replication.goodbye()
        self._send(now)

    def _go_on(self, now: float) -> None:
        """Everything that follows from an event."""
        while (event := self._replication.next_event()) is not None:
            self._take(event, now)
        for one in self._instances.values():
            one.evaluate(now)
        self._send(now)

    def _send(self, now: float) -> None:
        for datagram in self._replication.datagrams_to_send(now):
            self._outputs.append(SendDatagram(datagram.data, datagram.link))

    def _take(self, event: events.Event, now: float) -> None:
        match event:
            case events.NodeUp(node=node):
                self._log("info", "node heard", node)
                for one in self._instances.values():
                    one.view.node_up(node, now)
            case events.NodeDown(node=node, reason=reason):
                self._log("warning", "node lost", node, reason=reason)
                self._told.pop(node, None)
                for one in self._instances.values():
                    one.view.node_down(node, now)
            case events.HelloReceived(node=node, instances=states):
                self._told[node] = frozenset(states)
                for name, one in self._instances.items():
                    one.view.hello(node, states.get(name), now)
            case events.NameConflict(node=node, boot=boot):
                self._name_conflict(node, boot, now)
            case events.OneWayLink(node=node):
                for one in self._instances.values():
                    one.view.trouble(node, "it does not hear us", now)
                self._log("error", "node does not hear us", node)
            case events.OtherKey(reason=reason, link=link):
                fields = {"reason": reason, "link": link}
                self._outputs.append(LogEvent("warning", "datagrams under another key", fields))
            case _ if event.instance in self._instances:
                take_backchannel(self._instances[event.instance], event, now)
            case _:
                pass

    def _name_conflict(self, node: NodeName, boot: BootId, now: float) -> None:
        """Logged once; counted and shown for as long as it lasts."""
        problem = "another machine has the same node name"
        news = False
        for one in self._instances.values():
            one.openvpn.counters["name_conflicts"] += 1
            news |= one.view.trouble(node, problem, now, lasts=CONFLICT_SHOWN)
        if news:
            self._log("error", "two machines have one node name", node, refused_boot=boot.hex())

    def _log(self, level: str, event: str, node: NodeName, **fields: object) -> None:
        self._outputs.append(LogEvent(level, event, {"node": node, **fields}))
