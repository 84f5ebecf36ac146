"""The OpenVPN of one instance on a machine, one process or two, with its VIP and its keepalived.

Several of them may run on one machine. They share its sidecar and its power, and nothing else: each
has a VIP of its own, and may be master where another is standby.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from ovpnha.machines import Process, SparePolicy, machine_of
from ovpnha.model import Role
from ovpnha.node.moving import MovePhase, RestartFigures
from ovpnha.node.pair import Pair
from ovpnha.node.statistics import InstanceStatistics, SpareFigures
from tests.simulation.clock import Inbox
from tests.simulation.keepalived import Keepalived
from tests.simulation.network import FRONT
from tests.simulation.process import OpenvpnProcess
from tests.simulation.rollout import USUAL
from tests.simulation.truth import WatchedOpenvpn

if TYPE_CHECKING:
    from tests.simulation.machine import Machine
    from tests.simulation.service import Service

NETLINK_DELAY = 0.0003
STALE_AFTER = 4.0
SERVING = 120


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
        self.digest = USUAL
        self.main = OpenvpnProcess(self, Process.MAIN, self.rng)
        self.spare: OpenvpnProcess | None = None
        self.keepalived = Keepalived(self.clock, self, priority, Inbox(self.rng))
        self.vip = False
        self.vip_since = 0.0
        self.disturbed = 0.0  # when something last happened that takes a moment to settle
        self._vip_wanted = {"keepalived": False, "hand": False}
        self.vouched_until = 0.0  # when the last one ended
        self.vip_cut = False
        self.last_claim = 0.0
        self._grade = 0
        self._touched = 0.0
        self._vouched: WatchedOpenvpn | None = None  # the one that the grade speaks of
        self.demote_asked = False  # and the VIP has not left since
        if machine.spares is not None:
            self.spare = OpenvpnProcess(self, Process.SPARE, machine.spare_rng)
            self.spare.wanted = machine.spares is SparePolicy.ALWAYS

    @property
    def processes(self) -> list[OpenvpnProcess]:
        """All that there are to be."""
        return [self.main, self.spare] if self.spare is not None else [self.main]

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
        self.demote_asked &= present
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
            told = self._told
            self._vouched = told.openvpn if told.connected else None
        if self._vouched is not None and self._vouched.dead:
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

    @property
    def current(self) -> OpenvpnProcess:
        """The process that serves, or would: the main one where there is no other."""
        if self.spare is None:
            return self.main
        masters = [one for one in self.processes if one.plays(Role.MASTER)]
        return masters[0] if masters else self._told

    @property
    def _told(self) -> OpenvpnProcess:
        """The one that has the slot, if there is a sidecar to say so."""
        return self.process(self.machine.serving(self.instance))

    @property
    def openvpn(self) -> WatchedOpenvpn | None:
        """That of the current process."""
        return self.current.openvpn

    @property
    def openvpn_inbox(self) -> Inbox:
        """The same."""
        return self.current.inbox

    def process(self, process: Process) -> OpenvpnProcess:
        """One of the two."""
        return next(one for one in self.processes if one.process is process)

    def start_openvpn(self) -> None:
        """OpenVPN starts, as standby."""
        for one in self.processes:
            one.start()

    def configure(self, digest: str) -> None:
        """OpenVPN gets other options, and starts anew with them if it runs."""
        if digest == self.digest:
            return
        self.digest = digest
        self.note(f"options {digest}")
        running = [one for one in self.processes if one.openvpn is not None]
        for one in running:
            one.kill()
        for one in running:
            one.start()

    def kill_openvpn(self) -> None:
        """The machine's processes die, and their sockets with them."""
        for one in self.processes:
            one.kill()

    def serving(self) -> WatchedOpenvpn | None:
        """The OpenVPN that would answer a client here."""
        current = self.current
        if current.openvpn is None or not self.vip or current.inbox.stopped:
            return None
        return current.openvpn if current.openvpn.plays(Role.MASTER) else None

    def report(self) -> None:
        """OpenVPN's second has passed."""
        for one in self.processes:
            one.report()

    def connect_later(self, delay: float) -> None:
        """The sidecar connects to all."""
        for one in self.processes:
            one.connect_later(delay)

    def pump(self) -> None:
        """What has been said travels to the sidecar."""
        for one in self.processes:
            one.pump()

    # What a check asks.

    @property
    def figures(self) -> InstanceStatistics:
        """The statistics of the instance."""
        assert self.machine.node is not None
        found = self.machine.node.statistics(self.clock.now).instances
        return next(one for one in found if one.name == self.instance)

    @property
    def move_phase(self) -> MovePhase | None:
        """How far the last planned move of this machine is."""
        return self._restart_figures.phase

    @property
    def pair_figures(self) -> SpareFigures:
        """Both processes, as the sidecar tells of them."""
        return self._restart_figures.figures

    @property
    def _restart_figures(self) -> RestartFigures:
        assert isinstance(self.machine.node, Pair)
        found = self.machine.node.restart_figures(self.instance, self.clock.now)
        assert found is not None
        return found

    @property
    def knows_machines(self) -> bool:
        """Whether its sidecar has heard of this instance on another machine."""
        return any(
            instance == self.instance and machine_of(node) != self.host
            for core in self.machine.cores.values()
            for instance, node in core.words
        )

    @property
    def grade(self) -> int:
        """The grade in the track file."""
        return self._grade

    @property
    def undisturbed(self) -> float:
        """Seconds since anything happened here, 0.0 while a process is missing or stopped."""
        if self.machine.node is None or self.openvpn is None or not self.current.connected:
            return 0.0
        stopped = any(one.inbox.stopped for one in self.processes)
        if self.machine.sidecar_inbox.stopped or stopped:
            return 0.0
        disturbed = max(self.disturbed, self.machine.disturbed, self.machine.paused_until)
        return max(0.0, self.clock.now - disturbed)
