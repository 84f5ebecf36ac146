"""The pure parts of policy: succession, grades, the view of the cluster, wishes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovpnha.coordinator.grading import Standing, grade
from ovpnha.coordinator.obstacles import Obstacle
from ovpnha.coordinator.succession import Situation, Step, decide, next_epoch
from ovpnha.coordinator.view import NO_HOLDER, ClusterView
from ovpnha.coordinator.wishes import HANDOVER_MAX, Wishes
from ovpnha.model import NO_EPOCH, Epoch, Grade, NodeName, Role, Sync
from ovpnha.role.machine import TRANSITIONS, Trigger
from tests.unit.coordinator.desk import A, B, C, state

FIRST, SECOND = Epoch(1, A), Epoch(2, B)

CALM = Situation(
    role=Role.STANDBY,
    able=True,
    vip=False,
    arrived=False,
    promised=False,
    epoch=FIRST,
    highest=FIRST,
    highest_claimed=False,
    rivalled=False,
    demote_asked=False,
    held_over=False,
)

SITUATIONS = st.builds(
    Situation,
    role=st.sampled_from(Role),
    able=st.booleans(),
    vip=st.booleans(),
    arrived=st.booleans(),
    promised=st.booleans(),
    epoch=st.sampled_from([NO_EPOCH, FIRST, SECOND]),
    highest=st.sampled_from([FIRST, SECOND]),
    highest_claimed=st.booleans(),
    rivalled=st.booleans(),
    demote_asked=st.booleans(),
    held_over=st.booleans(),
)


@pytest.mark.parametrize(
    ("changes", "step"),
    [
        ({}, Step.STAY),
        ({"vip": True, "arrived": True, "rivalled": True}, Step.PROMOTE),
        ({"vip": True}, Step.PROMOTE),
        ({"vip": True, "rivalled": True}, Step.STAY),
        ({"promised": True}, Step.PROMOTE),
        ({"role": Role.FAULT, "vip": True}, Step.PROMOTE),
        ({"role": Role.INIT, "vip": True}, Step.STAY),
        ({"able": False, "vip": True, "arrived": True}, Step.STAY),
        ({"role": Role.MASTER}, Step.HOLD),
        ({"role": Role.MASTER, "promised": True}, Step.STAY),
        ({"role": Role.MASTER, "promised": True, "highest": SECOND}, Step.STAY),
        ({"role": Role.MASTER, "vip": True}, Step.STAY),
        ({"role": Role.MASTER, "vip": True, "highest": SECOND}, Step.OVERTAKE),
        (
            {"role": Role.MASTER, "vip": True, "highest": SECOND, "highest_claimed": True},
            Step.STAY,
        ),
        ({"role": Role.HELD}, Step.STAY),
        ({"role": Role.HELD, "held_over": True}, Step.DEMOTE),
        ({"role": Role.HELD, "held_over": True, "vip": True}, Step.RESUME),
        ({"role": Role.HELD, "promised": True}, Step.RESUME),
        ({"role": Role.HELD, "vip": True, "demote_asked": True}, Step.DEMOTE),
        ({"role": Role.HELD, "vip": True, "highest": SECOND}, Step.DEMOTE),
    ],
)
def test_steps(changes: dict[str, object], step: Step) -> None:
    assert decide(replace(CALM, **changes)) is step  # type: ignore[arg-type]


MOVES = {
    Step.PROMOTE: Trigger.PROMOTED,
    Step.RESUME: Trigger.RESUMED,
    Step.HOLD: Trigger.HELD,
    Step.DEMOTE: Trigger.DEMOTED,
}


@given(SITUATIONS)
def test_every_step_is_in_the_table_and_none_is_blind(situation: Situation) -> None:
    step = decide(situation)
    if step in MOVES:
        assert MOVES[step] in TRANSITIONS[situation.role]
    if not situation.able:
        assert step is Step.STAY
    if step in (Step.PROMOTE, Step.RESUME):
        assert situation.vip or situation.promised
    if step is Step.RESUME:
        assert situation.highest <= situation.epoch
    if situation.role is Role.MASTER and situation.able and not situation.vip:
        assert step is (Step.STAY if situation.promised else Step.HOLD)


@given(SITUATIONS)
def test_a_vip_that_arrives_is_always_served(situation: Situation) -> None:
    """However long the chain of steps: after at most three of them the node is master."""
    now = replace(situation, able=True, vip=True, arrived=True)
    for _ in range(3):
        step = decide(now)
        if step is Step.STAY:
            break
        role = TRANSITIONS[now.role][MOVES[step]] if step in MOVES else now.role
        epoch = now.epoch if step is not Step.PROMOTE else next_epoch(now.highest, B)
        highest = max(epoch, now.highest) if step is not Step.OVERTAKE else now.epoch
        now = replace(now, role=role, epoch=epoch, highest=highest, demote_asked=False)
    assert now.role is (Role.INIT if situation.role is Role.INIT else Role.MASTER)


def test_an_epoch_is_above_every_one_before() -> None:
    assert next_epoch(NO_EPOCH, A) == Epoch(1, A)
    assert next_epoch(Epoch(5, C), A) > Epoch(5, C)


FRESH = Standing(
    role=Role.STANDBY,
    fault="",
    seamless=True,
    vip=False,
    handing_over=False,
    complete=False,
    master_heard=False,
    links_up=True,
    relinked=None,
    silent=None,
    outranked=False,
    lone=None,
    age=100.0,
    served=False,
    outdone=False,
    lone_after=10.0,
)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"role": Role.FAULT, "fault": "OpenVPN is down"}, Grade.FAULT),
        ({"seamless": False, "vip": True}, Grade.MASTER),
        ({"seamless": False, "links_up": False}, Grade.DEGRADED),
        ({"seamless": False}, Grade.LONE),
        ({"role": Role.MASTER, "handing_over": True}, Grade.DEGRADED),
        ({"role": Role.MASTER, "links_up": False}, Grade.MASTER),
        ({"role": Role.MASTER, "outranked": True}, Grade.DEGRADED),
        ({"role": Role.HELD}, Grade.MASTER),
        ({"role": Role.HELD, "links_up": False}, Grade.DEGRADED),
        ({"role": Role.HELD, "relinked": 0.9}, Grade.DEGRADED),
        ({"role": Role.HELD, "relinked": 1.0}, Grade.MASTER),
        ({"role": Role.HELD, "silent": 9.0}, Grade.DEGRADED),
        ({"role": Role.HELD, "silent": 10.0}, Grade.MASTER),
        ({"complete": True, "master_heard": True, "links_up": False}, Grade.IN_SYNC),
        ({"complete": True, "links_up": False}, Grade.DEGRADED),
        ({"lone": 10.0, "complete": True}, Grade.LONE),
        ({"lone": 9.0, "complete": True}, Grade.IN_SYNC),
        ({"lone": 9.0}, Grade.DEGRADED),
        ({"served": True, "master_heard": True}, Grade.DEGRADED),
        ({"complete": True}, Grade.IN_SYNC),
        ({"outdone": True}, Grade.DEGRADED),
        ({"age": 9.0}, Grade.DEGRADED),
        ({"obstacle": Obstacle(Grade.FAULT, "why", "mend")}, Grade.FAULT),
        ({"role": Role.HELD, "obstacle": Obstacle(Grade.DEGRADED, "why", "mend")}, Grade.DEGRADED),
        ({"seamless": False, "obstacle": Obstacle(Grade.FAULT, "why", "mend")}, Grade.LONE),
        ({}, Grade.LONE),
    ],
)
def test_grades(changes: dict[str, object], expected: Grade) -> None:
    number, reason = grade(replace(FRESH, **changes))  # type: ignore[arg-type]
    assert number is expected
    assert reason


STANDINGS = st.builds(
    Standing,
    role=st.sampled_from([Role.STANDBY, Role.MASTER, Role.HELD]),
    fault=st.just(""),
    seamless=st.booleans(),
    vip=st.booleans(),
    handing_over=st.booleans(),
    complete=st.booleans(),
    master_heard=st.booleans(),
    links_up=st.booleans(),
    relinked=st.none() | st.floats(0, 100),
    silent=st.none() | st.floats(0, 100),
    outranked=st.booleans(),
    lone=st.none() | st.floats(0, 100),
    age=st.floats(0, 100),
    served=st.booleans(),
    outdone=st.booleans(),
    lone_after=st.just(10.0),
)


@given(STANDINGS)
def test_only_fault_refuses_the_vip(standing: Standing) -> None:
    assert grade(standing)[0] > 0
    faulty = replace(standing, role=Role.FAULT, fault="it is broken")
    assert grade(faulty) == (Grade.FAULT, "it is broken")


@given(STANDINGS)
def test_a_whole_copy_is_never_worth_less(standing: Standing) -> None:
    without, whole = replace(standing, complete=False), replace(standing, complete=True)
    assert grade(whole)[0] >= grade(without)[0]


def view(**states: object) -> ClusterView:
    found = ClusterView(0.0)
    for name, one in states.items():
        found.node_up(NodeName(name), 0.0)
        found.hello(NodeName(name), one, 0.0)  # type: ignore[arg-type]
    return found


MASTER = state(Role.MASTER, epoch=FIRST, vip=True)


def test_standbys_follow_the_highest_epoch_that_has_the_vip() -> None:
    cluster = view(
        a=MASTER,
        b=state(Role.MASTER, epoch=SECOND, vip=False),
        c=state(Role.STANDBY, epoch=Epoch(9, C)),
    )
    assert cluster.choose_master(None, NO_EPOCH) == A
    assert cluster.choose_master(B, NO_EPOCH) == A
    cluster.hello(B, state(Role.MASTER, epoch=SECOND, vip=True), 0.0)
    assert cluster.choose_master(A, NO_EPOCH) == B
    assert cluster.rivals() == [A, B]


def test_a_standby_never_goes_back_to_a_lower_epoch() -> None:
    """A master that has not heard of the epoch overtakes when it does; its records are old."""
    cluster = view(a=MASTER, b=state(Role.HELD, epoch=SECOND))
    assert cluster.choose_master(B, SECOND) == B
    cluster.node_down(B, 1.0)
    assert cluster.choose_master(B, SECOND) is None
    assert cluster.choose_master(None, FIRST) == A


def test_without_a_vip_a_standby_stays_with_whom_it_followed() -> None:
    cluster = view(a=state(Role.HELD, epoch=FIRST), b=state(Role.MASTER, epoch=SECOND))
    assert cluster.choose_master(A, NO_EPOCH) == A
    assert cluster.choose_master(None, NO_EPOCH) == B
    cluster.node_down(B, 1.0)
    assert cluster.choose_master(B, NO_EPOCH) is None  # what a has is history
    assert cluster.choose_master(A, NO_EPOCH) == A
    cluster.node_down(A, 1.0)
    assert cluster.choose_master(A, NO_EPOCH) is None


def test_the_highest_epoch_outlives_its_node() -> None:
    cluster = view(a=MASTER)
    assert cluster.highest_is_claimed()
    cluster.hello(A, state(Role.HELD, epoch=FIRST), 1.0)
    assert not cluster.highest_is_claimed()
    cluster.hello(A, state(Role.MASTER, epoch=FIRST), 1.0)
    assert cluster.highest_is_claimed()  # by a master that is promised the VIP
    cluster.node_down(A, 1.0)
    assert cluster.highest == FIRST
    assert not cluster.highest_is_claimed()
    assert cluster.state(None) is None


def test_a_master_is_outranked_by_a_higher_epoch_with_the_vip() -> None:
    cluster = view(b=state(Role.MASTER, epoch=SECOND, vip=True))
    assert cluster.is_outranked(FIRST)
    assert not cluster.is_outranked(SECOND)
    cluster.hello(B, state(Role.MASTER, epoch=SECOND), 1.0)
    assert not cluster.is_outranked(FIRST)


def test_silence_is_counted_from_the_last_node_that_fell_silent() -> None:
    cluster = view(a=MASTER, b=state(Role.STANDBY))
    assert cluster.silent_since() is None
    cluster.node_down(A, 1.0)
    cluster.node_down(B, 2.0)
    assert cluster.silent_since() == 2.0
    cluster.node_up(B, 3.0)
    assert cluster.silent_since() == 1.0


def test_packet_ids_are_granted_to_standbys_only() -> None:
    cluster = view(
        a=MASTER,
        b=state(Role.STANDBY),
        c=state(Role.STANDBY, holder=NO_HOLDER),
        d=state(Role.FAULT),
        e=state(Role.HELD),
    )
    assert list(cluster.holders()) == [B]


def test_who_is_alone() -> None:
    cluster = ClusterView(5.0)
    assert cluster.lone_since() == 5.0
    cluster.hello(B, None, 6.0)
    assert cluster.lone_since() == 5.0
    cluster.hello(B, state(), 6.0)
    assert cluster.lone_since() is None
    cluster.hello(B, None, 7.0)
    assert cluster.lone_since() == 7.0
    cluster.hello(B, state(), 8.0)
    cluster.node_down(B, 9.0)
    cluster.node_down(B, 10.0)
    cluster.node_down(C, 11.0)
    assert cluster.lone_since() == 9.0


def test_who_knows_more() -> None:
    assert view(b=state(sync=Sync.IN_SYNC)).someone_knows_more(0)
    assert view(b=state(sync=Sync.SYNCING, clients=3)).someone_knows_more(2)
    assert not view(b=state(sync=Sync.SYNCING, clients=3)).someone_knows_more(3)
    assert not view(b=MASTER).someone_knows_more(0)
    assert view(b=MASTER).anyone_serves()
    assert not view(b=state()).anyone_serves()


def test_a_node_in_trouble_is_shown() -> None:
    cluster = ClusterView(0.0)
    cluster.trouble(C, "it does not hear us", 1.0)
    ((name, other),) = cluster.others(1.0)
    assert (name, other.problem, other.believed) == (C, "it does not hear us", False)


def test_wishes_end_when_they_are_fulfilled_or_too_old() -> None:
    wishes = Wishes(0.0)
    assert wishes.vip is None
    wishes.promise(5.0)
    assert wishes.wanted(4.0)
    assert not wishes.wanted(5.0)
    wishes.set_vip(True, 4.0)
    wishes.set_vip(True, 4.5)
    assert wishes.vip_since == 4.0
    assert not wishes.promised(4.5)
    wishes.hand_over(4.5)
    assert wishes.handing_over(4.5)
    assert not wishes.handing_over(4.5 + HANDOVER_MAX)
    wishes.set_vip(False, 6.0)
    assert not wishes.handing_over(6.0)
    assert not wishes.arrived


def test_who_has_no_vip_hands_nothing_over() -> None:
    wishes = Wishes(0.0)
    wishes.set_vip(False, 0.0)
    wishes.promise(2.0)
    wishes.hand_over(1.0)
    assert not wishes.handing_over(1.0)
