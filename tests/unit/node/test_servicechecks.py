"""What the checks of the service lead to in the core: grade, problems, and what is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ovpnha.model import CheckState, Grade, Role, Verdict
from ovpnha.node.cluster.announcer import CLIENTS_GAP, Announcer
from ovpnha.node.cluster.servicechecks import ServiceChecks
from ovpnha.problems import ProblemKind
from tests.model_cluster import World
from tests.unit.node.doubles import INSTANCE, Desk, state

LAN = CheckState("lan", Verdict.FAILED, critical=True, checked=9, text="gone")


@pytest.mark.parametrize(
    ("check", "kind", "text"),
    [
        (LAN, ProblemKind.CHECK_CRITICAL, "critical check lan fails: gone"),
        (replace(LAN, critical=False, text=""), ProblemKind.CHECK_FAILED, "check lan fails"),
        (
            replace(LAN, stuck=True, resting=True),
            ProblemKind.CHECK_CRITICAL,
            "critical check lan fails: gone; when it is mended: ovpnha reset lan",
        ),
        (
            replace(LAN, resting=True),
            ProblemKind.CHECK_CRITICAL,
            "critical check lan fails: gone; it is run again when this node is master; when it is"
            " mended: ovpnha reset lan",
        ),
    ],
)
def test_one_that_fails_is_a_problem(check: CheckState, kind: ProblemKind, text: str) -> None:
    checks = ServiceChecks()
    checks.states = (check, replace(check, name="dns", verdict=Verdict.OK))
    [problem] = checks.problems(1.0)
    assert (problem.kind, str(problem)) == (kind, text)
    assert checks.failing is check.critical
    assert checks.statistics(1.0).checks == checks.states


def test_news_without_a_new_verdict_waits_for_a_moment() -> None:
    desk = Desk()
    announcer = Announcer(desk.openvpn, desk.backchannel)
    first = replace(state(), checks=(replace(LAN, verdict=Verdict.OK),))
    announcer.say_state(first, 10.0)
    again = replace(state(), checks=(replace(LAN, verdict=Verdict.OK, checked=10, text="new"),))
    announcer.say_state(again, 10.1)
    assert announcer.get_timer() == 10.0 + CLIENTS_GAP
    announcer.say_state(replace(state(), checks=(LAN,)), 10.2)
    assert announcer.get_timer() is None
    told = [one for one in desk.backchannel.taken() if one[0] == "announce"]
    assert len(told) == 2


def test_the_grade_follows_and_the_other_nodes_hear_of_it() -> None:
    world = World()
    a, b = world.add("a"), world.add("b")
    world.move_vip("a")
    world.run_until(lambda: a.plays(Role.MASTER) and b.in_sync)
    a.step(lambda core, now: core.checks_told({INSTANCE: (LAN,)}, now))
    assert a.grade == Grade.LONE
    world.run_until(lambda: b.figures.nodes[0].checks == (LAN,))
    assert b.grade == Grade.IN_SYNC
    b.step(lambda core, now: core.checks_told({INSTANCE: (LAN,)}, now))
    assert b.grade == Grade.DEGRADED
