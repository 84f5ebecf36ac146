"""Machines with spares among whole nodes, and a judge who sees two masters on one socket."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ovpnha.machines import Process, SparePolicy
from tests.simulation.cluster import Defect
from tests.simulation.run import Run, run
from tests.simulation.schedule import Schedule, draw
from tests.simulation.spares import believe_closed_connections
from tests.simulation.sparing import SparePlan
from tests.simulation.steps import MASTER, Step
from tests.simulation.test_checker import make_schedule

SEEDS = 6
RIVALS = "two masters on one socket"


def two_pairs(seed: int, *steps: Step) -> Schedule:
    """Two machines with two processes each."""
    spares = SparePlan(frozenset({0, 1}), SparePolicy.ALWAYS)
    return replace(make_schedule(seed, *steps), spares=spares)


def draw_closed_connection(seed: int) -> Schedule:
    """The process that serves closes its management connection, and goes on."""
    return two_pairs(seed, Step(2.0, "break_management", MASTER, 1.0, seed % 7))


def test_a_spare_that_is_promoted_while_the_old_process_still_sends_is_found() -> None:
    defect = Defect(plant_slot=believe_closed_connections)
    verdicts = (run(draw_closed_connection(seed), defect) for seed in range(SEEDS))
    assert any(one.rule == RIVALS for verdict in verdicts for one in verdict.violations)


def test_nothing_is_wrong_without_the_defect() -> None:
    for seed in range(2):
        assert run(draw_closed_connection(seed)).violations == ()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_nothing_is_wrong(seed: int) -> None:
    assert run(draw(seed, spares=1.0)).violations == ()


def test_a_spare_goes_on_while_the_vip_stays() -> None:
    one = Run(two_pairs(1, Step(2.0, "kill_openvpn", MASTER, 0.5, 0)))
    clock, service = one.cluster.clock, one.cluster.services[0]
    service.clients.add(8)
    one.chaos.plan()
    clock.run_to(clock.now + 2.4)
    holder = service.holder()
    assert holder is not None
    assert holder.host == "n0"
    assert holder.current.process is Process.SPARE
    serving = holder.serving()
    assert serving is not None
    assert len(serving.clients) == len(service.clients.connected()) == 8
    assert one.cluster.violations == []
