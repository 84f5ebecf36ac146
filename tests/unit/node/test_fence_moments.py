"""When a master counts as silent, when its fence is run again, and how long a failure counts."""

from __future__ import annotations

import math
from collections import deque

import pytest

from ovpnha.model import Epoch, FencePolicy, Grade, InstanceName, NodeName, Role
from ovpnha.node.cluster.fence import LATE, STOPS, Fence, FenceFacts, FenceOutcome, Suspect
from ovpnha.node.outputs import Output, RunFence
from ovpnha.node.role.succession import Step

A, B = NodeName("a"), NodeName("b")
DUE = 100.0
SLACK = 0.001


class Due:
    """A required fence, and a promotion that is due from 100 s on."""

    def __init__(self, *, unknown_waits: bool = True) -> None:
        self.outputs: deque[Output] = deque()
        self.fence = Fence(
            InstanceName("udp"), FencePolicy.REQUIRED, self.outputs, unknown_waits=unknown_waits
        )

    def at(
        self, now: float, *suspects: Suspect, vip: bool = True, step: Step = Step.PROMOTE
    ) -> Step:
        facts = FenceFacts(Role.STANDBY, vip, True, suspects)
        return self.fence.filter(step, lambda: facts, now)

    @property
    def asked(self) -> list[NodeName]:
        return [one.node for one in self.outputs if isinstance(one, RunFence)]


def silent(node: NodeName = A, epoch: int = 3) -> Suspect:
    return Suspect(node, Epoch(epoch, node), False, -math.inf, -math.inf, -math.inf)


def believed(heard: float, proved: float = 0.0) -> Suspect:
    return Suspect(A, Epoch(3, A), True, heard, proved, 0.0)


def test_who_is_not_believed_is_fenced_at_once_the_newest_first() -> None:
    due = Due()
    assert due.at(DUE, silent(A, 3), silent(B, 4)) is Step.STAY
    assert due.asked == [B]
    due.fence.done(B, "", DUE + 0.2)
    assert due.at(DUE + 0.2, silent(A, 3), silent(B, 4)) is Step.STAY
    assert due.asked == [B, A]
    due.fence.done(A, "", DUE + 0.5)
    assert due.at(DUE + 0.5, silent(A, 3), silent(B, 4)) is Step.PROMOTE
    assert due.fence.told == {FenceOutcome.FENCED.value: 0.5}


def lost(at: float) -> Suspect:
    return Suspect(A, Epoch(3, A), False, -math.inf, -math.inf, at)


@pytest.mark.parametrize(("ago", "asked"), [(1.0, True), (1.0 - SLACK, False)])
def test_who_was_lost_a_moment_ago_is_given_a_second(ago: float, asked: bool) -> None:
    due = Due()
    due.at(DUE, lost(DUE - ago))
    assert bool(due.asked) is asked
    due.at(DUE - ago + 1.0, lost(DUE - ago))
    assert due.asked == [A]


@pytest.mark.parametrize("after", [0.2, 1.0 - SLACK, 1.2])
def test_who_is_lost_while_the_fence_is_due_has_one_second_in_all(after: float) -> None:
    due = Due()
    due.at(DUE, believed(DUE - 2.0))
    now = DUE + after
    if now < DUE + 1.0:
        due.at(now, lost(now))
        assert not due.asked
        assert due.fence.get_timer() == DUE + 1.0
        now = DUE + 1.0
    due.at(now, lost(DUE + after))
    assert due.asked == [A]


def test_who_was_lost_before_is_looked_at_when_its_second_is_over() -> None:
    due, at = Due(), DUE - 0.9 + SLACK / 7
    due.at(DUE, lost(at))
    timer = due.fence.get_timer()
    assert timer == at + 1.0
    due.at(timer, lost(at))
    assert due.asked == [A]


def test_after_a_stop_it_has_a_second_however_long_it_was_lost() -> None:
    due = Due()
    due.at(DUE, lost(DUE - 0.5))
    stopped = DUE + 0.5 + LATE + SLACK
    due.at(stopped, lost(DUE - 0.5))
    assert not due.asked
    due.at(stopped + 1.0, lost(DUE - 0.5))
    assert due.asked == [A]


