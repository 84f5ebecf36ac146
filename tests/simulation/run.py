"""One schedule from its first step to the verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ovpnha.node.moving import OVER
from tests.simulation.adversary import (
    EVERY_THIRD,
    FORGOTTEN,
    NOTICED,
    Adversary,
    believers,
    deceived,
)
from tests.simulation.chaos import Chaos
from tests.simulation.checks import check_memory, check_roles, differ, unsettled
from tests.simulation.cluster import Cluster, Defect
from tests.simulation.death import Death
from tests.simulation.fences import attend_all
from tests.simulation.schedule import Schedule
from tests.simulation.server import Server
from tests.simulation.truth import Violation

GRID = 0.25
HELD = 5.0
"""Seconds for which hellos are held back before the death of their sender."""
PEACE = 2.0
"""Seconds for which a settled cluster must stay settled."""
BOUND = 15.0
"""Seconds after the healing within which it must be settled."""
CHANGE_BOUND = 1.0
"""Seconds within which a single change must be everywhere."""
FAILOVER_BOUND = 3.0
"""Seconds within which a standby in sync must serve when its master has died."""
MOVED_WITHIN = 2.0
"""Seconds for which a planned move may wait for a moment in which no client would notice."""
GONE_ON_WITHIN = 0.05
"""Seconds within which a spare must serve when the process beside it has died."""
INSTANTS = 0.04
"""Seconds before a death in which renegotiations begin: some are over, some have hardly begun."""
CAUGHT = 4.0
"""Seconds after a failover within which who is caught in one has been told to reconnect."""
RECONNECTS = 4.2
"""Seconds after the last move of the VIP in which clients reconnect and lost ones are reaped."""


@dataclass(frozen=True)
class Verdict:
    """How a schedule ended."""

    schedule: Schedule
    violations: tuple[Violation, ...]
    converged: float  # seconds from the healing
    after_vip: float  # seconds from the last move of the VIP
    simulated: float
    trace: str


def run(schedule: Schedule, defect: Defect | None = None) -> Verdict:
    """Run it."""
    return Run(schedule, defect).verdict()


class Run:
    """One schedule under way."""

    def __init__(self, schedule: Schedule, defect: Defect | None = None) -> None:
        self.cluster = Cluster(schedule, defect)
        self.chaos = Chaos(self.cluster)
        self.adversary = Adversary(self.cluster, schedule.seed // EVERY_THIRD)
        self.converged = self.after_vip = 0.0
        self.fencing = schedule.fence.longest if schedule.fence is not None else 0.0

    def verdict(self) -> Verdict:
        """Go through every phase; the first violation ends it."""
        try:
            self._phases()
        except Exception as error:  # whatever a core raises is a finding
            self.cluster.blame_core(error)
        cluster = self.cluster
        return Verdict(
            cluster.schedule,
            tuple(cluster.violations),
            self.converged,
            self.after_vip,
            cluster.clock.now - cluster.begin,
            cluster.format_trace() if cluster.violations else "",
        )

    @property
    def _broken(self) -> bool:
        return bool(self.cluster.violations)

    def _phases(self) -> None:
        services = self.cluster.services
        for service in services:
            share = self.cluster.schedule.clients + service.number
            service.clients.add(share // len(services))
        self.chaos.plan()
        self._pass(self.cluster.schedule.chaos)
        check_memory(self.cluster)
        self.chaos.end()
        last = (self._deceive, self._give_way, self._fail_over)
        for phase in (self._settle, self._change, *last):
            if self._broken:
                return
            phase()

    def _pass(self, seconds: float) -> None:
        """Let time pass under the eyes of the checks."""
        clock = self.cluster.clock
        end = clock.now + seconds
        while clock.now < end and not self._broken:
            clock.run_to(min(end, clock.now + GRID))
            check_roles(self.cluster)
            attend_all(self.cluster)

    def _settle(self) -> None:
        """The healed cluster becomes, and stays, as it should be."""
        clock, healed = self.cluster.clock, self.cluster.clock.now
        since: float | None = None
        faults: list[str] = []
        while not self._broken and (since is None or clock.now < since + PEACE):
            self._pass(GRID)
            frozen = clock.now > max(healed, self.cluster.vip_moved) + RECONNECTS
            self.cluster.freeze_clients(frozen)
            faults = unsettled(self.cluster)
            since = since or clock.now if frozen and not faults else None
            self._note_converged(faults, clock.now - healed)
            if clock.now - healed > BOUND + PEACE + 2 * self.fencing:
                self.cluster.violate("it does not settle", "; ".join(faults[:6]))
        check_memory(self.cluster)

    def _note_converged(self, faults: list[str], at: float) -> None:
        """Remember since when nothing was wrong."""
        if faults:
            self.converged = at + GRID
            self.after_vip = self.cluster.clock.now + GRID - self.cluster.vip_moved

    def _change(self) -> None:
        """In a settled cluster a change is everywhere at once."""
        for service in self.cluster.services:
            master = service.holder()
            openvpn = master.serving() if master is not None else None
            assert master is not None
            assert openvpn is not None
            uids = list(openvpn.clients)
            openvpn.connect_client("late")
            acts = (openvpn.renegotiate, openvpn.float_client, openvpn.disconnect_client)
            for uid, act in zip(uids, acts, strict=False):
                act(uid)
            master.pump()
        self._pass(CHANGE_BOUND)
        faults = unsettled(self.cluster)
        if faults:
            self.cluster.violate("a change does not arrive", "; ".join(faults[:6]))

    def _deceive(self) -> None:
        """Somebody drops one kind of datagram: who does not get it is not in sync, and heals."""
        if self.cluster.schedule.seed % EVERY_THIRD:
            return
        service = self.cluster.services[0]
        master = service.holder()
        assert master is not None
        assert master.openvpn is not None
        standbys = [one for one in service.running if one is not master and not differ(one, master)]
        if not master.openvpn.clients or not standbys:
            return
        self.cluster.note("all", f"--- what {master.name} says is dropped")
        self.adversary.drop(master.host)
        for uid in list(master.openvpn.clients)[:2]:
            master.openvpn.renegotiate(uid)
        master.report()
        self._pass(NOTICED)
        if fooled := deceived(standbys):
            self.cluster.violate("falsely in sync", "; ".join(fooled))
        self.adversary.let_go()
        self._pass(CHANGE_BOUND)
        if faults := unsettled(self.cluster):
            self.cluster.violate("it does not heal", "; ".join(faults[:6]))

    def _give_way(self) -> None:
        """The process that serves dies, or its role is moved: on the same machine another goes on,
        and no client notices.
        """
        cluster, service = self.cluster, self.cluster.services[0]
        master = service.holder()
        other = master.current.other if master is not None else None
        if master is None or other is None or not other.connected:
            return
        planned, moved = bool(cluster.schedule.seed % 2), cluster.vip_moved
        death = Death(service, master)
        # with a spare alone no client and no key waits, once another machine was there
        waits = any(one is not master and not differ(one, master) for one in service.running)
        if waits:
            death.connect_last()
        if waits and not planned:
            death.renegotiate_last()
            cluster.clock.run_to(cluster.clock.now + INSTANTS)
        cluster.note("all", f"--- {master.current.name} gives way")
        death.come()
        if planned:
            cluster.ask_move(master, 0, MOVED_WITHIN)
            self._await(lambda: master.move_phase in OVER)
        else:
            master.current.kill()
            self._pass(GONE_ON_WITHIN)
        death.judge()
        if cluster.vip_moved != moved:
            cluster.violate("the vip moves for one process", master.name)
        self._settle_again(master)

    def _settle_again(self, master: Server) -> None:
        """Whatever ended is started anew."""
        for service in self.cluster.services:
            service.clients.thaw()
        self._pass(CAUGHT)
        self.cluster.freeze_clients(True)
        master.start_openvpn()
        end = self.cluster.clock.now + BOUND
        while not self._broken and (faults := unsettled(self.cluster)):
            if self.cluster.clock.now > end:
                self.cluster.violate("it does not settle again", "; ".join(faults[:6]))
            self._pass(GRID)

    def _fail_over(self) -> None:
        """A machine of a settled cluster dies: no client of any service notices."""
        cluster = self.cluster
        first = cluster.services[0].holder()
        if first is None:
            return
        machine = first.machine
        deaths = [
            Death(service, holder)
            for service in cluster.services
            if (holder := service.holder()) is not None
            and holder.machine is machine
            and any(one is not holder and not differ(one, holder) for one in service.running)
        ]
        elsewhere = [
            holder
            for service in cluster.services
            if (holder := service.holder()) is not None and holder.machine is not machine
        ]
        if not deaths:
            return
        self.adversary.hold(machine.name)
        self._pass(HELD if cluster.schedule.seed % EVERY_THIRD == 0 else GRID)
        for death in deaths:
            death.connect_last()
        for death in deaths:
            death.renegotiate_last()
        cluster.clock.run_to(cluster.clock.now + INSTANTS)
        cluster.note("all", f"--- {machine.name} dies, the last master")
        for death in deaths:
            death.come()
        machine.crash()
        self.adversary.let_go()
        self.adversary.release()
        died = cluster.clock.now
        self._await(lambda: all(death.heir() is not None for death in deaths))
        for death in deaths:
            death.judge()
        for holder in elsewhere:
            if holder.serving() is None:
                cluster.violate("another service ends", holder.name)
        if any(death.caught() for death in deaths) and not self._broken:
            for service in cluster.services:
                service.clients.thaw()
            self._pass(CAUGHT)
            for death in deaths:
                death.judge_caught()
        self._forget(machine.name, died)

    def _forget(self, dead: str, died: float) -> None:
        """Hellos that were held back keep it alive for a moment only."""
        if self.cluster.schedule.seed % EVERY_THIRD or self._broken:
            return
        self._pass(died + FORGOTTEN - self.cluster.clock.now)
        if fooled := believers(dead, self.cluster.services[0].running):
            self.cluster.violate("a dead node is believed", "; ".join(fooled))

    def _await(self, done: Callable[[], bool]) -> None:
        end = self.cluster.clock.now + FAILOVER_BOUND + self.fencing
        while self.cluster.clock.now < end and not self._broken and not done():
            self._pass(0.05)
