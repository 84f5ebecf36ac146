"""The whole cluster under one seed: machines, services, networks, and what disturbs them.

``steps`` of a schedule become calls of the methods in ``Chaos``; ``heal`` ends every trouble.
"""

from __future__ import annotations

import random
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ovpnha.model import NodeName
from ovpnha.node.node import Node
from ovpnha.node.pair import Pair
from ovpnha.node.slot import VipSlot
from tests.simulation.clock import Clock
from tests.simulation.machine import REPORT_INTERVAL, Machine
from tests.simulation.network import Network
from tests.simulation.ranges import OwnedKey
from tests.simulation.rollout import OTHER, USUAL, KeyRollout
from tests.simulation.schedule import Schedule
from tests.simulation.server import Server
from tests.simulation.service import Service
from tests.simulation.truth import Violation, WatchedNode, WatchedOpenvpn

TRACE_LIMIT = 4000
SWITCHOVER = 8.0
"""Seconds for which a switchover may leave a node master without the VIP."""
HELD_MAX = 10.0
"""Shorter than by default: a cluster has to settle in a time that is worth simulating."""


@dataclass(frozen=True)
class Defect:
    """What is broken on purpose, to see whether it is noticed."""

    plant: Callable[[WatchedNode], None] = lambda _node: None
    key: type[OwnedKey] = OwnedKey
    openvpn: type[WatchedOpenvpn] = WatchedOpenvpn
    plant_slot: Callable[[VipSlot], None] = lambda _slot: None