def test_a_late_timer_begins_the_second_anew_but_not_for_ever() -> None:
    due = Due()
    due.at(DUE, believed(DUE - 0.1))
    now = DUE
    for _ in range(STOPS):
        now += 1.0 + LATE + SLACK
        due.at(now, believed(DUE - 0.1))
        assert not due.asked
        assert due.fence.get_timer() == now + 1.0
    due.at(now + 1.0 + LATE + SLACK, believed(DUE - 0.1))
    assert due.asked == [A]


@pytest.mark.parametrize(
    ("now", "heard", "asked"),
    [
        (DUE + 1.0 - SLACK, DUE - 5.0, False),
        (DUE + 1.0, DUE, True),
        (DUE + 1.0, DUE + SLACK, False),
        (DUE + 1.4, DUE + 0.4, True),
    ],
)
def test_who_is_believed_is_silent_when_it_was_not_heard_for_a_second(
    now: float, heard: float, asked: bool
) -> None:
    due = Due()
    assert due.at(DUE, believed(DUE - 0.1)) is Step.STAY
    assert due.fence.get_timer() == DUE + 1.0
    assert due.at(now, believed(heard)) is Step.STAY
    assert bool(due.asked) is asked
    if now >= DUE + 1.0 and not asked:
        assert due.fence.get_timer() == pytest.approx(now + 0.1), "it is looked at again"


@pytest.mark.parametrize(
    ("now", "proved", "lives"),
    [
        (DUE + 1.0, DUE, True),
        (DUE + 1.0, DUE - SLACK, False),
        (DUE + 1.0 - SLACK, DUE + 0.5, False),
    ],
)
def test_who_has_proved_since_then_that_it_lives_needs_no_fence(
    now: float, proved: float, lives: bool
) -> None:
    due = Due()
    assert due.at(DUE, believed(DUE)) is Step.STAY
    step = due.at(now, believed(now, proved))
    assert step is (Step.PROMOTE if lives else Step.STAY)
    assert due.asked == []


@pytest.mark.parametrize(("heard", "step"), [(DUE - 1.0, Step.STAY), (DUE - 0.9, Step.PROMOTE)])
def test_where_the_vip_was_promised_it_is_enough_to_have_heard_it_within_a_second(
    heard: float, step: Step
) -> None:
    assert Due().at(DUE, believed(heard), vip=False) is step


def test_what_failed_is_run_again_and_from_the_third_time_on_the_node_is_worth_less() -> None:
    due, now = Due(), DUE
    most: list[Grade | None] = []
    for number, wait in enumerate((5.0, 10.0, 20.0, 40.0, 60.0, 60.0)):
        assert due.at(now, silent()) is Step.STAY
        assert len(due.asked) == number + 1
        due.fence.done(A, "exit code 1", now + 1.0)
        most.append(due.fence.most)
        assert due.at(now + 1.0 + wait - SLACK, silent()) is Step.STAY
        assert len(due.asked) == number + 1
        assert due.fence.get_timer() == now + 1.0 + wait
        now += 1.0 + wait
    assert most == [Grade.LONE] * 2 + [Grade.DEGRADED] * 4
    assert due.fence.statistics(now).fence_failures == 6


def test_a_failure_counts_for_a_minute_after_nobody_waits_for_it_any_more() -> None:
    due = Due()
    due.at(DUE, silent())
    due.fence.done(A, "exit code 1", DUE + 1.0)
    assert due.fence.statistics(DUE).fence_waits
    due.at(DUE + 2.0, silent(), step=Step.STAY)
    assert not due.fence.statistics(DUE).fence_waits
    assert due.fence.get_timer() == DUE + 61.0
    due.fence.handle_timer(DUE + 61.0 - SLACK)
    assert due.fence.most == Grade.LONE
    due.fence.handle_timer(DUE + 61.0)
    told: tuple[Grade | None, float | None] = due.fence.most, due.fence.get_timer()
    assert told == (None, None)


@pytest.mark.parametrize(("now", "step"), [(109.999, Step.PROMOTE), (110.0, Step.STAY)])
def test_a_word_that_none_is_needed_holds_until_its_end(now: float, step: Step) -> None:
    due = Due()
    due.fence.overrule(110.0)
    assert due.at(now, silent()) is step
    assert due.asked == ([] if step is Step.PROMOTE else [A])
