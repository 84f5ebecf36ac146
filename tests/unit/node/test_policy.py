"""The pure parts of policy: succession, grades, the view of the cluster, vip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovpnha.model import NO_EPOCH, Epoch, Grade, NodeName, Role, Sync
from ovpnha.node.cluster.grading import CopyFigures, GradeInput, grade
from ovpnha.node.cluster.picture import NO_HOLDER
from ovpnha.node.cluster.view import ClusterView
from ovpnha.node.cluster.vip_problems import VipProblem
from ovpnha.node.role import reasons
from ovpnha.node.role.lineage import Kin
from ovpnha.node.role.machine import TRANSITIONS, Trigger
from ovpnha.node.role.succession import (
    FETCH_LONG,
    FETCH_MAX,
    KEEP,
    LISTEN,
    SAY_HELD,
    Heir,
    Situation,
    Sources,
    Step,
    decide,
    next_epoch,
)
from ovpnha.node.role.vip import HANDOVER_MAX, Vip
from ovpnha.problems import Problem, ProblemKind
from tests.unit.node.doubles import INSTANCE, A, B, C, state

FIRST, SECOND = Epoch(1, A), Epoch(2, B)

WRONG = Problem(ProblemKind.OTHER, "why", "how")
HEIR = Heir(Kin.HEIR, Role.MASTER, has=True, touched=False, served=0.0, alive=False)
WHOLE = Sources(
    complete=True,
    behind=False,
    followed=None,
    alive=False,
    fetching=False,
    elsewhere=False,
    begins=False,
    unheard=False,
)
PART = replace(WHOLE, complete=False)

CALM = Situation(
    role=Role.STANDBY,
    able=True,
    vip=False,
    arrived=False,
    promised=False,
    waited=0.0,
    epoch=FIRST,
    highest=FIRST,
    highest_claimed=False,
    rivalled=False,
    touched=False,
    unanswered=False,
    carried_out=FETCH_LONG,
    changed_late=False,
    planned=False,
    held_over=False,
    heir=HEIR,
    sources=WHOLE,
)

SITUATIONS = st.builds(
    Situation,
    role=st.sampled_from(Role),
    able=st.booleans(),
    vip=st.booleans(),
    arrived=st.booleans(),
    promised=st.booleans(),
    waited=st.floats(0, 3),
    epoch=st.sampled_from([NO_EPOCH, FIRST, SECOND]),
    highest=st.sampled_from([FIRST, SECOND]),
    highest_claimed=st.booleans(),
    rivalled=st.booleans(),
    touched=st.booleans(),
    unanswered=st.booleans(),
    carried_out=st.floats(0, 3),
    changed_late=st.booleans(),
    planned=st.booleans(),
    held_over=st.booleans(),
    heir=st.builds(
        Heir,
        kin=st.sampled_from(Kin),
        role=st.sampled_from([None, Role.MASTER, Role.HELD]),
        has=st.booleans(),
        touched=st.booleans(),
        served=st.none() | st.floats(0, 5),
        alive=st.booleans(),
    ),
    sources=st.builds(
        Sources,
        complete=st.booleans(),
        behind=st.booleans(),
        followed=st.sampled_from([None, Role.MASTER, Role.HELD]),
        alive=st.booleans(),
        elsewhere=st.booleans(),
        unheard=st.booleans(),
    ),
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
        ({"vip": True, "sources": PART}, Step.PROMOTE),
    ],
)
def test_steps(changes: dict[str, object], step: Step) -> None:
    assert decide(replace(CALM, **changes)) is step  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kin", "role", "waited", "step"),
    [
        (Kin.ABOVE, Role.HELD, LISTEN / 2, Step.HOLD),
        (Kin.ABOVE, Role.HELD, LISTEN, Step.OVERTAKE),
        (Kin.ABOVE, None, 0.0, Step.OVERTAKE),
        (Kin.HEIR, Role.HELD, 0.0, Step.OVERTAKE),
    ],
)
def test_a_master_that_was_outlived(kin: Kin, role: Role, waited: float, step: Step) -> None:
    heir = replace(HEIR, kin=kin, role=role, alive=True)
    now = replace(CALM, role=Role.MASTER, vip=True, waited=waited, highest=SECOND, heir=heir)
    assert decide(now) is step
    assert decide(replace(now, touched=True)) is Step.OVERTAKE
    if step is Step.HOLD:
        held = replace(now, role=Role.HELD)
        assert decide(replace(held, unanswered=True)) is Step.STAY
        assert decide(held) is Step.DEMOTE
        assert decide(replace(held, unanswered=True, changed_late=True)) is Step.RETURN


@pytest.mark.parametrize(
    ("changes", "vip", "waited", "step"),
    [
        ({"served": None}, False, 0.0, Step.STAY),
        ({"served": KEEP - 0.01}, False, 0.0, Step.STAY),
        ({"served": KEEP}, False, KEEP, Step.DEMOTE),
        ({"served": KEEP, "has": False}, False, 0.0, Step.STAY),
        ({"role": Role.MASTER}, True, 0.0, Step.STAY),
        ({"role": Role.MASTER}, True, SAY_HELD, Step.RETURN),
        ({"role": Role.MASTER, "touched": True}, True, SAY_HELD, Step.RETURN),
        ({"role": Role.MASTER, "alive": True}, True, SAY_HELD, Step.RETURN),
        ({"touched": True, "alive": True}, True, SAY_HELD / 2, Step.STAY),
        ({"touched": True, "alive": True}, True, SAY_HELD, Step.DEMOTE),
        ({"touched": True, "alive": True, "has": False}, True, SAY_HELD, Step.RETURN),
        ({"role": None}, True, 0.0, Step.RETURN),
        ({"role": Role.HELD}, True, 0.0, Step.RETURN),
        ({"role": Role.HELD, "touched": True, "alive": True}, True, 0.0, Step.DEMOTE),
        ({"role": Role.HELD, "touched": True}, True, SAY_HELD / 2, Step.STAY),
        ({"role": Role.HELD, "touched": True}, True, SAY_HELD, Step.RETURN),
        ({"role": Role.HELD, "touched": True, "has": False}, True, 0.0, Step.RETURN),
        ({"role": Role.HELD, "kin": Kin.ABOVE, "alive": True}, True, 0.0, Step.DEMOTE),
        ({"role": Role.HELD, "kin": Kin.UNKNOWN, "alive": True}, True, 0.0, Step.DEMOTE),
        ({"role": None, "kin": Kin.ABOVE}, True, 0.0, Step.RETURN),
        ({"role": Role.MASTER, "kin": Kin.ABOVE}, True, SAY_HELD, Step.STAY),
        ({"role": Role.MASTER, "kin": Kin.ABOVE}, True, FETCH_MAX, Step.RETURN),
        ({"role": Role.HELD, "kin": Kin.ABOVE}, True, SAY_HELD, Step.STAY),
        ({"role": Role.HELD, "kin": Kin.ABOVE}, True, FETCH_MAX, Step.RETURN),
    ],
)
def test_held_below_a_higher_epoch(
    changes: dict[str, object], vip: bool, waited: float, step: Step
) -> None:
    heir = replace(HEIR, **changes)  # type: ignore[arg-type]
    held = replace(CALM, role=Role.HELD, highest=SECOND, vip=vip, waited=waited, heir=heir)
    assert decide(held) is step
    if heir.role is not Role.MASTER and (heir.alive or not vip):
        promised = replace(held, vip=False, promised=vip, heir=replace(heir, served=None))
        assert decide(promised) is step


@pytest.mark.parametrize(
    ("kin", "waited", "step"),
    [
        (Kin.ABOVE, SAY_HELD, Step.STAY),
        (Kin.ABOVE, FETCH_MAX, Step.RETURN),
        (Kin.HEIR, 0.0, Step.RETURN),
    ],
)
def test_who_outlived_us_and_begins_again_is_waited_for(
    kin: Kin, waited: float, step: Step
) -> None:
    heir, begins = replace(HEIR, kin=kin, role=None), replace(CALM.sources, begins=True)
    held = replace(CALM, role=Role.HELD, highest=SECOND, vip=True, waited=waited, heir=heir)
    assert decide(replace(held, sources=begins)) is step
    assert decide(held) is Step.RETURN


def test_after_a_planned_move_what_was_received_last_is_told_before_it_is_wiped() -> None:
    held = replace(CALM, role=Role.HELD, highest=SECOND, planned=True, waited=SAY_HELD)
    assert decide(held) is Step.DEMOTE
    assert decide(replace(held, unanswered=True)) is Step.STAY
    assert decide(replace(held, waited=SAY_HELD - 0.01)) is Step.STAY
    assert decide(replace(held, carried_out=SAY_HELD)) is Step.DEMOTE
    assert decide(replace(held, carried_out=SAY_HELD - 0.01)) is Step.STAY
    assert decide(replace(held, heir=replace(HEIR, has=False))) is Step.STAY
    assert decide(replace(held, heir=replace(HEIR, kin=Kin.UNKNOWN))) is Step.STAY
    assert decide(replace(held, heir=replace(HEIR, served=None))) is Step.STAY
    assert decide(replace(held, planned=False)) is Step.STAY
    assert decide(replace(held, planned=False, promised=True)) is Step.DEMOTE


def test_what_nobody_serves_is_kept_until_held_max() -> None:
    held = replace(CALM, role=Role.HELD, highest=SECOND, heir=replace(HEIR, role=None, served=None))
    assert decide(held) is Step.STAY
    assert decide(replace(held, held_over=True)) is Step.DEMOTE


@pytest.mark.parametrize(
    ("sources", "patience"),
    [
        (WHOLE, 0.0),
        (replace(PART, followed=Role.HELD), FETCH_MAX),
        (replace(PART, followed=Role.HELD, fetching=True), FETCH_LONG),
        (replace(WHOLE, behind=True), 0.0),
        (replace(WHOLE, behind=True, followed=Role.HELD), SAY_HELD),
        (replace(PART, followed=Role.MASTER), SAY_HELD),
        (replace(PART, followed=Role.MASTER, alive=True), FETCH_MAX),
        (replace(PART, followed=Role.MASTER, alive=True, fetching=True), FETCH_LONG),
        (replace(PART, elsewhere=True), FETCH_MAX),
        (replace(PART, begins=True), FETCH_MAX),
        (replace(PART, unheard=True), LISTEN),
        (PART, 0.0),
    ],
)
def test_a_standby_with_the_vip_waits_for_what_it_lacks(sources: Sources, patience: float) -> None:
    now = replace(CALM, vip=True, arrived=True, sources=sources, waited=patience)
    assert decide(now) is Step.PROMOTE
    if patience:
        assert decide(replace(now, waited=patience - 0.01)) is Step.STAY
    assert decide(replace(now, waited=0.0, role=Role.FAULT)) is Step.PROMOTE
    promised = replace(now, vip=False, promised=True)
    lacks = bool(sources.followed) and not sources.complete
    assert decide(promised) is (Step.STAY if lacks else Step.PROMOTE)


MOVES = {
    Step.PROMOTE: Trigger.PROMOTED,
    Step.RESUME: Trigger.RESUMED,
    Step.RETURN: Trigger.RETURNED,
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
    if step is Step.RETURN:
        assert situation.highest > situation.epoch
    if situation.role is Role.MASTER and situation.able and not situation.vip:
        assert step is (Step.STAY if situation.promised else Step.HOLD)


@given(SITUATIONS)
def test_a_vip_that_arrives_is_always_served(situation: Situation) -> None:
    """However long the chain of steps: after at most three of them the node is master.

    It has waited for as long as it may, for what others have, and OpenVPN answers its orders.
    """
    now = replace(situation, able=True, vip=True, arrived=True, waited=FETCH_LONG, unanswered=False)
    for _ in range(3):
        step = decide(now)
        if step is Step.STAY:
            break
        role = TRANSITIONS[now.role][MOVES[step]] if step in MOVES else now.role
        higher = step in (Step.PROMOTE, Step.RETURN)
        epoch = next_epoch(now.highest, B) if higher else now.epoch
        highest = max(epoch, now.highest) if step is not Step.OVERTAKE else now.epoch
        now = replace(now, role=role, epoch=epoch, highest=highest)
    assert now.role is (Role.INIT if situation.role is Role.INIT else Role.MASTER)


@pytest.mark.parametrize(
    ("step", "changes", "reason"),
    [
        (Step.HOLD, {}, ""),
        (Step.HOLD, {"vip": True}, reasons.STOOD_BACK),
        (Step.RETURN, {"vip": True}, reasons.ALONE),
        (Step.RETURN, {"vip": True, "changed_late": True}, reasons.CHANGED),
        (Step.DEMOTE, {"vip": True}, reasons.FETCHES),
        (Step.DEMOTE, {"promised": True, "heir": replace(HEIR, served=None)}, reasons.FETCHES),
        (Step.DEMOTE, {"promised": True}, reasons.SERVED),
        (Step.DEMOTE, {"held_over": True}, reasons.SERVED),
        (Step.DEMOTE, {"held_over": True, "heir": replace(HEIR, has=False)}, reasons.OVER),
        (Step.DEMOTE, {"held_over": True, "heir": replace(HEIR, served=None)}, reasons.OVER),
        (Step.RESUME, {}, ""),
    ],
)
def test_the_words_name_the_cause(step: Step, changes: dict[str, object], reason: str) -> None:
    assert reasons.describe_step(step, replace(CALM, **changes)) == reason  # type: ignore[arg-type]


def test_an_epoch_is_above_every_one_before() -> None:
    assert next_epoch(NO_EPOCH, A) == Epoch(1, A)
    assert next_epoch(Epoch(5, C), A) > Epoch(5, C)


FRESH = GradeInput(
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
        ({"role": Role.HELD, "handed_over": True}, Grade.DEGRADED),
        ({"role": Role.HELD, "handed_over": True, "superseded": True}, Grade.LONE),
        ({"seamless": False, "handed_over": True, "copied": True}, Grade.DEGRADED),
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
        ({"complete": True, "rangeless": 1}, Grade.LONE),
        ({"complete": True, "rangeless": 1, "bettered": True}, Grade.DEGRADED),
        ({"complete": True, "refused": 1}, Grade.LONE),
        ({"complete": True, "refused": 1, "empty": True}, Grade.DEGRADED),
        ({"complete": True, "refused": 1, "bettered": True}, Grade.DEGRADED),
        ({"complete": True, "empty": True, "bettered": True}, Grade.IN_SYNC),
        ({"complete": True, "master_heard": True, "refused": 1}, Grade.LONE),
        ({"lone": 9.0, "complete": True, "refused": 1}, Grade.LONE),
        ({"outdone": True}, Grade.DEGRADED),
        ({"outdone": True, "vip": True}, Grade.FAULT),
        ({"outdone": True, "vip": True, "served": True}, Grade.DEGRADED),
        ({"role": Role.MASTER, "lacking": True}, Grade.DEGRADED),
        ({"role": Role.HELD, "lacking": True}, Grade.DEGRADED),
        ({"role": Role.HELD, "lacking": True, "superseded": True, "wanting": True}, Grade.MASTER),
        ({"role": Role.HELD, "superseded": True}, Grade.LONE),
        ({"role": Role.HELD, "superseded": True, "outlived": True}, Grade.DEGRADED),
        ({"role": Role.HELD, "superseded": True, "wanting": True}, Grade.MASTER),
        ({"age": 9.0}, Grade.DEGRADED),
        ({"vip_problem": VipProblem(Grade.FAULT, WRONG)}, Grade.FAULT),
        (
            {"role": Role.HELD, "vip_problem": VipProblem(Grade.DEGRADED, WRONG)},
            Grade.DEGRADED,
        ),
        ({"seamless": False, "vip_problem": VipProblem(Grade.FAULT, WRONG)}, Grade.LONE),
        ({"failing": True, "role": Role.MASTER}, Grade.LONE),
        ({"failing": True, "role": Role.MASTER, "outranked": True}, Grade.DEGRADED),
        ({"failing": True, "role": Role.HELD}, Grade.DEGRADED),
        ({"failing": True, "complete": True, "master_heard": True}, Grade.DEGRADED),
        ({"failing": True, "seamless": False, "vip": True}, Grade.LONE),
        ({"failing": True, "seamless": False}, Grade.DEGRADED),
        ({"failing": True, "role": Role.FAULT, "fault": "OpenVPN is down"}, Grade.FAULT),
        ({"unfenced": Grade.LONE, "complete": True}, Grade.LONE),
        ({"unfenced": Grade.DEGRADED, "complete": True}, Grade.DEGRADED),
        ({"unfenced": Grade.LONE, "age": 9.0}, Grade.DEGRADED),
        ({"unfenced": Grade.DEGRADED, "role": Role.MASTER}, Grade.MASTER),
        ({"guarded": True}, Grade.DEGRADED),
        ({"guarded": True, "complete": True}, Grade.IN_SYNC),
        ({"guarded": True, "role": Role.HELD}, Grade.MASTER),
        ({"guarded": True, "outdone": True, "vip": True}, Grade.FAULT),
        ({}, Grade.LONE),
    ],
)
def test_grades(changes: dict[str, object], expected: Grade) -> None:
    number, reason = grade(replace(FRESH, **changes))  # type: ignore[arg-type]
    assert number is expected
    assert reason


IN_SYNC = {"complete": True, "master_heard": True}
IDLE = {"acts": False, "relieved": True}


@pytest.mark.parametrize(
    ("stood", "changes", "expected"),
    [
        (Grade.MASTER, {"role": Role.FAULT, "fault": "OpenVPN is down"}, Grade.FAULT),
        (Grade.MASTER, {"role": Role.MASTER, "failing": True}, Grade.MASTER),
        (Grade.MASTER, {"role": Role.MASTER, "outranked": True}, Grade.DEGRADED),
        (Grade.MASTER, {"role": Role.MASTER, "lacking": True}, Grade.DEGRADED),
        (Grade.DEGRADED, {"role": Role.MASTER}, Grade.MASTER),
        (Grade.MASTER, {"role": Role.HELD}, Grade.MASTER),
        (Grade.MASTER, {"role": Role.HELD, "links_up": False}, Grade.DEGRADED),
        (Grade.MASTER, {"served": True}, Grade.DEGRADED),  # its OpenVPN has lost its clients
        (Grade.MASTER, IN_SYNC, Grade.IN_SYNC),
        (Grade.IN_SYNC, {**IN_SYNC, **IDLE}, Grade.DEGRADED),
        (Grade.IN_SYNC, {**IN_SYNC, "acts": False}, Grade.IN_SYNC),
        (Grade.IN_SYNC, {**IN_SYNC, "acts": False, "yields": True}, Grade.DEGRADED),
        (Grade.MASTER, {"seamless": False, "links_up": False, **IDLE}, Grade.MASTER),
    ],
)
def test_a_pause_takes_the_vip_from_nobody_and_draws_it_to_nobody(
    stood: Grade, changes: dict[str, object], expected: Grade
) -> None:
    stands = (stood, "as it was")
    assert grade(replace(FRESH, stands=stands, **changes))[0] is expected  # type: ignore[arg-type]


STANDINGS = st.builds(
    GradeInput,
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
    lacking=st.booleans(),
    superseded=st.booleans(),
    outlived=st.booleans(),
    wanting=st.booleans(),
    empty=st.booleans(),
    bettered=st.booleans(),
    handed_over=st.booleans(),
)


@given(STANDINGS)
def test_only_fault_refuses_the_vip(given: GradeInput) -> None:
    """Or a standby without clients, while another has them."""
    yields = given.role is Role.STANDBY and given.vip and given.outdone
    assert grade(given)[0] > 0 or yields
    faulty = replace(given, role=Role.FAULT, fault="it is broken")
    assert grade(faulty) == (Grade.FAULT, "it is broken")


@given(STANDINGS)
def test_a_copy_that_lacks_refused_clients_is_never_worth_more(given: GradeInput) -> None:
    assert grade(replace(given, refused=1))[0] <= grade(given)[0]


@given(STANDINGS)
def test_beside_one_that_serves_it_is_no_matter_how_many_copies_a_standby_has(
    given: GradeInput,
) -> None:
    beside = replace(given, role=Role.STANDBY, served=True)
    assert grade(replace(beside, outdone=True)) == grade(replace(beside, outdone=False))


def test_copies_weigh_alike_when_only_their_number_differs() -> None:
    some = CopyFigures(7, complete=False, proved=True, refused=0, rangeless=1)
    assert some.weighs_like(some._replace(copies=8))
    assert not some.weighs_like(None)
    assert not some.weighs_like(some._replace(copies=0))
    assert not some._replace(copies=0).weighs_like(some)
    for other in ({"complete": True}, {"proved": False}, {"refused": 1}, {"rangeless": 0}):
        assert not some.weighs_like(some._replace(**other))


@given(STANDINGS)
def test_a_check_that_fails_never_refuses_the_vip_and_never_draws_it(given: GradeInput) -> None:
    """One that fails everywhere leaves the VIP where it is: who serves stands above all others."""
    well, ill = grade(given)[0], grade(replace(given, failing=True))[0]
    assert ill <= well
    assert ill > 0 or well <= 0
    serving = replace(given, role=Role.MASTER, failing=True, vip_problem=None)
    plain = not (given.handing_over or given.outranked or given.lacking)
    if given.role is not Role.MASTER and plain and (given.seamless or not given.vip):
        assert ill < grade(replace(serving, seamless=True))[0]


@given(STANDINGS)
def test_a_whole_copy_is_never_worth_less(given: GradeInput) -> None:
    without, whole = replace(given, complete=False), replace(given, complete=True)
    assert grade(whole)[0] >= grade(without)[0]


def view(**states: object) -> ClusterView:
    found = ClusterView(INSTANCE, 0.0, 10.0)
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
    cluster = ClusterView(INSTANCE, 5.0, 10.0)
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
    cluster = ClusterView(INSTANCE, 0.0, 10.0)
    assert cluster.knows_more(state(sync=Sync.IN_SYNC), 0)
    assert cluster.knows_more(state(sync=Sync.SYNCING, clients=3), 2)
    assert not cluster.knows_more(state(sync=Sync.SYNCING, clients=3), 3)
    assert not cluster.knows_more(MASTER, 0)
    assert view(b=MASTER).anyone_serves()
    assert not view(b=state()).anyone_serves()
    assert view(b=state(clients=3), c=state(clients=5)).most_clients() == 5
    assert cluster.most_clients() == 0


def test_the_heir_is_the_source_of_the_highest_epoch() -> None:
    cluster = view(a=MASTER, b=state(Role.HELD, epoch=SECOND))
    assert cluster.heir(FIRST) == state(Role.HELD, epoch=SECOND)
    assert cluster.heir(SECOND) is None
    cluster.hello(B, state(Role.STANDBY, epoch=SECOND), 1.0)
    assert cluster.heir(FIRST) is None
    cluster.node_down(B, 2.0)
    assert cluster.heir(FIRST) is None


def test_a_node_in_trouble_is_shown() -> None:
    cluster = ClusterView(INSTANCE, 0.0, 10.0)
    cluster.set_problem(C, WRONG, 1.0)
    ((name, other),) = cluster.others(1.0)
    assert (name, other.problem, other.believed) == (C, WRONG, False)


def test_wishes_of_the_vip_end_when_they_are_fulfilled_or_too_old() -> None:
    vip = Vip(0.0)
    assert vip.here is None
    vip.promise(5.0)
    assert vip.wanted(4.0)
    assert not vip.wanted(5.0)
    vip.set(True, 4.0)
    vip.set(True, 4.5)
    assert vip.since == 4.0
    assert not vip.promised(4.5)
    vip.hand_over(4.5)
    assert vip.handing_over(4.5)
    assert not vip.handing_over(4.5 + HANDOVER_MAX)
    vip.set(False, 6.0)
    assert not vip.handing_over(6.0)
    assert vip.handed_over
    vip.set(False, 6.5)
    assert vip.handed_over, "it is told once more that it has left"
    assert not vip.arrived
    vip.set(True, 7.0)
    assert not vip.handed_over


@pytest.mark.parametrize("wish", [lambda vip: vip.keep(), lambda vip: vip.promise(9.0)])
def test_the_vip_that_left_on_purpose_is_wanted_back(wish: Callable[[Vip], None]) -> None:
    vip = Vip(0.0)
    vip.set(True, 1.0)
    vip.hand_over(2.0)
    vip.set(False, 3.0)
    assert vip.handed_over
    wish(vip)
    assert not vip.handed_over


def test_who_has_no_vip_hands_nothing_over() -> None:
    vip = Vip(0.0)
    vip.set(False, 0.0)
    vip.promise(2.0)
    vip.hand_over(1.0)
    assert not vip.handing_over(1.0)


def test_the_waits_are_those_that_the_page_of_roles_names() -> None:
    assert (SAY_HELD, LISTEN, FETCH_MAX, FETCH_LONG, KEEP) == (0.1, 0.5, 1.0, 3.0, 2.5)
