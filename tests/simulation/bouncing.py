"""One bounce of the VIP from a settled cluster to the verdict: who was lost by it.

Lost is a client that had to begin anew, or whose server does not answer it for longer than
``ANSWERED_WITHIN`` once the VIP has come to rest. That may happen to nobody who had the same keys
all the time. A client that got a key or an address while the VIP bounced may have to begin anew,
but no later than that; in bad company (``PURE`` has the good one) it is only counted.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.simulation.bounces import AROUND, HAND, PORTS, PURE, RESTART, Bounce
from tests.simulation.chaos import Chaos
from tests.simulation.checks import unsettled
from tests.simulation.clients import USUAL, Client
from tests.simulation.cluster import Cluster, Defect
from tests.simulation.rollout import OTHER
from tests.simulation.truth import Violation

SETTLED_WITHIN = 20.0
"""Seconds within which a fresh cluster has connected and copied all its clients."""
ANSWERED_WITHIN = 5.0
"""Seconds without an answer after which a client is lost, though it has not begun anew."""
WATCHED = 6.5
"""Seconds for which clients are watched after the VIP has come to rest."""
STEP = 0.05
LONGEST = 30.0


@dataclass(frozen=True)
class Outcome:
    """How a bounce ended."""

    bounce: Bounce
    violations: tuple[Violation, ...]
    clients: int
    changed: int
    lost: int  # of those that did not change
    lost_changed: int  # of those that did
    restarts: int
    longest: float  # seconds without an answer of those that did not change
    longest_changed: float
    simulated: float
    trace: str


def bounce_once(bounce: Bounce, defect: Defect | None = None) -> Outcome:
    """Let it happen."""
    return Bouncing(bounce, defect).outcome()


class Bouncing:
    """One bounce under way."""

    def __init__(self, bounce: Bounce, defect: Defect | None = None) -> None:
        self._bounce = bounce
        self.cluster = Cluster(bounce.schedule, defect)
        self._service = self.cluster.services[0]
        self._clients = self._service.clients
        self._clients.patience = USUAL
        self._chaos = Chaos(self.cluster)
        self._began = 0.0
        self._had: dict[str, tuple[bytes, int]] = {}  # session and restarts at the beginning

    def outcome(self) -> Outcome:
        """Settle, bounce, watch, judge."""
        try:
            self._settle()
            if not self.cluster.violations:
                self._begin()
                self._watch()
        except Exception as error:  # whatever a core raises is a finding
            self.cluster.blame_core(error)
        return self._judge()

    def _settle(self) -> None:
        self._clients.add(self._bounce.schedule.clients)
        self._await_peace()
        if self._bounce.schedule.differ:
            for index in self._bounce.schedule.differ:
                self.cluster.machines[index].configure(OTHER)
            self.cluster.clock.run_to(self.cluster.clock.now + STEP)
            self._await_peace()

    def _await_peace(self) -> None:
        cluster, count = self.cluster, self._bounce.schedule.clients
        end = cluster.clock.now + SETTLED_WITHIN
        while unsettled(cluster) or len(self._clients.connected()) < count:
            if cluster.clock.now > end:
                cluster.violate("it does not settle", "; ".join(unsettled(cluster)[:6]))
                return
            cluster.clock.run_to(cluster.clock.now + STEP)

    # The bounce.

    def _begin(self) -> None:
        clock, by_hand = self.cluster.clock, self._bounce.how == HAND
        self._began = clock.now
        self._service.truth.guarded = self._bounce.spice in PURE
        self._had = {one.name: (one.uid, one.restarts) for one in self._clients.connected()}
        for client in self._clients.all:
            client.longest = 0.0
        for step in self._bounce.schedule.steps:
            self._chaos.later(step)
        if by_hand:
            self._take_over()
        else:
            clock.later(AROUND, self._stop_all)
        for move in self._bounce.moves:
            act = self._move if by_hand else self._start
            clock.later(AROUND + move.at, act, move.node)

    def _take_over(self) -> None:
        """From here on the VIP is moved by hand."""
        holder = self._service.holder()
        assert holder is not None
        holder.want_vip("hand", True)
        for server in self._service.servers:
            server.keepalived.die()
            server.want_vip("keepalived", False)

    def _move(self, node: int) -> None:
        for server in self._service.servers:
            if server.index != node:
                server.want_vip("hand", False)
        self._service.servers[node].want_vip("hand", True)

    def _stop_all(self) -> None:
        for server in self._service.servers:
            if self._bounce.how == RESTART:
                server.keepalived.stop()
            elif self._bounce.how == PORTS:
                server.keepalived.set_link(False)

    def _start(self, node: int) -> None:
        keepalived = self._service.servers[node].keepalived
        if self._bounce.how == RESTART:
            keepalived.ensure()
        elif self._bounce.how == PORTS:
            keepalived.set_link(True)
        else:
            keepalived.reload()

    def _watch(self) -> None:
        cluster = self.cluster
        moved = self._began + AROUND + self._bounce.end
        while cluster.clock.now < min(moved + WATCHED, self._began + LONGEST):
            cluster.clock.run_to(cluster.clock.now + STEP)
            moved = max(moved, cluster.vip_moved)

    # The verdict.

    def _judge(self) -> Outcome:
        cluster = self.cluster
        changed: list[Client] = []
        same: list[Client] = []
        for client in self._clients.all if self._had else []:
            if client.wanted:
                (changed if self._has_changed(client) else same).append(client)
        lost = [one for one in same if self._restarts(one) or self._gap(one) > ANSWERED_WITHIN]
        late = [one for one in changed if self._gap(one) > ANSWERED_WITHIN]
        self._blame("a client that did not change is lost", lost)
        if self._bounce.spice in PURE:
            self._blame("a client that changed is out for too long", late)
        return Outcome(
            bounce=self._bounce,
            violations=tuple(cluster.violations),
            clients=len(same) + len(changed),
            changed=len(changed),
            lost=len(lost),
            lost_changed=len(late),
            restarts=sum(self._restarts(one) for one in changed),
            longest=max(map(self._gap, same), default=0.0),
            longest_changed=max(map(self._gap, changed), default=0.0),
            simulated=cluster.clock.now - cluster.begin,
            trace=cluster.format_trace() if cluster.violations else "",
        )

    def _blame(self, rule: str, clients: list[Client]) -> None:
        if clients:
            names = " ".join(f"{one.name}/{one.uid.hex()}" for one in clients[:4])
            self.cluster.violate(rule, f"{len(clients)}: {names}")

    def _has_changed(self, client: Client) -> bool:
        """Whether it got a key, or was about to, since the bounce began and before it ended."""
        uid, _ = self._had.get(client.name, (b"", 0))
        times = self._service.truth.changed.get(uid, [])
        end = self.cluster.vip_moved
        return not uid or any(self._began <= at <= end for at in times)

    def _restarts(self, client: Client) -> int:
        return client.restarts - self._had.get(client.name, (b"", client.restarts))[1]

    def _gap(self, client: Client) -> float:
        return max(client.longest, self._clients.silence(client))
