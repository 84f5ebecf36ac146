"""One schedule from its first step to the verdict."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass

from ovpnha.model import Role
from tests.simulation.chaos import Chaos
from tests.simulation.checks import (
    PATIENCE,
    check_keys,
    check_memory,
    check_roles,
    differ,
    is_caught,
    unsettled,
)
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
RENEGOTIATING = 6
"""Most clients that are inside a renegotiation when the last master dies."""
INSTANTS = 0.04
"""Seconds before that death in which these begin: some are over, some have hardly begun."""
HEARD = 0.005
"""Seconds after which a standby has heard of a renegotiation."""
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
        self.converged = self.after_vip = self._died = 0.0

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
        begun = self._renegotiate_last(master)
        clients = dict(master.openvpn.clients)
        cluster.note("all", "--- the last master dies")
        self._died = cluster.clock.now
        master.crash()
        heir = self._await_heir()
        openvpn = heir.serving() if heir is not None else None
        if openvpn is None:
            cluster.truth.violate("nobody takes over", f"after {FAILOVER_BOUND} s")
            return
        for uid, client in clients.items():
            held = openvpn.clients.get(uid)
            if held is None or (held.generation < client.generation and uid not in begun):
                cluster.truth.violate("a protected client is lost", uid.hex())
            elif uid in accepted and not self._is_accepted(openvpn, uid):
                cluster.truth.violate("a client refuses its new master", uid.hex())
        check_keys(cluster, openvpn, begun)
        self._await_caught(openvpn, begun)

    def _renegotiate_last(self, master: Machine) -> dict[bytes, float]:
        """Clients renegotiate in the last moments; when each has begun."""
        clock, openvpn, rng = self.cluster.clock, master.openvpn, self.cluster.rng
        assert openvpn is not None
        begun: dict[bytes, float] = {}

        def begin(uid: bytes) -> None:
            openvpn.renegotiate(uid)
            begun[uid] = clock.now
            master.pump()

        free = [uid for uid in openvpn.clients if uid not in openvpn.handshakes]
        for uid in rng.sample(free, min(RENEGOTIATING, len(free))):
            clock.later(rng.random() * INSTANTS, begin, uid)
        clock.run_to(clock.now + INSTANTS)
        return begun

    def _await_caught(self, openvpn: WatchedOpenvpn, begun: Mapping[bytes, float]) -> None:
        """Who was inside a handshake that nobody can finish is told to reconnect."""
        clients = self.cluster.clients
        heard = [uid for uid, at in begun.items() if self._died - at > HEARD]
        caught = {
            uid: clients.by_uid[uid]
            for uid in heard
            if uid in clients.by_uid and is_caught(clients.by_uid[uid], openvpn)
        }
        if not caught:
            return
        clients.thaw()
        self._pass(CAUGHT)
        for uid, client in caught.items():
            if client.uid == uid and is_caught(client, openvpn) and openvpn.plays(Role.MASTER):
                text = f"{client.name} is inside a handshake with a server that is gone"
                self.cluster.truth.violate("a client is left in its handshake", text)

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
        top = self.cluster.truth.top.get(openvpn.clients[uid].sending().fingerprint, 0)
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
