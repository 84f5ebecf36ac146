"""One machine: OpenVPN, sidecar and keepalived, each a process that can die or stop.

The sidecar is the real core of a node; what is here does for it what its shell does, in virtual
time. Every socket is a place where things wait while their reader is stopped.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from ovpnha.coordinator.config import InstanceConfig, NodeConfig
from ovpnha.coordinator.node import Node
from ovpnha.coordinator.outputs import (
    CloseManagement,
    InstanceStatistics,
    LogEvent,
    Output,
    RoleChanged,
    SendDatagram,
    SetGrade,
    WriteManagement,
)
from ovpnha.model import BootId, InstanceName, NodeName, Role
from ovpnha.replication.config import ReplicationConfig
from tests.simulation.clock import Inbox
from tests.simulation.keepalived import Keepalived
from tests.simulation.network import FRONT
from tests.simulation.rollout import USUAL
from tests.simulation.truth import Heard, WatchedNode, WatchedOpenvpn

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster

INSTANCE = InstanceName("udp")
SOCKET_DELAY = 0.0001
NETLINK_DELAY = 0.0003
RECONNECT_DELAY = 0.02
CONNECT_RETRY = 0.2
REPORT_INTERVAL = 1.0
SPINS_LIMIT = 50
"""Most times that a timer may be due at one moment."""


class Machine:
    """One node of the cluster, as hardware."""

    def __init__(self, cluster: Cluster, index: int, priority: int) -> None:
        self.cluster = cluster
        self.clock = cluster.clock
        self.index = index
        self.name = f"n{index}"
        self.rng = random.Random(cluster.rng.randbytes(8))  # noqa: S311 - a test's dice
        self.alive = False
        self.node: WatchedNode | None = None
        self.openvpn: WatchedOpenvpn | None = None
        self.sidecar_inbox = Inbox(self.rng)
        self.openvpn_inbox = Inbox(self.rng)
        self.keepalived = Keepalived(self.clock, self, priority, Inbox(self.rng))
        self.vip = False
        self.vip_since = 0.0
        self.disturbed = 0.0  # when something last happened that takes a moment to settle
        self._vip_wanted = {"keepalived": False, "hand": False}
        self.vip_cut = False
        self._grade = 0
        self._touched = 0.0
        self._connection = 0  # counts; both ends of a closed one see another number
        self._accepted = 0
        self._timer = 0
        self._spins = 0
        self._spun_at = 0.0
        self.last_claim = 0.0
        self._digest = USUAL

    # The machine.

    def boot(self) -> None:
        """Everything starts."""
        self.alive = True
        self._grade, self._touched = 0, self.clock.now
        self.keepalived.inbox.clear()
        self.start_openvpn()
        self.start_sidecar()
        self.keepalived.start()

    def crash(self) -> None:
        """The power is gone."""
        self.kill_sidecar()
        self.kill_openvpn()
        self.keepalived.die()
        self.alive = False
        self._vip_wanted = dict.fromkeys(self._vip_wanted, False)
        self.vip_cut = False
        self._set_vip()

    def stop_all(self) -> None:
        """A virtual machine is frozen."""
        for inbox in (self.sidecar_inbox, self.openvpn_inbox, self.keepalived.inbox):
            inbox.stop()

    def go_on_all(self) -> None:
        """It thaws: its processes wake in any order."""
        inboxes = [self.sidecar_inbox, self.openvpn_inbox, self.keepalived.inbox]
        self.rng.shuffle(inboxes)
        for inbox in inboxes:
            self.wake(inbox)

    def wake(self, inbox: Inbox) -> None:
        """SIGCONT for one process."""
        self.disturb()
        inbox.go_on()
        self._pump()

    def disturb(self, seconds: float = 0.0) -> None:
        """Something happens here that takes a moment to settle."""
        self.disturbed = max(self.disturbed, self.clock.now + seconds)

    # The VIP.

    def hold_vip(self, present: bool) -> None:
        """What keepalived wants."""
        self.want_vip("keepalived", present)

    def want_vip(self, who: str, present: bool) -> None:
        """Someone adds the address or takes it away."""
        if present and not self._vip_wanted[who]:
            self.last_claim = self.clock.now
        self._vip_wanted[who] = present
        self._set_vip()

    def cut_vip(self, cut: bool) -> None:
        """Somebody removes the address without telling anyone, or puts it back."""
        self.vip_cut = cut
        self._set_vip()

    def _set_vip(self) -> None:
        present = self.alive and any(self._vip_wanted.values()) and not self.vip_cut
        if present == self.vip:
            return
        self.vip, self.vip_since = present, self.clock.now
        self.disturb()
        self.cluster.note(self.name, "VIP arrives" if present else "VIP leaves")
        self.cluster.vip_moved = self.clock.now
        self.clock.later(NETLINK_DELAY, self._tell_vip, present)

    def _tell_vip(self, present: bool) -> None:
        self.sidecar_inbox.put(
            "netlink", lambda: self.step(lambda node, now: node.vip_changed(INSTANCE, present, now))
        )

    def track_file(self) -> tuple[int, float]:
        """The grade, and the age of the file."""
        if self.node is not None and not self.sidecar_inbox.stopped:
            self._touched = self.clock.now
        return self._grade, self.clock.now - self._touched

    def advertise(self, priority: int) -> None:
        """keepalived says its priority to all others."""
        for other in self.cluster.machines:
            if other is not self and self.cluster.network.passes(FRONT, self.name, other.name):
                self.clock.later(0.0005, other.keepalived.hear, self.index, priority)

    # OpenVPN.

    def start_openvpn(self) -> None:
        """OpenVPN starts, as standby."""
        if self.openvpn is not None:
            return
        self.disturb()
        kind = self.cluster.defect.openvpn
        openvpn = kind(self.rng, round_size=self.cluster.round_size, digest=self._digest)
        openvpn.truth, openvpn.who, openvpn.waits_since = self.cluster.truth, self.name, {}
        openvpn.world, openvpn.handshakes = self.cluster.handshakes, {}
        openvpn.key_kind = self.cluster.defect.key
        self.openvpn = openvpn
        self.openvpn_inbox.clear()
        self.cluster.clients.forget_process(self)

    def configure(self, digest: str) -> None:
        """OpenVPN gets other options, and starts anew with them if it runs."""
        if digest == self._digest:
            return
        self._digest = digest
        self.cluster.note(self.name, f"options {digest}")
        if self.openvpn is not None:
            self.kill_openvpn()
            self.start_openvpn()

    def kill_openvpn(self) -> None:
        """The process dies, and its sockets with it."""
        if self.openvpn is None:
            return
        self.disturb()
        self.openvpn.dead = True
        self.openvpn = None
        self.openvpn_inbox.clear()
        self._hang_up("closed by openvpn")

    def _hang_up(self, reason: str) -> None:
        """OpenVPN's end of the connection is closed."""
        number, self._accepted = self._connection, 0
        self.clock.later(
            SOCKET_DELAY, self._to_sidecar, "mgmt", lambda: self._be_down(number, reason)
        )

    def break_management(self) -> None:
        """OpenVPN closes the connection in mid-line, and lives on."""
        if self.openvpn is None or not self._accepted:
            return
        self.disturb()
        number = self._connection
        piece = b">CLUSTER:CHANGED,00112233"
        self.clock.later(SOCKET_DELAY, self._to_sidecar, "mgmt", lambda: self._read(number, piece))
        self.openvpn.disconnect()
        self._hang_up("closed by openvpn")

    def serving(self) -> WatchedOpenvpn | None:
        """The OpenVPN that would answer a client here."""
        if self.openvpn is None or not self.vip or self.openvpn_inbox.stopped:
            return None
        return self.openvpn if self.openvpn.plays(Role.MASTER) else None

    def report(self) -> None:
        """OpenVPN's second has passed."""
        if self.openvpn is not None and not self.openvpn_inbox.stopped:
            if self.openvpn.plays(Role.MASTER) and self.openvpn.clients:
                self.openvpn.report(self.rng.choice(["HW", "HW", "BYTES"]))
                self.openvpn.lose_patience()
            self._pump()

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
        instance = InstanceConfig(INSTANCE, "192.0.2.10", held_max=self.cluster.held_max)
        boot, now = BootId(self.rng.randbytes(16)), self.clock.now
        config = NodeConfig(replication, (instance,))
        self.sidecar_inbox.clear()
        self.node = WatchedNode(config, boot=boot, random=self.rng.randbytes, now=now)
        self.node.heard, self.node.truth = Heard(), self.cluster.truth
        self.cluster.defect.plant(self.node)
        present = self.vip
        self.step(lambda node, now: node.vip_changed(INSTANCE, present, now))
        for link in self.cluster.links_down(self.name):
            self.step(lambda node, now, link=link: node.link_changed(link, False, now))  # type: ignore[misc]
        self._connect_later(self.rng.random() * CONNECT_RETRY)

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
        self._timer += 1
        self.sidecar_inbox.clear()
        self._close()

    def _close(self) -> None:
        """The sidecar's end of the connection is closed."""
        number, self._connection = self._connection, self._connection + 1
        self.clock.later(SOCKET_DELAY, self._to_openvpn, lambda: self._accept_end(number))

    def _accept_end(self, number: int) -> None:
        if self.openvpn is not None and self._accepted == number:
            self._accepted = 0
            self.openvpn.disconnect()

    def _connect_later(self, delay: float) -> None:
        node = self.node
        self.clock.later(
            delay, self._to_sidecar, "timer", lambda: self._connect() if self.node is node else None
        )

    def _connect(self) -> None:
        if self.openvpn is None:
            self._connect_later(CONNECT_RETRY)
            return
        self.disturb()
        self._connection += 1
        number, openvpn = self._connection, self.openvpn
        self.clock.later(SOCKET_DELAY, self._to_openvpn, lambda: self._accept(number, openvpn))
        self.step(lambda node, now: node.management_up(INSTANCE, now))

    def _accept(self, number: int, openvpn: WatchedOpenvpn) -> None:
        if self.openvpn is openvpn:
            self._accepted = number
            openvpn.connect()
            self._pump()

    def _be_down(self, number: int, reason: str) -> None:
        if number == self._connection:
            self.disturb()
            self._connection += 1
            self.step(lambda node, now: node.management_down(INSTANCE, reason, now))
            self._connect_later(RECONNECT_DELAY)

    def _to_sidecar(self, source: str, action: Callable[[], None]) -> None:
        if self.node is not None:
            self.sidecar_inbox.put(source, action)

    def _to_openvpn(self, action: Callable[[], None]) -> None:
        if self.openvpn is not None:
            self.openvpn_inbox.put("mgmt", action)

    def hear(self, link: str) -> Callable[[bytes], None]:
        """What takes datagrams of this link."""

        def deliver(data: bytes) -> None:
            self._to_sidecar(
                f"link {link}",
                lambda: self.step(lambda node, now: node.receive_datagram(data, link, now)),
            )

        return deliver

    def step(self, event: Callable[[Node, float], None]) -> None:
        """Let the core take an event, and carry out what follows."""
        if self.node is None:
            return
        event(self.node, self.clock.now)
        while (output := self.node.next_output()) is not None:
            self._carry_out(output)
        self._rearm()

    def _carry_out(self, output: Output) -> None:
        match output:
            case WriteManagement(data=data):
                self._write(data)
            case CloseManagement(reason=reason):
                if not self._hangs:
                    text = f"{self.name}: {reason}"
                    self.cluster.truth.violate("management channel broken", text)
                self._close()
                self.clock.later(0.0, self._be_down, self._connection, "closing")
            case SendDatagram(data=data, link=link):
                self.cluster.send(self, data, link)
            case SetGrade(grade=grade, reason=reason):
                self.cluster.note(self.name, f"grade {grade}: {reason}")
                self._grade = grade
                self.clock.later(NETLINK_DELAY, self.keepalived.grade_changed)
            case RoleChanged(old=old, new=new, epoch=epoch, reason=reason):
                self.cluster.note(self.name, f"{old.value} -> {new.value} in {epoch}: {reason}")
            case LogEvent(level=level, event=event, fields=fields):
                if level != "debug":
                    self.cluster.note(self.name, f"{level} {event}", fields)
            case _:
                pass

    def _write(self, data: bytes) -> None:
        number, seeds = self._connection, None
        if b"cluster-promote" in data and self.node is not None:
            seeds = self.node.heard.copy()
        self.clock.later(SOCKET_DELAY, self._to_openvpn, lambda: self._take(number, data, seeds))

    def _take(self, number: int, data: bytes, seeds: Heard | None) -> None:
        if self.openvpn is not None and number == self._accepted:
            self.openvpn.seeds = seeds or self.openvpn.seeds
            self.openvpn.held_max = self.cluster.held_max
            self.openvpn.receive(data)
            self._pump()

    def _pump(self) -> None:
        """What OpenVPN has said travels to the sidecar, cut anywhere."""
        data = self.openvpn.take_output() if self.openvpn is not None else b""
        if not data or not self._accepted:
            return
        number = self._accepted
        cut = self.rng.randrange(len(data) + 1)
        for piece in (data[:cut], data[cut:]):
            self.clock.later(
                SOCKET_DELAY, self._to_sidecar, "mgmt", lambda one=piece: self._read(number, one)
            )

    @property
    def _hangs(self) -> bool:
        """OpenVPN answers nothing, which is the one good reason to close its channel."""
        return self.openvpn is not None and self.openvpn_inbox.stopped

    def pump(self) -> None:
        """OpenVPN has done something by itself."""
        self._pump()

    def _read(self, number: int, data: bytes) -> None:
        if number == self._connection and data:
            self.step(lambda node, now: node.receive_management(INSTANCE, data, now))

    def _rearm(self) -> None:
        if self.node is None:
            return
        self._timer += 1
        when = self.node.get_timer()
        if when is not None:
            number, delay = self._timer, max(0.0, when - self.clock.now)
            self.clock.later(delay, self._to_sidecar, "timer", lambda: self._timer_due(number))

    def _timer_due(self, number: int) -> None:
        if number != self._timer:
            return
        self._spins = self._spins + 1 if self.clock.now == self._spun_at else 0
        self._spun_at = self.clock.now
        if self._spins > SPINS_LIMIT:
            raise RuntimeError(f"{self.name}: the timer is always due")
        self.step(lambda node, now: node.handle_timer(now))

    # What a check asks.

    @property
    def figures(self) -> InstanceStatistics:
        """The statistics of the instance."""
        assert self.node is not None
        return self.node.statistics(self.clock.now).instances[0]

    @property
    def grade(self) -> int:
        """The grade in the track file."""
        return self._grade

    @property
    def undisturbed(self) -> float:
        """Seconds since anything happened here, 0.0 while a process is missing or stopped."""
        if self.node is None or self.openvpn is None or not self._accepted:
            return 0.0
        if self.sidecar_inbox.stopped or self.openvpn_inbox.stopped:
            return 0.0
        return self.clock.now - self.disturbed
