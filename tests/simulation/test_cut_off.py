"""A standby's sidecar that starts while its machine is cut off, and is given the VIP there."""

from __future__ import annotations

import pytest

from tests.simulation.chaos import Chaos
from tests.simulation.checks import unsettled
from tests.simulation.clients import TICK, USUAL
from tests.simulation.cluster import Cluster
from tests.simulation.schedule import Schedule
from tests.simulation.steps import MASTER, Step

CLIENTS = 12
SETTLED_WITHIN = 20.0
ANSWERED_WITHIN = 2.0
"""Seconds without an answer after which a client is lost; it would begin anew after a minute."""


def settle(cluster: Cluster) -> None:
    """Let time pass until all clients are connected, copied and answered."""
    clients, end = cluster.services[0].clients, cluster.clock.now + SETTLED_WITHIN
    while unsettled(cluster) or len(clients.connected()) < CLIENTS:
        assert cluster.clock.now < end, unsettled(cluster)
        cluster.clock.run_to(cluster.clock.now + 0.1)
    cluster.clock.run_to(cluster.clock.now + 2 * TICK)


@pytest.mark.parametrize("away", [0.1, 0.4, 0.9])
@pytest.mark.parametrize("moves", [0, 2])
def test_nobody_is_lost_and_no_packet_id_is_used_twice(moves: int, away: float) -> None:
    """After two moves the epoch is one that a sidecar cannot guess.

    The clients beside the machine that is cut off are served there, by packet ids above those of
    the other master, which must go on above them when all is well again.
    """
    cluster = Cluster(Schedule(1, 2, 1, False, 1 << 24, 3, CLIENTS, 0.0, frozenset(), ()))
    chaos, clients = Chaos(cluster), cluster.services[0].clients
    clients.patience = USUAL
    clients.add(CLIENTS)
    for _ in range(moves):
        settle(cluster)
        chaos.later(Step(0.0, "flap", MASTER, 2.0, 0))
        cluster.clock.run_to(cluster.clock.now + 3.0)
    settle(cluster)
    before = {one.name: one.restarts for one in clients.all}
    chaos.later(Step(0.0, "isolate", 1, 3.0, 0))
    chaos.later(Step(0.3, "kill_sidecar", 1, away, 0))
    cluster.clock.run_to(cluster.clock.now + 2.9)
    cut_off = cluster.services[0].servers[1].serving()
    assert cut_off is not None
    assert len(cut_off.sent) > CLIENTS
    cluster.clock.run_to(cluster.clock.now + 0.1 + ANSWERED_WITHIN)
    assert cluster.violations == []
    assert {one.name: one.restarts for one in clients.all} == before
    assert [one.name for one in clients.all if clients.silence(one) >= ANSWERED_WITHIN - 0.5] == []
