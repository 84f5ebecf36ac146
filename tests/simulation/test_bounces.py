"""Bounces of the VIP: nobody is lost, and one that breaks a rule of theirs is caught."""

from __future__ import annotations

import pytest

from ovpnha.model import Role
from ovpnha.node.instance import Instance
from tests.simulation.bounces import HAND, Bounce, Move, draw_bounce
from tests.simulation.bouncing import bounce_once
from tests.simulation.cluster import Defect
from tests.simulation.ranges import OwnedKey
from tests.simulation.schedule import Schedule
from tests.simulation.steps import Step
from tests.simulation.test_checker import instance

STAYS = (0.002, 0.02, 0.3, 1.0)
WORK = 0.005
"""Seconds for a record, so that a resync of a few clients takes as long as one of many."""
SLOW = 0.5
"""So that it takes longer than a node with the VIP waits for it."""


class WipesBelowAnyEpoch(Instance):
    """Takes a higher epoch for proof that another node has its clients."""

    def evaluate(self, now: float) -> None:
        if self.role is Role.HELD and self.parts.view.highest > self.parts.own.epoch:
            self.parts.role.held_since = now - self.parts.config.held_max
        super().evaluate(now)


class StaysBelow(OwnedKey):
    """Goes on where it was though another node has sent above."""

    def overtake(self) -> None:
        pass


def make_bounce(stay: float, *steps: Step, nodes: int = 2, work: float = WORK) -> Bounce:
    """A dozen clients; to another node by hand, and back."""
    schedule = Schedule(1, nodes, 1, False, 1 << 20, 1, 12, 0.0, frozenset(), steps, work=work)
    spice = "churn" if steps else "plain"
    return Bounce(HAND, spice, (Move(0.0, 1), Move(stay, 0)), schedule)


@pytest.mark.parametrize("nodes", [2, 3])
@pytest.mark.parametrize("stay", STAYS)
def test_nobody_is_lost_by_a_bounce(stay: float, nodes: int) -> None:
    outcome = bounce_once(make_bounce(stay, nodes=nodes))
    assert outcome.violations == ()
    assert outcome.lost == outcome.restarts == 0
    assert outcome.clients == 12


@pytest.mark.parametrize("stay", STAYS)
def test_who_renegotiates_in_a_bounce_is_answered_soon(stay: float) -> None:
    renegotiations = [Step(0.2 + at / 100, "renegotiate", 0, 0.0, 4 * at) for at in range(20)]
    outcome = bounce_once(make_bounce(stay, *renegotiations))
    assert outcome.violations == ()
    assert outcome.changed


@pytest.mark.parametrize("seed", [s for s in range(12) if draw_bounce(s).schedule.clients < 200])
def test_nothing_is_wrong(seed: int) -> None:
    assert bounce_once(draw_bounce(seed)).violations == ()


@pytest.mark.parametrize("seed", [50153, 50321, 60623, 60827, 60680, 90510, 90945, 100420])
def test_nothing_is_wrong_where_something_was(seed: int) -> None:
    """A fetch over a bad network, six moves among three nodes, a sidecar that ends meanwhile, one
    that ends where all clients went on, a client that leaves before it was let in, clients
    that changed at an heir before its heir, a dead sidecar that still says master of an old epoch,
    a demote that is asked of whom another node fetches from.
    """
    assert bounce_once(draw_bounce(seed)).violations == ()


@pytest.mark.parametrize(
    ("rule", "defect"),
    [
        ("the last copy is wiped", instance(WipesBelowAnyEpoch)),
        ("a client that did not change is lost", instance(WipesBelowAnyEpoch)),
        ("a client that did not change is lost", Defect(key=StaysBelow)),
    ],
)
def test_a_planted_defect_is_caught(rule: str, defect: Defect) -> None:
    bounces = [make_bounce(stay, work=SLOW) for stay in STAYS]
    found = {one.rule for bounce in bounces for one in bounce_once(bounce, defect).violations}
    assert rule in found


def test_the_same_seed_is_the_same_bounce() -> None:
    bounce = draw_bounce(4)
    assert bounce == draw_bounce(4)
    assert str(bounce).startswith(bounce.how)
    assert bounce_once(bounce) == bounce_once(bounce)
