"""How far a switchover is, and what stands against one: pure functions of what nodes say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from ovpnha.model import (
    Epoch,
    Grade,
    InstanceState,
    NodeName,
    Role,
    SwitchPhase,
    SwitchReason,
    SwitchState,
    Sync,
)
from ovpnha.node.cluster.conductor import (
    FREEZE,
    LOWER_MAX,
    PREPARE_MAX,
    QUIET_MAX,
    READY_MAX,
    Run,
    SwitchFacts,
    advance,
    begin,
    refuse,
)
from ovpnha.node.cluster.obstacles import find_running, make_plan
from tests.unit.node.doubles import EPOCH, A, B, C, state

SAID = SwitchState(b"request!", SwitchPhase.WISHED, b"tag of b", b"tag of a", 1, 10.0)
MASTER = replace(state(Role.MASTER, vip=True), grade=Grade.MASTER)
STANDBY = replace(state(sync=Sync.IN_SYNC), grade=Grade.IN_SYNC)
AHEAD = replace(MASTER, vip=False, epoch=Epoch(2, B))
READY = replace(SAID, phase=SwitchPhase.READY)
ALONG = replace(STANDBY, switchover=READY)
LOW = replace(STANDBY, grade=Grade.DEGRADED)
P, R = SwitchPhase, SwitchReason


def facts(
    b: InstanceState | None = STANDBY, c: InstanceState | None = LOW, **changes: object
) -> SwitchFacts:
    states = {name: one for name, one in ((B, b), (C, c)) if one is not None}
    return replace(SwitchFacts(MASTER, True, states, shared=True), **changes)  # type: ignore[arg-type]


def run_at(phase: SwitchPhase) -> Run:
    """A run in this phase since 0.0."""
    run = begin(SAID, B, 0.0)
    return (
        run
        if phase is P.PREPARING
        else run.end("frozen", 0.0).enter(P.READY, 0.0).enter(phase, 0.0)
    )


def end(run: Run) -> tuple[SwitchPhase, SwitchReason]:
    return run.said.phase, run.said.reason


def test_it_goes_from_phase_to_phase() -> None:
    run = advance(begin(SAID, B, 0.0), facts(), 1.0)
    assert end(run) == (P.READY, R.NONE)
    run = advance(run, facts(AHEAD), 2.0)
    assert end(run) == (P.MOVING, R.NONE)
    run = advance(run, facts(AHEAD, own=replace(MASTER, vip=False)), 3.0)
    assert end(run) == (P.MOVING, R.NONE)
    there = replace(AHEAD, vip=True)
    run = advance(run, facts(there, own=replace(MASTER, vip=False)), 4.0)
    assert end(run) == (P.DONE, R.NONE)
    assert run.said.times == (1.0, 2.0, 3.0, 4.0)
    assert advance(run, facts(None), 99.0) is run
    assert list(run.moments()) == []
    assert run.end("served", 5.0) is run


def test_several_phases_may_be_over_at_once() -> None:
    there = replace(AHEAD, vip=True)
    run = advance(begin(SAID, B, 0.0), facts(there, own=replace(MASTER, vip=False)), 1.0)
    assert end(run) == (P.DONE, R.NONE)
    assert run.said.times == ()


@pytest.mark.parametrize(
    ("changes", "waits"),
    [
        ({}, False),
        ({"able": False}, True),
        ({"shared": False}, True),
        ({"busy": True}, True),
        ({"states": {B: replace(STANDBY, sync=Sync.PARTIAL)}}, True),
    ],
)
def test_what_is_waited_for_at_first(changes: dict[str, Any], waits: bool) -> None:
    run = advance(run_at(P.PREPARING), replace(facts(), **changes), 0.5)
    assert (run.said.phase is P.PREPARING) is waits


def test_handshakes_are_not_waited_for_for_ever() -> None:
    assert end(advance(run_at(P.PREPARING), facts(busy=True), QUIET_MAX)) == (P.READY, R.NONE)


def test_other_standbys_are_waited_for_but_not_for_ever() -> None:
    high = facts(AHEAD, STANDBY)
    assert end(advance(run_at(P.READY), high, LOWER_MAX - 0.01)) == (P.READY, R.NONE)
    assert end(advance(run_at(P.READY), high, LOWER_MAX)) == (P.MOVING, R.NONE)


@pytest.mark.parametrize(
    ("phase", "given", "now", "reason"),
    [
        (P.PREPARING, facts(None), 0.1, R.TARGET_LOST),
        (P.PREPARING, facts(replace(STANDBY, role=Role.FAULT)), 0.1, R.TARGET_LOST),
        (P.PREPARING, facts(shared=False), PREPARE_MAX, R.BUSY),
        (P.READY, facts(), READY_MAX, R.NOT_PROMOTED),
        (P.READY, facts(replace(STANDBY, role=Role.FAULT)), 0.1, R.TARGET_LOST),
        (P.READY, facts(replace(AHEAD, epoch=EPOCH)), 0.1, R.TARGET_LOST),
        (P.MOVING, facts(replace(AHEAD, role=Role.HELD)), 0.1, R.TARGET_LOST),
        (P.MOVING, facts(AHEAD), 10.0, R.NOT_MOVED),
        (P.MOVING, facts(AHEAD, own=replace(MASTER, vip=False)), 10.0, R.NOT_MOVED),
        (P.MOVING, facts(AHEAD, changed_at=0.1), FREEZE, R.CHANGED),
        (P.MOVING, facts(AHEAD, MASTER, own=replace(MASTER, vip=False)), 0.1, R.ELSEWHERE),
    ],
)
def test_when_it_is_called_off(
    phase: SwitchPhase, given: SwitchFacts, now: float, reason: SwitchReason
) -> None:
    assert end(advance(run_at(phase), given, now)) == (P.FAILED, reason)


def test_what_changes_before_the_target_goes_ahead_calls_nothing_off() -> None:
    given = facts(AHEAD, changed_at=0.0)
    assert end(advance(run_at(P.MOVING), given, FREEZE)) == (P.MOVING, R.NONE)
    given = facts(AHEAD, changed_at=0.1)
    assert end(advance(run_at(P.MOVING), given, FREEZE - 0.1)) == (P.MOVING, R.NONE)


@pytest.mark.parametrize("ahead", [False, True])
def test_a_target_that_goes_along_is_promoted_when_the_vip_comes(ahead: bool) -> None:
    """Whatever this node would do in its place."""
    run = advance(begin(SAID, B, 0.0), facts(ahead=ahead), 1.0)
    assert end(run) == (P.READY, R.NONE)
    for said in (replace(READY, id=b"another!"), SAID):  # the wish is the target's own
        other = replace(STANDBY, switchover=said)
        assert advance(run, facts(other, ahead=ahead), 1.0) is run
    waits = advance(run, facts(ALONG, STANDBY, ahead=ahead), 1.0)
    assert (end(waits), waits.along) == ((P.READY, R.NONE), True)
    run = advance(run, facts(ALONG, ahead=ahead), 1.0)
    assert end(run) == (P.MOVING, R.NONE)
    run = advance(run, facts(ahead=ahead, changed_at=1.5), 1.0 + FREEZE)
    assert end(run) == (P.MOVING, R.NONE)
    there = replace(AHEAD, vip=True)
    assert end(advance(run, facts(there, ahead=ahead), 3.0)) == (P.MOVING, R.NONE)
    run = advance(run, facts(there, ahead=ahead, own=replace(MASTER, vip=False)), 3.0)
    assert end(run) == (P.DONE, R.NONE)


def test_a_target_that_goes_ahead_does_so_whatever_this_node_would_do() -> None:
    run = advance(begin(SAID, B, 0.0), facts(ahead=False), 1.0)
    run = advance(run, facts(AHEAD, ahead=False), 1.1)
    assert end(run) == (P.MOVING, R.NONE)
    run = advance(run, facts(AHEAD, ahead=False, changed_at=1.5), 1.0 + FREEZE)
    assert end(run) == (P.FAILED, R.CHANGED)


def test_a_target_that_goes_along_may_be_lost_too() -> None:
    along = advance(run_at(P.READY), facts(ALONG), 0.0)
    for role in (Role.FAULT, Role.HELD):
        given = facts(replace(STANDBY, role=role))
        for run in (run_at(P.READY), along):
            assert end(advance(run, given, 0.1)) == (P.FAILED, R.TARGET_LOST)


def test_moments_are_those_at_which_something_is_over() -> None:
    assert set(run_at(P.PREPARING).moments()) == {PREPARE_MAX, QUIET_MAX, math.inf}
    assert set(run_at(P.READY).moments()) == {READY_MAX, QUIET_MAX, LOWER_MAX, FREEZE}
    assert 10.0 in set(run_at(P.MOVING).moments())


def test_what_is_refused_has_its_reason() -> None:
    assert end(refuse(SAID, B, R.UNKNOWN, 1.0)) == (P.FAILED, R.UNKNOWN)


# What stands against it.


def reasons(states: Mapping[NodeName, InstanceState], wanted: NodeName | None) -> list[str]:
    return [one.reason.name for one in make_plan(states, wanted).obstacles]


def test_two_nodes_need_no_name() -> None:
    plan = make_plan({A: MASTER, B: STANDBY}, None)
    assert (plan.master, plan.target, plan.epoch, plan.obstacles) == (A, B, EPOCH, ())


def test_of_several_the_best_in_sync_is_chosen() -> None:
    syncing = replace(STANDBY, sync=Sync.SYNCING, grade=Grade.MASTER)
    assert make_plan({A: MASTER, B: syncing, C: STANDBY}, None).target == C
    assert make_plan({A: MASTER, B: LOW, C: STANDBY}, None).target == C
    assert make_plan({A: MASTER, C: STANDBY, B: STANDBY}, None).target == B


@pytest.mark.parametrize(
    ("states", "wanted", "found"),
    [
        ({A: STANDBY, B: STANDBY}, B, ["NO_MASTER"]),
        ({A: MASTER, B: MASTER, C: STANDBY}, C, ["TWO_MASTERS"]),
        ({A: MASTER}, None, ["NO_TARGET"]),
        ({A: MASTER, B: STANDBY}, C, ["UNKNOWN"]),
        ({}, C, ["NO_MASTER", "UNKNOWN"]),
        ({A: MASTER, B: STANDBY}, A, ["IS_MASTER"]),
        ({A: MASTER, B: replace(STANDBY, role=Role.FAULT)}, B, ["NOT_STANDBY"]),
        ({A: MASTER, B: replace(STANDBY, sync=Sync.PARTIAL)}, B, ["NOT_IN_SYNC"]),
        ({A: MASTER, B: LOW}, B, ["LOW_GRADE"]),
        ({A: MASTER, B: replace(STANDBY, managed=False)}, B, ["NO_VIP_MANAGER"]),
        ({A: replace(MASTER, managed=False), B: STANDBY}, B, ["NO_VIP_MANAGER"]),
    ],
)
def test_what_stands_against_it(
    states: Mapping[NodeName, InstanceState], wanted: NodeName | None, found: list[str]
) -> None:
    assert reasons(states, wanted) == found
    assert all("\n" not in one.text for one in make_plan(states, wanted).obstacles)


@pytest.mark.parametrize("phase", SwitchPhase)
def test_one_at_a_time(phase: SwitchPhase) -> None:
    running = phase in {P.PREPARING, P.READY, P.MOVING}
    states = {A: replace(MASTER, switchover=replace(SAID, phase=phase)), B: STANDBY}
    assert reasons(states, B) == (["UNDER_WAY"] if running else [])
    wishing = {A: MASTER, B: replace(STANDBY, switchover=replace(SAID, phase=phase))}
    assert find_running(wishing) is None
