"""What is heard of a master may have been held back: only an answer shows that it lives."""

from __future__ import annotations

import math
from collections import deque

import pytest

from ovpnha.model import Epoch, FencePolicy, InstanceName, NodeName, Role
from ovpnha.node.cluster.fence import LOOK, QUIET, Fence, FenceFacts, Suspect
from ovpnha.node.outputs import Output, RunFence
from ovpnha.node.role.succession import Step

A = NodeName("a")
DUE = 100.0


class Due:
    """A promotion with the VIP that is due from ``DUE`` on."""

    def __init__(self) -> None:
        self.outputs: deque[Output] = deque()
        self.fence = Fence(
            InstanceName("udp"), FencePolicy.REQUIRED, self.outputs, unknown_waits=False
        )

    def at(self, now: float, *, heard: float, proved: float, believed: bool = True) -> Step:
        one = Suspect(A, Epoch(3, A), believed, heard, proved, -math.inf)
        facts = FenceFacts(Role.STANDBY, True, True, (one,))
        return self.fence.filter(Step.PROMOTE, lambda: facts, now)

    @property
    def asked(self) -> int:
        return sum(isinstance(one, RunFence) for one in self.outputs)


@pytest.fixture
def due() -> Due:
    found = Due()
    assert found.at(DUE, heard=DUE - 0.2, proved=DUE - 0.7) is Step.STAY
    assert found.fence.get_timer() == DUE + QUIET
    return found


def test_one_that_has_answered_since_lives(due: Due) -> None:
    assert due.at(DUE + QUIET, heard=DUE + 0.8, proved=DUE + 0.1) is Step.PROMOTE
    assert not due.asked


def test_one_that_is_heard_and_does_not_answer_is_waited_for(due: Due) -> None:
    now = DUE + QUIET
    assert due.at(now, heard=now - 0.01, proved=DUE - 0.1) is Step.STAY
    assert not due.asked
    assert due.fence.get_timer() == now + LOOK
    assert due.at(now + LOOK, heard=now, proved=DUE + 0.9) is Step.PROMOTE
    assert not due.asked


def test_one_that_then_says_nothing_is_silent(due: Due) -> None:
    now = DUE + QUIET
    assert due.at(now, heard=now - 0.01, proved=DUE - 0.1) is Step.STAY
    for later in (0.5, QUIET):
        assert not due.asked
        assert due.at(now + later, heard=now - 0.01, proved=DUE - 0.1) is Step.STAY
    assert due.asked == 1


def test_one_that_is_not_believed_any_more_is_silent_whatever_comes(due: Due) -> None:
    now = DUE + QUIET
    due.at(now, heard=now - 0.01, proved=DUE - 0.1)
    never = -math.inf
    assert due.at(now + 0.5, heard=never, proved=never, believed=False) is Step.STAY
    assert due.asked == 1
