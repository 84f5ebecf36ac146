"""One OpenVPN of a machine, with its VIP and its keepalived: one instance of the sidecar.

Several of them may run on one machine. They share its sidecar and its power, and nothing else: each
has a VIP of its own, and may be master where another is standby.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from ovpnha.model import Role
from ovpnha.node.memory import Remembered
from ovpnha.node.statistics import InstanceStatistics
from tests.model_openvpn import Told
from tests.simulation.clock import Inbox
from tests.simulation.keepalived import Keepalived
from tests.simulation.network import FRONT
from tests.simulation.rollout import USUAL
from tests.simulation.truth import Heard, WatchedOpenvpn

if TYPE_CHECKING:
    from tests.simulation.machine import Machine
    from tests.simulation.service import Service

SOCKET_DELAY = 0.0001
NETLINK_DELAY = 0.0003
RECONNECT_DELAY = 0.02
CONNECT_RETRY = 0.2
STALE_AFTER = 4.0
SERVING = 120
WORK = (b"cluster-export", b"cluster-import")
"""What takes an OpenVPN a while."""


class Server:
    """One instance on one machine."""

    def __init__(self, service: Service, machine: Machine, priority: int) -> None:
        self.service = service
        self.machine = machine
        self.cluster = machine.cluster
        self.clock = machine.clock
        self.index = machine.index
        self.instance = service.instance
        self.host = machine.name
        self.name = service.label(machine.name)
        self.rng = random.Random(machine.cluster.rng.randbytes(8))  # noqa: S311 - a test's dice
        self.openvpn: WatchedOpenvpn | None = None
        self.openvpn_inbox = Inbox(self.rng)
        self.keepalived = Keepalived(self.clock, self, priority, Inbox(self.rng))
        self.vip = False
        self.vip_since = 0.0
        self.disturbed = 0.0  # when something last happened that takes a moment to settle
        self._vip_wanted = {"keepalived": False, "hand": False}
        self.memory: Remembered | None = None  # what a sidecar of this host has left to the next
        self.vouched_until = 0.0  # when the last one ended
        self.vip_cut = False
        self.last_claim = 0.0
        self._grade = 0
        self._touched = 0.0
        self._vouched: WatchedOpenvpn | None = None  # the one that the grade speaks of
        self._busy_until = 0.0  # when OpenVPN has done what it was told
        self._connection = 0  # counts; both ends of a closed one see another number
        self._accepted = 0
        self._digest = USUAL

    # With the machine.

    def boot(self) -> None:
        """The machine starts."""
        self._grade, self._touched = 0, self.clock.now
        self.keepalived.inbox.clear()
        self.start_openvpn()

    def lose_power(self) -> None:
        """The machine is off."""
        self.kill_openvpn()
        self.keepalived.die()
        self._vip_wanted = dict.fromkeys(self._vip_wanted, False)
        self.vip_cut = False

    @property
    def alive(self) -> bool:
        """Whether the machine is on."""
        return self.machine.alive

    def wake(self, inbox: Inbox) -> None:
        """SIGCONT for one process."""
        self.disturb()
        inbox.go_on()
        self.pump()

    def disturb(self, seconds: float = 0.0) -> None:
        """Something happens here that takes a moment to settle."""
        self.disturbed = max(self.disturbed, self.clock.now + seconds)

    def note(self, what: str) -> None:
        """A line of the trace."""
        self.cluster.note(self.name, what)

    # The VIP.

    def hold_vip(self, present: bool) -> None:
        """What keepalived wants."""
        self.want_vip("keepalived", present)

    def want_vip(self, who: str, present: bool) -> None:
        """Someone adds the address or takes it away."""
        if present and not self._vip_wanted[who]:
            self.last_claim = self.clock.now
        self._vip_wanted[who] = present
        self.set_vip()

    def cut_vip(self, cut: bool) -> None:
        """Somebody removes the address without telling anyone, or puts it back."""
        self.vip_cut = cut
        self.set_vip()

    def set_vip(self) -> None:
        """The address is there, or not."""
        present = self.alive and any(self._vip_wanted.values()) and not self.vip_cut
        if present == self.vip:
            return
        self.vip, self.vip_since = present, self.clock.now
        self.disturb()
        self.note("VIP arrives" if present else "VIP leaves")
        self.cluster.vip_moved = self.clock.now
        self.clock.later(NETLINK_DELAY, self._tell_vip, present)

    def _tell_vip(self, present: bool) -> None:
        self.machine.sidecar_inbox.put("netlink", lambda: self.tell_vip(present))

    def tell_vip(self, present: bool) -> None:
        """The sidecar sees the address."""
        self.machine.step(lambda node, now: node.vip_changed(self.instance, present, now))

    def track_file(self) -> tuple[int, bool]:
        """The grade, and whether it counts, as deploy/keepalived/check-grade judges it."""
        if self.machine.node is not None and not self.machine.sidecar_inbox.stopped:
            self._touched = self.clock.now
            self._vouched = self.openvpn if self._accepted else None
        if self._vouched is not None and self._vouched is not self.openvpn:
            return self._grade, False
        serves = self._vouched is not None and not self.openvpn_inbox.stopped and self.vip
        fresh = self.clock.now - self._touched <= STALE_AFTER
        return self._grade, fresh or (self._grade >= SERVING and serves)

    def set_grade(self, grade: int, reason: str) -> None:
        """The sidecar writes the track file."""
        self.note(f"grade {grade}: {reason}")
        self._grade = grade
        self.clock.later(NETLINK_DELAY, self.keepalived.grade_changed)

    def advertise(self, priority: int) -> None:
        """keepalived says its priority to all others."""
        for other in self.service.servers:
            if other is not self and self.cluster.network.passes(FRONT, self.host, other.host):
                self.clock.later(0.0005, other.keepalived.hear, self.index, priority)

    # OpenVPN.

    def start_openvpn(self) -> None:
        """OpenVPN starts, as standby."""
        if self.openvpn is not None:
            return
        self.disturb()
        kind = self.cluster.defect.openvpn
        openvpn = kind(self.rng, round_size=self.cluster.round_size, told=Told(digest=self._digest))
        openvpn.truth, openvpn.who, openvpn.waits_since = self.service.truth, self.name, {}
        openvpn.world, openvpn.handshakes = self.service.handshakes, {}
        openvpn.key_kind = self.cluster.defect.key
        openvpn.local = self.service.vip
        self.openvpn = openvpn
        self.openvpn_inbox.clear()
        self.service.clients.forget_process(self)

    def configure(self, digest: str) -> None:
        """OpenVPN gets other options, and starts anew with them if it runs."""
        if digest == self._digest:
            return
        self._digest = digest
        self.note(f"options {digest}")
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
        self.clock.later(SOCKET_DELAY, self._to_sidecar, lambda: self._be_down(number, reason))

    def break_management(self) -> None:
        """OpenVPN closes the connection in mid-line, and lives on."""
        if self.openvpn is None or not self._accepted:
            return
        self.disturb()
        number = self._connection
        piece = b">CLUSTER:CHANGED,00112233"
        self.clock.later(SOCKET_DELAY, self._to_sidecar, lambda: self._read(number, piece))
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
                self.openvpn.heal()
            self.pump()

    # The management channel.

    def connect_later(self, delay: float) -> None:
        """The sidecar connects, if it is still the same then."""
        node = self.machine.node

        def run() -> None:
            if self.machine.node is node:
                self._connect()

        self.clock.later(delay, self.machine.to_sidecar, "timer", run)

    def _connect(self) -> None:
        if self.openvpn is None:
            self.connect_later(CONNECT_RETRY)
            return
        self.disturb()
        self._connection += 1
        number, openvpn = self._connection, self.openvpn
        self.clock.later(SOCKET_DELAY, self._to_openvpn, lambda: self._accept(number, openvpn))
        self.machine.step(lambda node, now: node.management_up(self.instance, now))

    def _accept(self, number: int, openvpn: WatchedOpenvpn) -> None:
        if self.openvpn is openvpn:
            self._accepted = number
            openvpn.connect()
            self.pump()

    def close(self) -> None:
        """The sidecar's end of the connection is closed."""
        number, self._connection = self._connection, self._connection + 1
        self.clock.later(SOCKET_DELAY, self._to_openvpn, lambda: self._accept_end(number))

    def close_broken(self, reason: str) -> None:
        """The sidecar gives the connection up: only OpenVPN's silence is a good reason for that."""
        if self.openvpn is None or not self.openvpn_inbox.stopped:
            self.service.truth.violate("management channel broken", f"{self.name}: {reason}")
        self.close()
        self.clock.later(0.0, self._be_down, self._connection, "closing")

    def _accept_end(self, number: int) -> None:
        if self.openvpn is not None and self._accepted == number:
            self._accepted = 0
            self.openvpn.disconnect()

    def _be_down(self, number: int, reason: str) -> None:
        if number == self._connection:
            self.disturb()
            self._connection += 1
            self.machine.step(lambda node, now: node.management_down(self.instance, reason, now))
            self.connect_later(RECONNECT_DELAY)

    def _to_sidecar(self, action: Callable[[], None]) -> None:
        self.machine.to_sidecar(f"mgmt {self.instance}", action)

    def _to_openvpn(self, action: Callable[[], None]) -> None:
        if self.openvpn is not None:
            self.openvpn_inbox.put("mgmt", action)

    def write(self, data: bytes, seeds: Heard | None) -> None:
        """The sidecar writes."""
        number = self._connection
        work = self.cluster.work * sum(data.count(word) for word in WORK)
        self._busy_until = max(self.clock.now + SOCKET_DELAY, self._busy_until) + work
        delay = self._busy_until - self.clock.now
        self.clock.later(delay, self._to_openvpn, lambda: self._take(number, data, seeds))

    def _take(self, number: int, data: bytes, seeds: Heard | None) -> None:
        if self.openvpn is not None and number == self._accepted:
            self.openvpn.seeds = seeds or self.openvpn.seeds
            self.openvpn.held_max = self.cluster.held_max
            self.openvpn.receive(data)
            self.pump()

    def pump(self) -> None:
        """What OpenVPN has said travels to the sidecar, cut anywhere."""
        data = self.openvpn.take_output() if self.openvpn is not None else b""
        if not data or not self._accepted:
            return
        number = self._accepted
        cut = self.rng.randrange(len(data) + 1)
        for piece in (data[:cut], data[cut:]):
            self.clock.later(
                SOCKET_DELAY, self._to_sidecar, lambda one=piece: self._read(number, one)
            )

    def _read(self, number: int, data: bytes) -> None:
        if number == self._connection and data:
            self.machine.step(lambda node, now: node.receive_management(self.instance, data, now))

    # What a check asks.

    @property
    def figures(self) -> InstanceStatistics:
        """The statistics of the instance."""
        assert self.machine.node is not None
        found = self.machine.node.statistics(self.clock.now).instances
        return next(one for one in found if one.name == self.instance)

    @property
    def grade(self) -> int:
        """The grade in the track file."""
        return self._grade

    @property
    def undisturbed(self) -> float:
        """Seconds since anything happened here, 0.0 while a process is missing or stopped."""
        if self.machine.node is None or self.openvpn is None or not self._accepted:
            return 0.0
        if self.machine.sidecar_inbox.stopped or self.openvpn_inbox.stopped:
            return 0.0
        return self.clock.now - max(self.disturbed, self.machine.disturbed)
