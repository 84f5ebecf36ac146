"""Whole nodes in virtual time: real cores, model OpenVPNs, a back channel that can lose and delay.

A ``World`` is driven by a seed. Bytes of management channels and datagrams are cut, delayed, lost
and repeated as told; nodes, OpenVPNs and sidecars die and come back at any moment. The VIP is
wherever the test puts it.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from ovpnha.model import BootId, InstanceName, NodeName, Role, Sync
from ovpnha.node.config import InstanceConfig, NodeConfig
from ovpnha.node.memory import Memory, Remembered
from ovpnha.node.node import Node
from ovpnha.node.outputs import (
    CloseManagement,
    LogEvent,
    OpenvpnFound,
    Output,
    Remember,
    RoleChanged,
    SendDatagram,
    SetGrade,
    WriteManagement,
)
from ovpnha.node.statistics import InstanceStatistics
from ovpnha.replication.config import ReplicationConfig
from ovpnha.replication.history import HistoryEntry
from tests.model_openvpn import ModelOpenvpn, Told

INSTANCE = InstanceName("udp")
KEY = bytes(range(32))
LINK = "bcn"


@dataclass
class Network:
    """How bad the back channel is."""

    delay: float = 0.0005
    jitter: float = 0.0
    loss: float = 0.0
    repeat: float = 0.0
    keep: Callable[[str, bytes], bool] = lambda _sender, _data: False
    """Whether somebody on the way keeps a datagram of this node for himself."""


class ModelNode:
    """One machine: OpenVPN, sidecar, and the shell between them."""

    def __init__(self, world: World, name: str, config: InstanceConfig) -> None:
        self.world = world
        self.name = name
        self.config = config
        self.vip = False
        self.reachable = True
        self.busy = 0.0  # seconds after which OpenVPN gets to what was written to it
        self.node: Node | None = None
        self.openvpn: ModelOpenvpn | None = None
        self.grades: list[SetGrade] = []
        self.roles: list[RoleChanged] = []
        self.logs: list[LogEvent] = []
        self.found: list[OpenvpnFound] = []
        self.outputs: list[Output] = []
        self.memory: Remembered | None = None  # what a sidecar here has left to the next
        self.vouched_until = 0.0  # when the last one ended
        self._connection = 0
        self._timer = 0

    # Life and death.

    def start_openvpn(self, **options: object) -> ModelOpenvpn:
        """Start an OpenVPN; a running sidecar connects to it."""
        told = {key: options.pop(key) for key in list(options) if hasattr(Told, key)}
        self.openvpn = ModelOpenvpn(
            self.world.rng,
            told=Told(**told),  # type: ignore[arg-type]
            **options,  # type: ignore[arg-type]
        )
        self.connect()
        return self.openvpn

    def kill_openvpn(self) -> None:
        """The process dies."""
        self.openvpn = None
        self._disconnect("closed by openvpn")

    def start(self, history: Iterable[HistoryEntry] | None = None) -> Node:
        """Start the sidecar, with a new boot; it connects to a running OpenVPN.

        One that is given a history has a clock, too: others say 0.
        """
        clock = (lambda: 0.0) if history is None else (lambda: self.world.now)
        replication = ReplicationConfig(
            cluster="office", node=NodeName(self.name), keys=(KEY,), links=(LINK,)
        )
        rng = self.world.rng
        self.node = Node(
            NodeConfig(replication, (self.config,)),
            boot=BootId(rng.randbytes(16)),
            random=rng.randbytes,
            now=self.world.now,
            wall=clock,
            history=history or (),
            memories={INSTANCE: Memory(self.memory, self.vouched_until)},
        )
        self.step(lambda node, now: node.vip_changed(INSTANCE, self.vip, now))
        self.connect()
        return self.node

    def kill_sidecar(self) -> None:
        """The sidecar dies; OpenVPN goes on."""
        self.node, self.vouched_until = None, self.world.now
        self._connection += 1
        if self.openvpn is not None:
            self.openvpn.disconnect()

    def kill(self) -> None:
        """The machine dies."""
        self.kill_sidecar()
        self.openvpn = None
        self.vip = False

    def set_vip(self, present: bool) -> None:
        """The VIP arrives or leaves."""
        if self.vip != present:
            self.vip = present
            self.step(lambda node, now: node.vip_changed(INSTANCE, present, now))

    # The shell.

    def connect(self) -> None:
        """Connect the sidecar to OpenVPN, if both are there."""
        if self.node is None or self.openvpn is None:
            return
        self._connection += 1
        self.openvpn.connect()
        self.step(lambda node, now: node.management_up(INSTANCE, now))
        self.pump()

    def _disconnect(self, reason: str) -> None:
        self._connection += 1
        if self.openvpn is not None:
            self.openvpn.disconnect()
        self.step(lambda node, now: node.management_down(INSTANCE, reason, now))

    def step(self, event: Callable[[Node, float], object]) -> None:
        """Let the core take an event, and carry out what follows."""
        if self.node is None:
            return
        event(self.node, self.world.now)
        while (output := self.node.next_output()) is not None:
            self.outputs.append(output)
            self._carry_out(output)
        self._rearm()

    def _carry_out(self, output: Output) -> None:
        match output:
            case WriteManagement(data=data):
                delay = self.world.local() + self.busy
                self.world.later(delay, self._write, self._connection, data)
            case CloseManagement():
                self.world.later(0.0, self._disconnect, "closing")
                self.world.later(0.02, self.connect)
            case OpenvpnFound():
                self.found.append(output)
            case SendDatagram(data=data):
                self.world.broadcast(self, data)
            case SetGrade():
                self.grades.append(output)
            case Remember(what=what):
                self.memory = what
            case RoleChanged():
                self.roles.append(output)
            case LogEvent():
                self.logs.append(output)

    def _rearm(self) -> None:
        assert self.node is not None
        self._timer += 1
        when = self.node.get_timer()
        if when is not None:
            self.world.later(max(0.0, when - self.world.now), self._timer_due, self._timer)

    def _timer_due(self, number: int) -> None:
        if number == self._timer and self.node is not None:
            self.step(lambda node, now: node.handle_timer(now))
            due = self.node.get_timer()
            assert due is None or due > self.world.now, "time has passed and nothing was done"

    def _write(self, connection: int, data: bytes) -> None:
        if connection == self._connection and self.openvpn is not None:
            self.openvpn.receive(data)
            self.pump()

    def pump(self) -> None:
        """What OpenVPN has said travels to the sidecar, cut anywhere."""
        data = self.openvpn.take_output() if self.openvpn is not None else b""
        if not data:
            return
        cut = self.world.rng.randrange(len(data) + 1)
        delay = self.world.local()
        for piece in (data[:cut], data[cut:]):
            self.world.later(delay, self._read, self._connection, piece)

    def _read(self, connection: int, data: bytes) -> None:
        if connection == self._connection and data:
            self.step(lambda node, now: node.receive_management(INSTANCE, data, now))

    # What a test asks.

    @property
    def figures(self) -> InstanceStatistics:
        """The statistics of the instance."""
        assert self.node is not None
        return self.node.statistics(self.world.now).instances[0]

    @property
    def told_problems(self) -> tuple[str, ...]:
        """The problems of the instance, as they are shown."""
        return tuple(map(str, self.figures.problems))

    def plays(self, role: Role) -> bool:
        """Whether the instance has this role."""
        return self.figures.role is role

    @property
    def grade(self) -> int:
        """The grade last given to the VIP manager."""
        return self.grades[-1].grade

    @property
    def in_sync(self) -> bool:
        """Whether this standby says that it is in sync."""
        return self.figures.sync is Sync.IN_SYNC

    def logged(self, event: str) -> list[LogEvent]:
        """The log events with this phrase."""
        return [one for one in self.logs if one.event == event]


class World:
    """All nodes, and the time."""

    def __init__(self, seed: int = 0, network: Network | None = None) -> None:
        self.rng = random.Random(seed)  # noqa: S311 - a test's dice
        self.network = network or Network()
        self.now = 1000.0
        self.nodes: dict[str, ModelNode] = {}
        self._queue: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._order = itertools.count()

    def add(self, name: str, *, start: bool = True, **options: object) -> ModelNode:
        """A machine; its OpenVPN and its sidecar are started unless told otherwise."""
        config = InstanceConfig(INSTANCE, ("192.0.2.10",))
        known = {key: options.pop(key) for key in list(options) if hasattr(config, key)}
        one = ModelNode(self, name, replace(config, **known))  # type: ignore[arg-type]
        self.nodes[name] = one
        if start:
            one.start()
            one.start_openvpn(**options)
        return one

    def later(self, delay: float, action: Callable[..., None], *arguments: object) -> None:
        """Do this after a while."""
        item = (self.now + delay, next(self._order), action, arguments)
        heapq.heappush(self._queue, item)

    def local(self) -> float:
        """How long bytes need to the process next door: always the same, so they stay in order."""
        return 0.0001

    def broadcast(self, sender: ModelNode, data: bytes) -> None:
        """A datagram on the back channel."""
        if self.network.keep(sender.name, data):
            return
        for one in self.nodes.values():
            if one is sender or not (one.reachable and sender.reachable):
                continue
            copies = 1 + (self.rng.random() < self.network.repeat)
            for _ in range(copies):
                if self.rng.random() >= self.network.loss:
                    delay = self.network.delay + self.rng.random() * self.network.jitter
                    self.later(delay, self._deliver, one, data)

    def _deliver(self, receiver: ModelNode, data: bytes) -> None:
        receiver.step(lambda node, now: node.receive_datagram(data, LINK, now))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while self._queue and self._queue[0][0] <= end:
            self._next()
        self.now = end

    def run_until(self, condition: Callable[[], bool], limit: float = 30.0) -> float:
        """Let time pass until this holds; returns how long it took."""
        begin = self.now
        while not condition():
            assert self._queue, "nothing will ever happen"
            assert self.now - begin < limit, "it did not happen in time"
            self._next()
        return self.now - begin

    def _next(self) -> None:
        self.now, _, action, arguments = heapq.heappop(self._queue)
        action(*arguments)

    def move_vip(self, name: str | None) -> None:
        """The VIP manager moves the VIP: it leaves first, then arrives."""
        for one in self.nodes.values():
            if one.name != name:
                one.set_vip(False)
        if name is not None:
            self.nodes[name].set_vip(True)

    def same_tables(self, *names: str) -> bool:
        """Whether these OpenVPNs hold the same clients, generations and keys."""
        tables = [one.table() for one in map(self._openvpn, names)]
        return all(table == tables[0] for table in tables)

    def _openvpn(self, name: str) -> ModelOpenvpn:
        openvpn = self.nodes[name].openvpn
        assert openvpn is not None
        return openvpn
