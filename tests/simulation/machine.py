"""One machine: a sidecar, and for each of its instances an OpenVPN and a keepalived.

Each is a process that can die or stop. The sidecar is the real core of a node; what is here does
for it what its shell does, in virtual time. Every socket is a place where things wait while their
reader is stopped.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from ovpnha.model import BootId, NodeName
from ovpnha.node.config import InstanceConfig, NodeConfig
from ovpnha.node.memory import Memory
from ovpnha.node.node import Node
from ovpnha.node.outputs import (
    CloseManagement,
    LogEvent,
    Output,
    Remember,
    RoleChanged,
    RunFence,
    SendDatagram,
    SetGrade,
    WriteManagement,
)
from ovpnha.replication.config import ReplicationConfig
from tests.simulation.clock import Inbox
from tests.simulation.fences import MachineFence
from tests.simulation.server import CONNECT_RETRY, Server
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
        self.clock = cluster.clock
        self.index = index
        self.name = f"n{index}"
        self.rng = random.Random(cluster.rng.randbytes(8))  # noqa: S311 - a test's dice
        self.alive = False
        self.node: WatchedNode | None = None
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
            inboxes += [server.openvpn_inbox, server.keepalived.inbox]
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
                *(one.instance, one.service.vip),
                held_max=self.cluster.held_max,
                fence=self.fence.policy,
                fence_unknown_waits=self.fence.unknown_waits,
            )
            for one in self.servers
        )
        boot, now = BootId(self.rng.randbytes(16)), self.clock.now
        self.sidecar_inbox.clear()
        self.fence.begin()
        self.node = WatchedNode(
            NodeConfig(replication, instances),
            boot=boot,
            random=self.rng.randbytes,
            now=now,
            memories={one.instance: Memory(one.memory, one.vouched_until) for one in self.servers},
        )
        self.node.heard = {one.instance: Heard() for one in self.servers}
        self.node.words = {}
        self.node.truths = {one.instance: one.service.truth for one in self.servers}
        self.cluster.defect.plant(self.node)
        for server in self.servers:
            server.tell_vip(server.vip)
        for link in self.cluster.links_down(self.name):
            self.step(lambda node, now, link=link: node.link_changed(link, False, now))  # type: ignore[misc]
        for server in self.servers:
            server.connect_later(self.rng.random() * CONNECT_RETRY)

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
        self.node = None
        for server in self.servers:
            server.vouched_until = self.clock.now
        self._timer += 1
        self.sidecar_inbox.clear()
        for server in self.servers:
            server.close()

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

    def step(self, event: Callable[[Node, float], object]) -> None:
        """Let the core take an event, and carry out what follows."""
        if self.node is None:
            return
        event(self.node, self.clock.now)
        while (output := self.node.next_output()) is not None:
            self._carry_out(output)
        self._rearm()

    def _carry_out(self, output: Output) -> None:
        match output:
            case WriteManagement(instance=instance, data=data):
                promotes = b"cluster-promote" in data and self.node is not None
                seeds = self.node.heard[instance].copy() if promotes and self.node else None
                if promotes:
                    self.fence.judge_promotion(self._server(instance))
                self._server(instance).write(data, seeds)
            case CloseManagement(instance=instance, reason=reason):
                self._server(instance).close_broken(reason)
            case SendDatagram(data=data, link=link):
                self.cluster.send(self, data, link)
            case SetGrade(instance=instance, grade=grade, reason=reason):
                self._server(instance).set_grade(grade, reason)
            case Remember(instance=instance, what=what):
                self._server(instance).memory = what
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