class Cluster:
    """All machines and the world around them."""

    def __init__(self, schedule: Schedule, defect: Defect | None = None) -> None:
        self.schedule = schedule
        self.defect = defect or Defect()
        self.rng = random.Random(schedule.seed)  # noqa: S311 - a test's dice
        self.clock = Clock()
        self.begin = self.clock.now
        self.violations: list[Violation] = []
        self.network = Network(self.clock, random.Random(self.rng.randbytes(8)))  # noqa: S311
        self.links = [f"bcn{number}" for number in range(schedule.links)]
        self.round_size = schedule.round_size
        self.packets = schedule.packets
        self.work = schedule.work
        self.held_max = HELD_MAX
        self.vip_moved = self.clock.now
        self.healed = False
        self.trace: deque[tuple[float, str, str, Mapping[str, object]]] = deque(maxlen=TRACE_LIMIT)
        self._links_down: dict[tuple[str, str], int] = {}
        self.key_rollout = KeyRollout(schedule.nodes)
        self.machines = [Machine(self, index) for index in range(schedule.nodes)]
        self.services = [Service(self, number) for number in range(schedule.instances)]
        for service in self.services:
            for machine in self.machines:
                server = Server(service, machine, service.priority(machine.index))
                service.servers.append(server)
                machine.servers.append(server)
        for machine in self.machines:
            machine.boot()
            self.clock.later(self.rng.random() * REPORT_INTERVAL, self._second, machine)

    def note(self, who: str, what: str, fields: Mapping[str, object] | None = None) -> None:
        """A line of the trace."""
        self.trace.append((self.clock.now - self.begin, who, what, fields or {}))

    def format_trace(self) -> str:
        """All that is left of the trace."""
        lines = []
        for at, who, what, fields in self.trace:
            words = " ".join(f"{key}={value}" for key, value in fields.items() if key != "instance")
            lines.append(f"{at:9.4f} {who:5} {what} {words}".rstrip())
        return "\n".join(lines)

    def violate(self, rule: str, text: str) -> None:
        """Note that a rule was broken which is no service's own."""
        self.services[0].truth.violate(rule, text)

    def blame_core(self, error: Exception) -> None:
        """Something raised that no rule of the management channel or the BCN allows."""
        last = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__}: {error} at {last.filename}:{last.lineno}"
        self.violate("a core raises", text)

    def freeze_clients(self, frozen: bool) -> None:
        """No traffic, nobody comes or goes; or all go on."""
        for service in self.services:
            service.clients.frozen = frozen

    def _second(self, machine: Machine) -> None:
        self.clock.later(REPORT_INTERVAL, self._second, machine)
        for server in machine.servers:
            if not server.service.clients.frozen:
                server.report()
                server.service.clients.reap(server)

    # The networks.

    def send(self, sender: Machine, data: bytes, only: str | None) -> None:
        """A datagram of this machine's sidecar, on every link or on one."""
        for link in self.links if only is None else [only]:
            if not self._links_down.get((sender.name, link)):
                self.network.send(link, sender.name, data, self._ears(link, sender.name))

    def _ears(self, link: str, sender: str) -> dict[str, Callable[[bytes], None]]:
        return {
            one.name: one.fence.hears(sender, one.hear(link))
            for one in self.machines
            if one.node is not None and not self._links_down.get((one.name, link))
        }

    def links_down(self, name: str) -> list[str]:
        """The BCN links that this machine has not."""
        return [link for link in self.links if self._links_down.get((name, link))]

    def set_link(self, machine: Machine, link: str, up: bool) -> None:
        """A BCN link of one machine loses its carrier, or has it back."""
        key = (machine.name, link)
        self._links_down[key] = max(0, self._links_down.get(key, 0) + (-1 if up else 1))
        up = not self._links_down[key]
        self.note(machine.name, f"{link} {'up' if up else 'down'}")
        machine.disturb()
        if machine.node is not None:
            machine.sidecar_inbox.put(
                "netlink",
                lambda: machine.step(lambda node, now: node.link_changed(link, up, now)),
            )

    def cut_off(self, name: str, seconds: float) -> None:
        """A fence has taken a machine's power, for a while."""
        machine = next(one for one in self.machines if one.name == name)
        if machine.alive:
            machine.crash()
            self.clock.later(seconds, self._switch_on, machine)

    def _switch_on(self, machine: Machine) -> None:
        if not machine.alive and not (self.healed and machine.index in self.schedule.lost):
            machine.boot()

    @property
    def running(self) -> list[Machine]:
        """The machines that are on."""
        return [one for one in self.machines if one.alive]

    def heal(self) -> None:
        """Every trouble ends; machines that are not lost for good come back."""
        self.note("all", "--- heal")
        self.healed = True
        self.network.repair_all()
        for machine in self.machines:
            for server in machine.servers:
                server.want_vip("hand", False)
                server.cut_vip(False)
                for process in server.processes:
                    process.barred = False
            for link in self.links_down(machine.name):
                self._links_down[machine.name, link] = 1
                self.set_link(machine, link, True)
            self._revive(machine)

    def _revive(self, machine: Machine) -> None:
        machine.configure(OTHER if machine.index in self.schedule.differ else USUAL)
        if machine.index in self.schedule.lost:
            if machine.alive:
                machine.crash()
        elif not machine.alive:
            machine.boot()
        else:
            machine.go_on_all()
            for server in machine.servers:
                server.start_openvpn()
            machine.start_sidecar()
            for server in machine.servers:
                self.ask_resume(server)
                server.keepalived.ensure()

    def ask_demote(self, server: Server) -> None:
        """``ovpnha demote``."""
        server.demote_asked |= server.vip and server.machine.node is not None
        server.disturb()
        self.control(server, lambda node, now: node.ask_demote(server.instance, now))

    def ask_promote(self, server: Server, expect: float) -> None:
        """``ovpnha promote --expect-vip``."""
        server.disturb(expect)
        self.control(server, lambda node, now: node.ask_promote(server.instance, expect, now))

    def ask_switchover(self, server: Server, target: str | None, number: int) -> None:
        """``ovpnha switchover``."""
        for one in server.service.servers:
            one.disturb(SWITCHOVER)
        name = None if target is None else NodeName(target)
        token = number.to_bytes(8, "big")
        self.control(
            server,
            lambda node, now: node.ask_switchover(server.instance, token, name, 3.0, now),
        )

    def ask_move(self, server: Server, number: int, within: float) -> None:
        """``ovpnha restart-openvpn``: the role goes to the other process of a machine."""
        name, token = server.instance, number.to_bytes(8, "big")
        self._ask_pair(server, lambda pair, now: pair.ask_restart(name, token, within, now))

    def ask_retire(self, server: Server) -> None:
        """The same: the process that does not serve is told to end."""
        if server.current.other is not None:
            name, process = server.instance, server.current.process.other
            self._ask_pair(server, lambda pair, now: pair.ask_retire(name, process, now))

    def _ask_pair(self, server: Server, ask: Callable[[Pair, float], object]) -> None:
        server.disturb()
        machine = server.machine
        machine.to_sidecar("control", lambda: machine.tell_pair(ask))

    def ask_pause(self, server: Server, seconds: float) -> None:
        """``ovpnha pause``."""
        server.machine.paused_until = max(server.machine.paused_until, self.clock.now + seconds)
        self.control(server, lambda node, now: node.ask_pause(server.instance, seconds, now))

    def ask_resume(self, server: Server) -> None:
        """``ovpnha resume``."""
        server.machine.disturb()
        self.control(server, lambda node, now: node.ask_resume(server.instance, now))

    def control(self, server: Server, ask: Callable[[Node | Pair, float], object]) -> None:
        """Something is asked of the sidecar over its socket."""
        machine = server.machine
        machine.sidecar_inbox.put("control", lambda: machine.step(ask))
