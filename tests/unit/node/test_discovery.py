"""Finding out what OpenVPN is: how long it may be silent, and what one without patch is asked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ovpnha.management.codes import Code
from ovpnha.management.notices import WaitingNotice
from ovpnha.management.replies import ListReply, StatusReply
from ovpnha.node.openvpn.discovery import (
    ANSWER_WITHIN,
    PATIENCE,
    POLL_EVERY,
    PORT_WITHIN,
    RETRY_AFTER,
    Discovery,
)
from ovpnha.problems import ProblemKind
from tests.unit.node.doubles import STATUS, Desk

SLACK = 0.001


class Asker(Desk):
    """A discovery that began at 100 s."""

    def __init__(self, *, connected: bool = True) -> None:
        super().__init__()
        if not connected:
            self.openvpn.close()
        self.discovery = Discovery(self.openvpn, 100.0, b"")

    def overdue_at(self, now: float) -> bool:
        self.discovery.handle_timer(now)
        return self.discovery.overdue


def test_an_openvpn_that_is_there_has_more_time_to_answer() -> None:
    asker = Asker()
    first = 100.0 + ANSWER_WITHIN
    assert not asker.overdue_at(first - SLACK)
    assert not asker.overdue_at(first)
    assert asker.discovery.get_timer() == first + PATIENCE
    assert not asker.overdue_at(first + PATIENCE - SLACK)
    assert asker.overdue_at(first + PATIENCE)
    assert asker.discovery.get_timer() is None
    assert not asker.overdue_at(first + PATIENCE + 1)


def test_one_that_is_not_there_has_not() -> None:
    asker = Asker(connected=False)
    assert not asker.overdue_at(100.0 + ANSWER_WITHIN - SLACK)
    assert asker.overdue_at(100.0 + ANSWER_WITHIN)


def test_one_that_has_answered_is_never_overdue() -> None:
    asker = Asker()
    asker.discovery.take(StatusReply(STATUS), 101.0)
    assert asker.discovery.get_timer() == 100.0 + ANSWER_WITHIN  # half of what must be known
    asker.discovery.take(ListReply({}), 101.0)
    assert asker.discovery.get_timer() is None
    assert not asker.overdue_at(200.0)


@pytest.mark.parametrize("code", [Code.UNKNOWN_COMMAND, Code.NO_CLUSTER])
def test_one_without_cluster_is_told_of_once_and_asked_now_and_then(code: Code) -> None:
    asker = Asker()
    asker.discovery.take_refusal(code, 101.0)
    asker.openvpn.flush()
    said = len(asker.outputs)
    asker.discovery.take_refusal(code, 102.0)
    asker.openvpn.flush()
    assert len(asker.outputs) == said
    assert asker.discovery.get_timer() == 102.0 + POLL_EVERY
    assert [one.kind for one in asker.discovery.problems(102.0)] == [ProblemKind.SERVER_STOCK]
    written = b"".join(getattr(one, "data", b"") for one in asker.outputs)
    assert (written.count(b"version"), written.count(b"load-stats")) == (1, 1)
    assert len([one for one in asker.outputs if getattr(one, "level", "") == "warning"]) == 1


def test_one_that_is_starting_is_asked_again_at_once() -> None:
    asker = Asker()
    asker.discovery.take_refusal(Code.NOT_READY, 101.0)
    assert asker.discovery.get_timer() == 101.0 + RETRY_AFTER
    assert not asker.discovery.stock
    assert not asker.overdue_at(100.0 + ANSWER_WITHIN)  # it has spoken: no reason to refuse the VIP
    asker.discovery.take_refusal(Code.NOT_READY, 104.0)
    assert (asker.discovery.stock, asker.discovery.slow) == (True, True)
    asker.discovery.take_refusal(Code.NO_CLUSTER, 105.0)
    assert (asker.discovery.stock, asker.discovery.slow) == (True, False)


def test_one_that_waits_for_another_process_is_neither_overdue_nor_without_the_patch() -> None:
    asker = Asker()
    asker.discovery.take(WaitingNotice(), 100.1)
    assert asker.discovery.waiting
    assert asker.discovery.get_timer() == 100.1 + PORT_WITHIN
    assert not asker.overdue_at(100.0 + PORT_WITHIN)
    assert asker.overdue_at(100.1 + PORT_WITHIN)  # somebody else has the port
    assert asker.discovery.get_timer() is None
    for number in range(3):
        asker.discovery.take_refusal(Code.NOT_READY, 106.0 + number)
        assert not asker.overdue_at(106.0 + number)
        assert asker.discovery.get_timer() == 106.0 + number + RETRY_AFTER
    assert not asker.discovery.stock
    asker.discovery.take(StatusReply(STATUS), 120.0)
    assert not asker.discovery.waiting


def test_what_waited_is_forgotten_with_the_connection() -> None:
    asker = Asker()
    asker.discovery.take(WaitingNotice(), 100.1)
    asker.discovery.forget(101.0, wait=True)
    assert not asker.discovery.waiting
    assert asker.discovery.get_timer() == 101.0 + ANSWER_WITHIN


def test_what_is_asked_anew_is_in_doubt_until_it_is_answered_or_nobody_is_there() -> None:
    asker = Asker()
    assert not asker.discovery.doubt()
    asker.discovery.take(StatusReply(STATUS), 100.1)
    asker.discovery.settle(100.1)
    assert not asker.discovery.doubt()  # it is bound to one address, whatever the kernel is told
    asker.discovery.take(StatusReply(replace(STATUS, addresses=("2001:db8::10",))), 100.2)
    assert asker.discovery.doubt()
    assert not asker.discovery.sure
    asker.discovery.take(StatusReply(STATUS), 100.3)
    assert asker.discovery.sure
    asker.discovery.take(StatusReply(replace(STATUS, addresses=("2001:db8::10",))), 100.4)
    assert asker.discovery.doubt()
    asker.discovery.forget(101.0, wait=True)
    assert not asker.discovery.doubted
