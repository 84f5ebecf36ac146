"""One schedule from its first step to the verdict."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from tests.simulation.chaos import Chaos
from tests.simulation.checks import PATIENCE, check_memory, check_roles, differ, unsettled
from tests.simulation.cluster import Cluster, Defect
from tests.simulation.machine import Machine
from tests.simulation.schedule import Schedule
from tests.simulation.truth import Violation, WatchedOpenvpn

GRID = 0.25
PEACE = 2.0
"""Seconds for which a settled cluster must stay settled."""
BOUND = 15.0
"""Seconds after the healing within which it must be settled."""
CHANGE_BOUND = 1.0
"""Seconds within which a single change must be everywhere."""
FAILOVER_BOUND = 3.0
"""Seconds within which a standby in sync must serve when its master has died."""
INSTANT = 0.0001
"""Seconds within which a released client is noticed."""
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
        self.converged = self.after_vip = 0.0

    def verdict(self) -> Verdict:
        """Go through every phase; the first violation ends it."""
        try:
            self._phases()
        except Exception as error:  # whatever a core raises is a finding
            last = traceback.extract_tb(error.__traceback__)[-1]
            text = f"{type(error).__name__}: {error} at {last.filename}:{last.lineno}"
            self.cluster.truth.violate("a core raises", text)
        cluster = self.cluster
        return Verdict(
            cluster.schedule,
            tuple(cluster.truth.violations),
            self.converged,
            self.after_vip,
            cluster.clock.now - cluster.begin,
            self._format_trace() if cluster.truth.violations else "",
        )

    @property
    def _broken(self) -> bool:
        return bool(self.cluster.truth.violations)

    def _phases(self) -> None:
        self.cluster.clients.add(self.cluster.schedule.clients)
        self.chaos.plan()
        self._pass(self.cluster.schedule.chaos)
        check_memory(self.cluster)
        self.chaos.end()
        for phase in (self._settle, self._change, self._fail_over):
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

    def _settle(self) -> None:
        """The healed cluster becomes, and stays, as it should be."""
        clock, healed = self.cluster.clock, self.cluster.clock.now
        since: float | None = None
        faults: list[str] = []
        while not self._broken and (since is None or clock.now < since + PEACE):
            self._pass(GRID)
            frozen = clock.now > max(healed, self.cluster.vip_moved) + RECONNECTS
            self.cluster.clients.frozen = frozen
            faults = unsettled(self.cluster)
            since = since or clock.now if frozen and not faults else None
            self._note_converged(faults, clock.now - healed)
            if clock.now - healed > BOUND + PEACE:
                self.cluster.truth.violate("it does not settle", "; ".join(faults[:6]))
        check_memory(self.cluster)

    def _note_converged(self, faults: list[str], at: float) -> None:
        """Remember since when nothing was wrong."""
        if faults:
            self.converged = at + GRID
            self.after_vip = self.cluster.clock.now + GRID - self.cluster.vip_moved

    def _change(self) -> None:
        """In a settled cluster a change is everywhere at once."""
        master = self.cluster.holder()
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
            self.cluster.truth.violate("a change does not arrive", "; ".join(faults[:6]))

    def _fail_over(self) -> None:
        """The master of a settled cluster dies: no client notices."""
        cluster = self.cluster
        master = cluster.holder()
        if master is None or master.openvpn is None:
            return
        if all(one is master or differ(one, master) for one in cluster.running):
            return
        accepted = {uid for uid in master.openvpn.clients if self._is_accepted(master.openvpn, uid)}
        master.pump()
        self._pass(GRID)
        self._connect_last(master)
        clients = dict(master.openvpn.clients)
        cluster.note("all", "--- the last master dies")
        master.crash()
        heir = self._await_heir()
        openvpn = heir.serving() if heir is not None else None
        if openvpn is None:
            cluster.truth.violate("nobody takes over", f"after {FAILOVER_BOUND} s")
            return
        for uid, client in clients.items():
            held = openvpn.clients.get(uid)
            if held is None or held.generation < client.generation:
                cluster.truth.violate("a protected client is lost", uid.hex())
            elif uid in accepted and not self._is_accepted(openvpn, uid):
                cluster.truth.violate("a client refuses its new master", uid.hex())

    def _connect_last(self, master: Machine) -> None:
        """A client completes its connection in the moment before the master dies."""
        assert master.openvpn is not None
        if not master.openvpn.holds_new:
            self.cluster.truth.violate("new clients do not wait", master.name)
        uid = master.openvpn.connect_client("last")
        master.pump()
        end = self.cluster.clock.now + PATIENCE
        while uid in master.openvpn.held_back and self.cluster.clock.now < end:
            self.cluster.clock.run_to(self.cluster.clock.now + INSTANT)

    def _is_accepted(self, openvpn: WatchedOpenvpn, uid: bytes) -> bool:
        """Whether a client takes a packet; one that saw a rival's higher ids waits for new keys."""
        top = self.cluster.truth.top.get(openvpn.clients[uid].keys[0].fingerprint, 0)
        number = openvpn.send_packet(uid)
        return number is not None and number > top

    def _await_heir(self) -> Machine | None:
        clock = self.cluster.clock
        end = clock.now + FAILOVER_BOUND
        while clock.now < end and not self._broken:
            self._pass(0.05)
            heir = self.cluster.holder()
            if heir is not None and heir.serving() is not None:
                return heir
        return None

    def _format_trace(self) -> str:
        lines = []
        for at, who, what, fields in self.cluster.trace:
            words = " ".join(f"{key}={value}" for key, value in fields.items() if key != "instance")
            lines.append(f"{at:9.4f} {who:5} {what} {words}".rstrip())
        return "\n".join(lines)
