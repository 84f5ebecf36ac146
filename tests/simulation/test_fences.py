"""A required fence in virtual time: nothing is promoted past it, and nothing waits for ever."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ovpnha.node.cluster.fence import QUIET, Fence, FenceFacts, Suspect
from ovpnha.node.role.succession import Step as RoleStep
from tests.simulation.cluster import Defect
from tests.simulation.fences import FencePlan, draw_fence
from tests.simulation.run import run
from tests.simulation.schedule import Schedule
from tests.simulation.steps import MASTER, Step
from tests.simulation.test_checker import make_schedule
from tests.simulation.truth import WatchedNode

LATE = FencePlan(0, 1.5)
PLANS = {
    "late": LATE,
    "fails": FencePlan(2, 0.2),
    "hangs": FencePlan(1, 2.0),
    "unknown": FencePlan(0, 0.5, unknown_waits=True),
}
SEEDS = 6


def draw_cut(seed: int, plan: FencePlan = LATE) -> Schedule:
    """The master loses every network for a while, and the other node gets the VIP."""
    return replace(make_schedule(seed, Step(1.0, "isolate", MASTER, 4.0, 0)), fence=plan, chaos=6.0)


class PassesAll(Fence):
    """Knows of no fence."""

    def filter(self, step: RoleStep, _read: object, _now: float) -> RoleStep:
        return step


class BelievesItsEars(Fence):
    """Takes whatever comes for a sign of life, however old it is."""

    def _is_cleared(self, one: Suspect, _facts: FenceFacts, since: float, now: float) -> bool:
        return one.node in self._fenced or (now >= since + QUIET and one.heard > since + 0.1)


class HearsNoEnd(Fence):
    """Does not hear that a program has ended."""

    def done(self, _node: object, _text: str, _now: float) -> None:
        pass


def planted(kind: type[Fence]) -> Defect:
    def plant(node: WatchedNode) -> None:
        for one in node._instances.values():
            one.parts.fence.__class__ = kind

    return Defect(plant)


@pytest.mark.parametrize("name", PLANS)
def test_a_master_that_is_cut_off_is_fenced_and_then_followed(name: str) -> None:
    assert run(draw_cut(1, PLANS[name])).violations == ()


@pytest.mark.parametrize(
    ("rule", "kind"),
    [
        ("promoted over a silent master", PassesAll),
        ("promoted over a silent master", BelievesItsEars),
        ("the vip is not served", HearsNoEnd),
    ],
)
def test_a_planted_defect_of_the_fence_is_caught(rule: str, kind: type[Fence]) -> None:
    found: set[str] = set()
    for seed in range(SEEDS):
        found |= {one.rule for one in run(draw_cut(seed), planted(kind)).violations}
        if rule in found:
            return
    pytest.fail(f"not caught in {SEEDS} schedules; found instead: {sorted(found)}")


def test_every_kind_of_program_is_drawn() -> None:
    plans = [plan for seed in range(500) if (plan := draw_fence(seed)) is not None]
    assert len(plans) < 150
    assert any(plan.unknown_waits for plan in plans)
    assert {plan.failures for plan in plans} == {0, 1, 2}
    assert {plan.seconds > 1.0 for plan in plans if not plan.failures} == {True, False}
