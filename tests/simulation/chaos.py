"""The hand that disturbs: each kind of step of a schedule, and how it ends by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ovpnha.machines import SparePolicy
from tests.simulation.cluster import Cluster
from tests.simulation.machine import Machine
from tests.simulation.network import FRONT, Weather
from tests.simulation.process import OpenvpnProcess
from tests.simulation.rollout import OTHER, USUAL
from tests.simulation.server import Server
from tests.simulation.service import Service
from tests.simulation.steps import MASTER, Step

REPLAYED = 30


class Chaos:
    """Carries out steps until the cluster is healed."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._healed = False

    def plan(self) -> None:
        """Plan every step of the schedule."""
        for step in self._cluster.schedule.steps:
            self.later(step)

    def later(self, step: Step) -> None:
        """Plan one step, ``at`` seconds from now."""
        self._cluster.clock.later(step.at, self._do, step)

    def end(self) -> None:
        """What would have ended later has ended now."""
        self._healed = True
        self._cluster.heal()

    def _do(self, step: Step) -> None:
        if self._healed:
            return
        self._cluster.note("-----", str(step))
        getattr(self, f"_{step.what}")(step)

    def _server(self, step: Step) -> Server:
        """One instance on one machine: on its master's if the step says so."""
        service = self._service(step)
        holder = service.holder() if step.node == MASTER else None
        return holder or service.servers[step.node % len(service.servers)]

    def _service(self, step: Step) -> Service:
        services = self._cluster.services
        return services[step.number // 3 % len(services)]

    def _machine(self, step: Step) -> Machine:
        return self._server(step).machine

    def _then(self, step: Step, action: Callable[[], None]) -> None:
        """When the step is over."""

        def run() -> None:
            if not self._healed:
                self._cluster.note("-----", f"end of {step.what} of {step.at:.4f}")
                action()

        self._cluster.clock.later(step.seconds, run)

    # Networks.

    def _sides(self, step: Step) -> tuple[list[str], list[str]]:
        """Two groups of machines, by the bits of the step's number."""
        names = [one.name for one in self._cluster.machines]
        mask = 1 + step.number % ((1 << len(names)) - 2)
        one = [name for at, name in enumerate(names) if mask >> at & 1]
        return one, [name for name in names if name not in one]

    def _cut(self, step: Step, links: list[str], one: list[str], other: list[str]) -> None:
        network = self._cluster.network
        for link in links:
            network.cut(link, one, other)
            self._then(step, lambda link=link: network.repair(link, one, other))  # type: ignore[misc]

    def _partition(self, step: Step) -> None:
        """The BCN falls into two; every second time on one link only."""
        one, other = self._sides(step)
        links = self._cluster.links[: 1 + step.number % 2 * len(self._cluster.links)]
        self._cut(step, links, one, other)
        self._cut(step, links, other, one)

    def _one_way(self, step: Step) -> None:
        """The BCN carries nothing in one direction."""
        self._cut(step, self._cluster.links, *self._sides(step))

    def _front(self, step: Step) -> None:
        """keepalived and clients are cut in two: two nodes get the VIP."""
        one, other = self._sides(step)
        self._cut(step, [FRONT], one, other)
        self._cut(step, [FRONT], other, one)

    def _isolate(self, step: Step) -> None:
        """One machine loses every network."""
        name = self._machine(step).name
        others = [one.name for one in self._cluster.machines if one.name != name]
        links = [*self._cluster.links, FRONT]
        self._cut(step, links, [name], others)
        self._cut(step, links, others, [name])

    def _weather(self, step: Step) -> None:
        """The BCN loses, repeats, delays and reorders."""
        dice = step.number
        loss = (0.0, 0.05, 0.3, 0.6)[dice % 4]
        jitter = (0.0, 0.005, 0.05, 0.5)[dice // 4 % 4]
        repeat = (0.0, 0.5)[dice // 16 % 2]
        network = self._cluster.network
        network.weather = Weather(0.0005, jitter, loss, repeat)
        self._then(step, lambda: setattr(network, "weather", Weather()))

    def _link_down(self, step: Step) -> None:
        """A BCN link of one machine loses its carrier."""
        machine = self._machine(step)
        link = self._cluster.links[step.number % len(self._cluster.links)]
        self._cluster.set_link(machine, link, False)
        self._then(step, lambda: self._cluster.set_link(machine, link, True))

    def _replay(self, step: Step) -> None:
        """An attacker sends again what was recorded."""
        recorded = list(self._cluster.network.recorded)
        picked = recorded[step.number % (len(recorded) + 1) :][:REPLAYED]
        for link, data in picked:
            for machine in self._cluster.running:
                machine.hear(link)(data)

    def _junk(self, step: Step) -> None:
        """An attacker sends what was recorded, damaged."""
        recorded = list(self._cluster.network.recorded)[-REPLAYED:]
        for link, data in recorded:
            at = step.number % len(data)
            damaged = data[:at] + bytes([data[at] ^ 1 + step.number % 255]) + data[at + 1 :]
            for machine in self._cluster.running:
                machine.hear(link)(damaged)

    # Processes.

    def _crash(self, step: Step) -> None:
        machine = self._machine(step)
        if machine.alive:
            machine.crash()
            self._then(step, lambda: None if machine.alive else machine.boot())

    def _kill_sidecar(self, step: Step) -> None:
        machine = self._machine(step)
        machine.kill_sidecar()
        self._then(step, lambda: self._start_sidecar(machine))

    def _stop_sidecar(self, step: Step) -> None:
        machine = self._machine(step)
        machine.stop_sidecar()
        self._then(step, lambda: self._start_sidecar(machine))

    def _process(self, step: Step) -> OpenvpnProcess:
        """The one that serves there; every third time the other one, if there is one."""
        current = self._server(step).current
        other = current.other if step.number // 7 % 3 == 2 else None
        return other or current

    def _kill_openvpn(self, step: Step) -> None:
        server = self._server(step)
        self._process(step).kill()
        self._then(step, lambda: self._start_openvpn(server))

    def _kill_both(self, step: Step) -> None:
        """All OpenVPN processes of an instance die at once."""
        server = self._server(step)
        server.kill_openvpn()
        self._then(step, lambda: self._start_openvpn(server))

    def _move(self, step: Step) -> None:
        """The role goes from one process to the other, as soon as no client would notice."""
        within = (0.05, 1.0, 4.0)[step.number % 3]
        self._cluster.ask_move(self._server(step), step.number, within)

    def _renew(self, step: Step) -> None:
        """Both processes are started anew, one after the other, whatever comes in between."""
        server = self._server(step)
        if server.spare is None:
            return
        server.spare.wanted = True
        self._start_openvpn(server)
        turns = (self._cluster.ask_retire, lambda one: self._cluster.ask_move(one, 1, 3.0)) * 2
        for turn, act in enumerate(turns, 1):
            part = replace(step, seconds=step.seconds * turn / len(turns))
            self._then(part, lambda one=act: one(server))  # type: ignore[misc]
        self._then(replace(step, seconds=step.seconds + 0.1), lambda: self._end_renewal(server))

    def _end_renewal(self, server: Server) -> None:
        if server.spare is not None and server.machine.spares is SparePolicy.RESTART:
            server.spare.wanted = False
            self._cluster.ask_retire(server)

    def _restart_both(self, step: Step) -> None:
        """Both processes end; which is back first is anyone's guess."""
        server = self._server(step)
        server.machine.kill_sidecar()
        server.kill_openvpn()
        starts = [
            lambda: self._start_openvpn(server),
            lambda: self._start_sidecar(server.machine),
        ]
        first, second = reversed(starts) if step.number % 2 else starts
        self._then(replace(step, seconds=step.seconds / 2), first)
        self._then(step, second)

    def _new_key(self, step: Step) -> None:
        """One step of a new cluster key, brought to one machine after the other."""
        machines = self._cluster.machines
        gap = step.seconds / len(machines)
        for place, machine in enumerate(machines):
            turn = replace(step, seconds=gap * place)
            self._then(turn, lambda one=machine: self._change_key(one, step, gap))  # type: ignore[misc]

    def _change_key(self, machine: Machine, step: Step, gap: float) -> None:
        if self._cluster.key_rollout.advance(machine.index):
            machine.stop_sidecar()
            self._then(replace(step, seconds=gap / 2), lambda: self._start_sidecar(machine))

    def _other_option(self, step: Step) -> None:
        """Somebody changes an option on one machine, and changes it back."""
        machine = self._machine(step)
        machine.configure(OTHER)
        self._then(step, lambda: machine.configure(USUAL))

    def _start_sidecar(self, machine: Machine) -> None:
        if machine.alive:
            machine.start_sidecar()

    def _start_openvpn(self, server: Server) -> None:
        if server.alive:
            server.start_openvpn()

    def _pause_sidecar(self, step: Step) -> None:
        machine = self._machine(step)
        machine.sidecar_inbox.stop()
        self._then(step, lambda: machine.wake(machine.sidecar_inbox))

    def _pause_openvpn(self, step: Step) -> None:
        server, inbox = self._server(step), self._process(step).inbox
        inbox.stop()
        self._then(step, lambda: server.wake(inbox))

    def _bar(self, step: Step) -> None:
        """A new sidecar may not use the socket of a process; with one process that is no news."""
        process, machine = self._process(step), self._server(step).machine
        if process.other is None:
            return
        process.barred = True
        machine.kill_sidecar()
        self._then(replace(step, seconds=step.seconds / 10), lambda: self._start_sidecar(machine))
        self._then(step, lambda: setattr(process, "barred", False))

    def _pause_machine(self, step: Step) -> None:
        """Everything on it stops, and it keeps its addresses."""
        machine = self._machine(step)
        machine.stop_all()
        self._then(step, machine.go_on_all)

    def _last_words(self, step: Step) -> None:
        """Clients change while the BCN loses most of what the master says, then it dies."""
        clock, network = self._cluster.clock, self._cluster.network
        network.weather = Weather(loss=0.6)
        for number in range(6):
            clock.later(number * 0.004, self._service(step).clients.act, "renegotiate", number)
        self._then(replace(step, seconds=step.number % 50 / 1000), lambda: self._crash(step))
        self._then(replace(step, seconds=0.1), lambda: setattr(network, "weather", Weather()))

    def _break_management(self, step: Step) -> None:
        self._process(step).break_management()

    # The VIP and the administrator.

    def _flap(self, step: Step) -> None:
        """keepalived is restarted."""
        server = self._server(step)
        if server.alive:
            server.keepalived.stop()
            self._then(step, server.keepalived.ensure)

    def _vip_also(self, step: Step) -> None:
        """Somebody adds the VIP by hand."""
        server = self._server(step)
        if server.alive:
            server.want_vip("hand", True)
            self._then(step, lambda: server.want_vip("hand", False))

    def _vip_cut(self, step: Step) -> None:
        """Somebody removes the VIP, and keepalived does not see it."""
        server = self._server(step)
        server.cut_vip(True)
        self._then(step, lambda: server.cut_vip(False))

    def _promote(self, step: Step) -> None:
        self._cluster.ask_promote(self._server(step), step.seconds)

    def _pause(self, step: Step) -> None:
        """``ovpnha pause``, and ``resume``."""
        server = self._server(step)
        self._cluster.ask_pause(server, step.seconds + 1.0)
        self._then(step, lambda: self._cluster.ask_resume(server))

    def _demote(self, step: Step) -> None:
        self._cluster.ask_demote(self._server(step))

    def _switchover(self, step: Step) -> None:
        """Asked for on any node, to any node, whatever the cluster is like."""
        servers = self._service(step).servers
        target = servers[step.number % len(servers)]
        chosen = None if step.number % 3 == 0 else target.machine.name
        self._cluster.ask_switchover(self._server(step), chosen, step.number)

    # Clients.

    def _connect(self, step: Step) -> None:
        self._service(step).clients.add(1 + step.number % 6)

    def _disconnect(self, step: Step) -> None:
        self._many("disconnect", step)

    def _renegotiate(self, step: Step) -> None:
        self._many("renegotiate", step)

    def _float(self, step: Step) -> None:
        self._many("float", step)

    def _many(self, what: str, step: Step) -> None:
        for number in range(1 + step.number % 4):
            self._service(step).clients.act(what, step.number + number)
