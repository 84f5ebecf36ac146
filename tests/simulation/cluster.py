"""The whole cluster under one seed: machines, networks, clients, and the hand that disturbs them.

``steps`` of a schedule become calls of the methods in ``Chaos``; ``heal`` ends every trouble.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.simulation.clients import Clients
from tests.simulation.clock import Clock
from tests.simulation.handshakes import Handshakes
from tests.simulation.machine import INSTANCE, REPORT_INTERVAL, Machine
from tests.simulation.network import FRONT, Network
from tests.simulation.ranges import OwnedKey
from tests.simulation.rollout import OTHER, USUAL, KeyRollout
from tests.simulation.schedule import Schedule
from tests.simulation.truth import Truth, WatchedNode, WatchedOpenvpn

TRACE_LIMIT = 4000
PREFERRED = 35
FIRST_PRIORITY = 110
HELD_MAX = 60.0


@dataclass(frozen=True)
class Defect:
    """What is broken on purpose, to see whether it is noticed."""

    plant: Callable[[WatchedNode], None] = lambda _node: None
    key: type[OwnedKey] = OwnedKey
    openvpn: type[WatchedOpenvpn] = WatchedOpenvpn


class Cluster:
    """All machines and the world around them."""

    def __init__(self, schedule: Schedule, defect: Defect | None = None) -> None:
        self.schedule = schedule
        self.defect = defect or Defect()
        self.rng = random.Random(schedule.seed)  # noqa: S311 - a test's dice
        self.clock = Clock()
        self.begin = self.clock.now
        self.truth = Truth(lambda: self.clock.now)
        self.network = Network(self.clock, random.Random(self.rng.randbytes(8)))  # noqa: S311
        self.links = [f"bcn{number}" for number in range(schedule.links)]
        self.round_size = schedule.round_size
        self.packets = schedule.packets
        self.held_max = HELD_MAX
        self.vip_moved = self.clock.now
        self.trace: deque[tuple[float, str, str, Mapping[str, object]]] = deque(maxlen=TRACE_LIMIT)
        self._links_down: dict[tuple[str, str], int] = {}
        self.clients = Clients(self)
        self.handshakes = Handshakes(self)
        self.key_rollout = KeyRollout(schedule.nodes)
        self.machines = [self._make(index) for index in range(schedule.nodes)]
        for machine in self.machines:
            machine.boot()
            self.clock.later(self.rng.random() * REPORT_INTERVAL, self._second, machine)

    def _make(self, index: int) -> Machine:
        gap = PREFERRED if self.schedule.preferred and index else 0
        return Machine(self, index, FIRST_PRIORITY - gap - index)

    def note(self, who: str, what: str, fields: Mapping[str, object] | None = None) -> None:
        """A line of the trace."""
        self.trace.append((self.clock.now - self.begin, who, what, fields or {}))

    def _second(self, machine: Machine) -> None:
        self.clock.later(REPORT_INTERVAL, self._second, machine)
        if not self.clients.frozen:
            machine.report()
            self.clients.reap(machine)

    # The networks.

    def send(self, sender: Machine, data: bytes, only: str | None) -> None:
        """A datagram of this machine's sidecar, on every link or on one."""
        for link in self.links if only is None else [only]:
            if not self._links_down.get((sender.name, link)):
                self.network.send(link, sender.name, data, self._ears(link))

    def _ears(self, link: str) -> dict[str, Callable[[bytes], None]]:
        return {
            one.name: one.hear(link)
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

    def claimant(self, place: int) -> Machine | None:
        """The machine whose VIP is reached from beside this one."""
        near = self.machines[place].name
        reached = [
            one
            for one in self.machines
            if one.vip and (one.name == near or self.network.passes(FRONT, near, one.name))
        ]
        return max(reached, key=lambda one: (one.last_claim, one.index), default=None)

    def holder(self) -> Machine | None:
        """The machine that last claimed the VIP and still has it."""
        holders = [one for one in self.machines if one.vip]
        return max(holders, key=lambda one: (one.last_claim, one.index), default=None)

    @property
    def running(self) -> list[Machine]:
        """The machines that are on."""
        return [one for one in self.machines if one.alive]

    def heal(self) -> None:
        """Every trouble ends; machines that are not lost for good come back."""
        self.note("all", "--- heal")
        self.network.mend_all()
        for machine in self.machines:
            machine.want_vip("hand", False)
            machine.cut_vip(False)
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
            machine.start_openvpn()
            machine.start_sidecar()
            machine.keepalived.ensure()

    def ask_demote(self, machine: Machine) -> None:
        """``ovpnha demote``."""
        if machine.openvpn is not None and machine.node is not None:
            machine.openvpn.demote_asked = True
        machine.disturb()
        machine.sidecar_inbox.put(
            "control", lambda: machine.step(lambda node, now: node.ask_demote(INSTANCE, now))
        )

    def ask_promote(self, machine: Machine, expect: float) -> None:
        """``ovpnha promote --expect-vip``."""
        machine.disturb(expect)
        machine.sidecar_inbox.put(
            "control",
            lambda: machine.step(lambda node, now: node.ask_promote(INSTANCE, expect, now)),
        )
