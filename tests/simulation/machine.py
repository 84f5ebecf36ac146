"""One machine: a sidecar, and for each of its instances OpenVPN, once or twice, and a keepalived.

Each is a process that can die or stop. The sidecar is the real core of a node; what is here does
for it what its shell does, in virtual time. Every socket is a place where things wait while their
reader is stopped.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from ovpnha.machines import Process
from ovpnha.model import BootId, InstanceName, NodeName
from ovpnha.node.config import InstanceConfig, NodeConfig
from ovpnha.node.memory import Memory
from ovpnha.node.node import Node
from ovpnha.node.outputs import (
    CloseManagement,
    EndProcess,
    LogEvent,
    Output,
    PassDescriptors,
    Remember,
    RoleChanged,
    RunFence,
    SendDatagram,
    SetGrade,
    WriteManagement,
)
from ovpnha.node.pair import Pair, spare_config
from ovpnha.replication.config import ReplicationConfig
from tests.simulation.clock import Clock, Inbox
from tests.simulation.fences import MachineFence
from tests.simulation.process import CONNECT_RETRY
from tests.simulation.server import Server
from tests.simulation.truth import Heard, WatchedNode

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster

REPORT_INTERVAL = 1.0
SPINS_LIMIT = 50
"""Most times that a timer may be due at one moment."""


class Machine:
    """One node of the cluster, as hardware."""

    def __init__(self, cluster: Cluster, index: int) -> None:
        self.cluster = cluster
        self.clock: Clock = cluster.clock
        self.index = index
        self.name = f"n{index}"
        self.rng = random.Random(cluster.rng.randbytes(8))  # noqa: S311 - a test's dice
        self.spares = cluster.schedule.spares_of(index)
        self.spare_rng = random.Random(f"{cluster.schedule.seed} {index}")  # noqa: S311
        self.alive = False
        self.node: Node | Pair | None = None
        self.cores: dict[Process, WatchedNode] = {}
        self.paused_until = 0.0  # an administrator has the sidecar watch only
        self.sidecar_inbox = Inbox(self.rng)
        self.disturbed = 0.0  # when something last happened that takes a moment to settle
        self.servers: list[Server] = []
        self.fence = MachineFence(self)
        self._timer = 0
        self._spins = 0
        self._spun_at = 0.0

    def boot(self) -> None:
        """Everything starts."""
        self.alive = True
        for server in self.servers:
            server.boot()
        self.start_sidecar()
        for server in self.servers:
            server.keepalived.start()

    def crash(self) -> None:
        """The power is gone."""
        self.kill_sidecar()
        for server in self.servers:
            server.lose_power()
        self.alive = False
        for server in self.servers:
            server.set_vip()

    def _inboxes(self) -> list[Inbox]:
        inboxes = [self.sidecar_inbox]
        for server in self.servers:
            inboxes += [*(one.inbox for one in server.processes), server.keepalived.inbox]
        return inboxes

    def stop_all(self) -> None:
        """A virtual machine is frozen."""
        for inbox in self._inboxes():
            inbox.stop()

    def go_on_all(self) -> None:
        """It thaws: its processes wake in any order."""
        inboxes = self._inboxes()
        self.rng.shuffle(inboxes)
        for inbox in inboxes:
            self.wake(inbox)

    def wake(self, inbox: Inbox) -> None:
        """SIGCONT for one process."""
        self.disturb()
        inbox.go_on()
        for server in self.servers:
            server.pump()

    def disturb(self) -> None:
        """Something happens here that takes a moment to settle."""
        self.disturbed = self.clock.now

    def configure(self, digest: str) -> None:
        """Every OpenVPN gets other options."""
        for server in self.servers:
            server.configure(digest)

    # The sidecar and its shell.

    def start_sidecar(self) -> None:
        """The sidecar starts, with a new boot."""
        if self.node is not None:
            return
        self.disturb()
        replication = ReplicationConfig(
            "office",
            NodeName(self.name),
            self.cluster.key_rollout.keys(self.index),
            tuple(self.cluster.links),
        )
        instances = tuple(
            InstanceConfig(
                *(one.instance, (one.service.vip,)),
                held_max=self.cluster.held_max,
                fence=self.fence.policy,
                fence_unknown_waits=self.fence.unknown_waits,
            )
            for one in self.servers
        )
        self.sidecar_inbox.clear()
        self.fence.begin()
        config = NodeConfig(replication, instances)
        main = self._make_core(Process.MAIN, config)
        self.cores = {Process.MAIN: main}
        self.node = main
        if self.spares is not None:
            names = {one.instance for one in self.servers}
            spare = self._make_core(Process.SPARE, spare_config(config, names))
            self.cores[Process.SPARE] = spare
            self.node = Pair(main, spare, self.clock.now, self.cluster.links[0])
            for slot in self.node._slots.values():
                self.cluster.defect.plant_slot(slot)
        for server in self.servers:
            server.tell_vip(server.vip)
        for link in self.cluster.links_down(self.name):
            self.step(lambda node, now, link=link: node.link_changed(link, False, now))  # type: ignore[misc]
        for server in self.servers:
            server.connect_later(self.rng.random() * CONNECT_RETRY)

    def _make_core(self, process: Process, config: NodeConfig) -> WatchedNode:
        """What decides for the main processes, or for the spares."""
        rng = self.rng if process is Process.MAIN else self.spare_rng
        core = WatchedNode(
            config,
            boot=BootId(rng.randbytes(16)),
            random=rng.randbytes,
            now=self.clock.now,
            memories={
                one.instance: Memory(one.process(process).memory, one.vouched_until)
                for one in self.servers
            },
        )
        core.heard = {one.instance: Heard() for one in self.servers}
        core.words = {}
        core.truths = {one.instance: one.service.truth for one in self.servers}
        self.cluster.defect.plant(core)
        return core

    def stop_sidecar(self) -> None:
        """The sidecar ends in good order."""
        if not self.sidecar_inbox.stopped:
            self.step(lambda node, now: node.stop(now))
        self.kill_sidecar()

    def kill_sidecar(self) -> None:
        """The sidecar dies; OpenVPN goes on."""
        if self.node is None:
            return
        self.disturb()
        self.node, self.cores = None, {}
        self.paused_until = 0.0
        for server in self.servers:
            server.vouched_until = self.clock.now
        self._timer += 1
        self.sidecar_inbox.clear()
        for server in self.servers:
            for one in server.processes:
                one.forget_sidecar()

    def to_sidecar(self, source: str, action: Callable[[], None]) -> None:
        """Something arrives at the sidecar."""
        if self.node is not None:
            self.sidecar_inbox.put(source, action)

    def hear(self, link: str) -> Callable[[bytes], None]:
        """What takes datagrams of this link."""

        def deliver(data: bytes) -> None:
            self.to_sidecar(
                f"link {link}",
                lambda: self.step(lambda node, now: node.receive_datagram(data, link, now)),
            )

        return deliver

    def tell_pair(self, event: Callable[[Pair, float], object]) -> None:
        """What only the core of two processes is told."""
        node = self.node
        if isinstance(node, Pair):
            self.step(lambda _node, now: event(node, now))

    def serving(self, instance: InstanceName) -> Process:
        """Which of the two processes the VIP of this machine is for, as the sidecar has it."""
        node = self.node
        return node.serving(instance) if isinstance(node, Pair) else Process.MAIN

    def step(self, event: Callable[[Node | Pair, float], object]) -> None:
        """Let the core take an event, and carry out what follows."""
        if self.node is None:
            return
        event(self.node, self.clock.now)
        while (output := self.node.next_output()) is not None:
            self._carry_out(output)
        self._rearm()

    def _carry_out(self, output: Output) -> None:
        match output:
            case WriteManagement(instance=instance, data=data, process=process):
                promotes = b"cluster-promote" in data
                seeds = self.cores[process].heard[instance].copy() if promotes else None
                if promotes:
                    self.fence.judge_promotion(self._server(instance), process)
                self._server(instance).process(process).write(data, seeds)
            case PassDescriptors(instance=instance, target=process, data=data):
                self._server(instance).process(process).write(data)
            case EndProcess(instance=instance, process=process, reason=reason):
                self.cluster.note(self.name, f"the {process} process is ended: {reason}")
                self._server(instance).process(process).end()
            case CloseManagement(instance=instance, reason=reason, process=process):
                self._server(instance).process(process).close_broken(reason)
            case SendDatagram(data=data, link=link):
                self.cluster.send(self, data, link)
            case SetGrade(instance=instance, grade=grade, reason=reason):
                self._server(instance).set_grade(grade, reason)
            case Remember(instance=instance, what=what, process=process):
                self._server(instance).process(process).memory = what
            case RoleChanged(instance=instance, old=old, new=new, epoch=epoch, reason=reason):
                text = f"{old.value} -> {new.value} in {epoch}: {reason}"
                self._server(instance).note(text)
            case RunFence():
                self.fence.ask(output)
            case LogEvent(level=level, event=event, fields=fields):
                if level != "debug":
                    self.cluster.note(self.name, f"{level} {event}", fields)
            case _:
                pass

    def _server(self, instance: str) -> Server:
        return next(one for one in self.servers if one.instance == instance)

    def _rearm(self) -> None:
        if self.node is None:
            return
        self._timer += 1
        when = self.node.get_timer()
        if when is not None:
            number, delay = self._timer, max(0.0, when - self.clock.now)
            self.clock.later(delay, self.to_sidecar, "timer", lambda: self._timer_due(number))

    def _timer_due(self, number: int) -> None:
        if number != self._timer:
            return
        self._spins = self._spins + 1 if self.clock.now == self._spun_at else 0
        self._spun_at = self.clock.now
        if self._spins > SPINS_LIMIT:
            raise RuntimeError(f"{self.name}: the timer is always due")
        self.step(lambda node, now: node.handle_timer(now))
