"""What one of two processes is asked of what they share, and when it is known to be dead."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest

from ovpnha.management.codes import Code
from ovpnha.management.commands import Hold, PassOn, Take
from ovpnha.management.notices import WaitingNotice
from ovpnha.management.replies import Done, Refused, StatusReply
from ovpnha.model import Descriptors, Silence
from ovpnha.node.moving import Move, MovePhase
from ovpnha.node.openvpn.sharing import Sharing
from ovpnha.node.outputs import WriteManagement
from ovpnha.node.parts import Parts
from ovpnha.node.sides import ProcessEnd
from ovpnha.problems import ProblemKind
from tests.openvpn_status import make_status
from tests.unit.node.doubles import Desk

NOW = 100.0
SLACK = 0.001


def make(descriptors: Descriptors | None = Descriptors.OWN) -> tuple[Desk, Sharing]:
    """Of a process that has said what it has."""
    desk = Desk()
    sharing = Sharing(desk.openvpn)
    status = make_status(descriptors=descriptors, silence=Silence.DRAIN)
    sharing.take(StatusReply(status), NOW)
    return desk, sharing


class TestSharing:
    def test_of_a_new_process_nothing_is_known(self) -> None:
        sharing = Sharing(Desk().openvpn)
        assert (sharing.needs, sharing.gives, sharing.is_taken) == (False, False, False)
        assert sharing.waits is None
        assert sharing.get_timer() is None
        assert (sharing.handshakes, sharing.counting) == (None, False)

    def test_one_that_waits_needs_what_the_other_one_has_and_is_given_it_once(self) -> None:
        desk, sharing = make(None)
        sharing.take(WaitingNotice(), NOW)
        assert (sharing.needs, sharing.gives) == (True, False)
        assert sharing.begin_take() == b"cluster-take\n"
        assert not sharing.needs
        sharing.take(StatusReply(make_status(descriptors=Descriptors.TAKEN)), NOW)
        assert (sharing.needs, sharing.is_taken, sharing.waits) == (False, True, None)
        sharing.take(WaitingNotice(), NOW)
        assert sharing.needs
        assert desk.commands() == []

    def test_one_that_has_them_is_asked_once_and_has_passed_them_on_when_it_says_so(self) -> None:
        desk, sharing = make()
        assert (sharing.needs, sharing.gives, sharing.is_taken) == (False, True, False)
        sharing.ask()
        assert desk.commands() == ["cluster-descriptors"]
        assert not sharing.gives
        sharing.take(Done(PassOn()), NOW)
        assert (sharing.asked, sharing.offered, sharing.gives) == (False, True, False)
        sharing.offered = False
        assert sharing.gives

    @pytest.mark.parametrize(
        ("command", "problem"),
        [
            (PassOn(), "no"),
            (Take(), "what the other process has open does not suit it: no"),
        ],
    )
    def test_after_a_refusal_it_is_tried_again_in_five_seconds(
        self, command: PassOn | Take, problem: str
    ) -> None:
        _, sharing = make()
        if isinstance(command, Take):
            sharing.take(WaitingNotice(), NOW)
            sharing.begin_take()
        else:
            sharing.ask()
        sharing.take(Refused(command, Code.UNSUITABLE, "no"), NOW)
        assert sharing.problem == problem
        assert sharing.get_timer() == NOW + 5.0
        for now, again in ((NOW + 5.0 - SLACK, False), (NOW + 5.0, True)):
            sharing.handle_timer(now)
            assert (sharing.needs or sharing.gives) is again
        assert sharing.get_timer() is None

    def test_whose_end_it_waits_for(self) -> None:
        _, sharing = make()
        for pid, who in ((17, "process 17"), (0, "another process")):
            sharing.take(WaitingNotice(by_configuration=True, pid=pid), NOW)
            assert sharing.waits is not None
            assert sharing.waits.text.startswith(f"OpenVPN waits: {who} serves")
            assert "ss -ulpn" not in sharing.waits.fix
        sharing.take(WaitingNotice(), NOW)
        assert sharing.waits is not None
        assert "ss -ulpn" in sharing.waits.fix

    def test_why_it_waits(self) -> None:
        _, sharing = make()
        assert sharing.waits is None
        sharing.take(WaitingNotice(), NOW)
        assert sharing.waits is not None
        assert sharing.waits.kind is ProblemKind.PORT_TAKEN
        assert sharing.waits.text == "OpenVPN waits: another program has its port"
        sharing.take(Refused(Take(), Code.UNSUITABLE, "no"), NOW)
        assert sharing.waits is not None
        assert sharing.waits.text.endswith("does not suit it: no")
        assert (sharing.refused_at, "--force" in sharing.waits.fix) == (NOW, True)
        sharing.take(Refused(Take(), Code.MALFORMED, "no"), NOW)
        assert (sharing.refused_at, "ss -ulpn" in sharing.waits.fix) == (None, True)
        sharing.take(Refused(Take(), Code.UNSUITABLE, "no"), NOW)
        sharing.take(StatusReply(make_status()), NOW)
        assert sharing.refused_at is None
        sharing.stop(NOW)
        assert (sharing.waits, sharing.problem, sharing.get_timer()) == (None, "", None)

    def test_what_it_does_with_what_arrives_is_ordered_when_it_does_another_thing(self) -> None:
        desk, sharing = make()
        for silence in (Silence.DRAIN, Silence.LEAVE, Silence.LEAVE, Silence.DRAIN):
            sharing.be_silent(silence)
        assert desk.commands() == ["cluster-silence leave", "cluster-silence drain"]
        old, sharing = make(None)
        sharing.be_silent(Silence.LEAVE)
        assert old.commands() == []

    def test_the_process_is_told_to_end(self) -> None:
        desk, sharing = make()
        sharing.retire()
        assert desk.commands() == ["cluster-retire"]


def hear(desk: Desk, sharing: Sharing, line: str, now: float = NOW) -> None:
    """OpenVPN answers the oldest question that is open."""
    desk.openvpn.receive_untrusted(f"{line}\n".encode())
    sharing.take(desk.openvpn.next_event(), now)


def tell(desk: Desk, sharing: Sharing, handshakes: int, now: float = NOW) -> None:
    hear(desk, sharing, f"SUCCESS: cluster-status handshakes={handshakes}", now)


def test_only_the_newest_question_is_answered() -> None:
    desk, sharing = make()
    sharing.count_handshakes()
    sharing.count_handshakes()
    assert desk.commands() == ["cluster-status"] * 2
    tell(desk, sharing, 1)
    assert (sharing.handshakes, sharing.counting) == (None, True)
    tell(desk, sharing, 2)
    assert (sharing.handshakes, sharing.counting) == (2, False)


@pytest.mark.parametrize("forget", [Sharing.forget_handshakes, lambda sharing: sharing.stop(NOW)])
def test_what_was_asked_before_all_was_forgotten_answers_nothing(
    forget: Callable[[Sharing], None],
) -> None:
    """The connection may be the same one: the answer comes all the same."""
    desk, sharing = make()
    sharing.count_handshakes()
    forget(sharing)
    assert not sharing.counting
    sharing.count_handshakes()
    tell(desk, sharing, 0)
    assert (sharing.handshakes, sharing.counting) == (None, True)
    tell(desk, sharing, 3)
    assert (sharing.handshakes, sharing.counting) == (3, False)


def test_a_question_that_is_refused_is_not_open_any_more() -> None:
    desk, sharing = make()
    sharing.count_handshakes()
    sharing.count_handshakes()
    for open_still in (True, False):
        hear(desk, sharing, "ERROR: cluster-status: not-ready")
        assert (sharing.handshakes, sharing.counting) == (None, open_still)


def test_a_question_behind_an_order_leaves_with_it_and_only_with_it() -> None:
    desk, sharing = make()
    sharing.count_handshakes(behind=True)
    assert desk.commands() == []
    desk.openvpn.order(Hold())
    assert [output for output in desk.outputs if isinstance(output, WriteManagement)] == [
        WriteManagement(desk.openvpn.instance, b"cluster-hold\ncluster-status\n")
    ]
    desk.outputs.clear()
    desk.openvpn.order(Hold())
    assert desk.commands() == ["cluster-hold"]
    sharing.count_handshakes(behind=True)
    desk.openvpn.stop(NOW)
    desk.openvpn.order(Hold())
    assert desk.commands() == ["cluster-hold"]


def test_handshakes_are_asked_for_every_twenty_milliseconds_and_each_answer_counts_once() -> None:
    desk, sharing = make()
    mine = cast(Parts, SimpleNamespace(sharing=sharing, openvpn=desk.openvpn))
    move = Move(b"1", NOW, NOW + 2.0)
    assert move.get_timer(NOW) == NOW + 2.0
    asked = ["cluster-status"]
    assert not move.is_calm(mine, NOW)
    assert desk.commands() == asked
    assert move.get_timer(NOW) == NOW + 0.02
    tell(desk, sharing, 1)
    assert not move.is_calm(mine, NOW + 0.02 - SLACK)
    assert desk.commands() == []
    assert not move.is_calm(mine, NOW + 0.02)
    assert desk.commands() == asked
    assert sharing.handshakes is None
    assert not move.is_calm(mine, NOW + 0.1)
    assert desk.commands() == []  # one is open
    tell(desk, sharing, 0, NOW + 0.11)
    assert move.is_calm(mine, NOW + 0.11)
    assert sharing.handshakes is None
    assert not move.is_calm(mine, NOW + 0.11)
    assert desk.commands() == asked


def test_what_was_told_before_a_move_began_is_asked_again() -> None:
    desk, sharing = make()
    mine = cast(Parts, SimpleNamespace(sharing=sharing, openvpn=desk.openvpn))
    sharing.count_handshakes()
    tell(desk, sharing, 0)
    desk.commands()
    assert not Move(b"1", NOW, NOW + 2.0).is_calm(mine, NOW)
    assert desk.commands() == ["cluster-status"]


def test_a_move_is_over_when_it_is_done_or_has_failed_and_the_vip_is_between_the_two_before() -> (
    None
):
    move = Move(b"1", NOW, NOW + 2.0)
    found = {}
    for number, phase in enumerate(MovePhase):
        move.enter(phase, NOW + number, "why")
        assert (move.phase, move.since, move.reason) == (phase, NOW + number, "why")
        found[phase.value] = (move.over, move.critical, move.ended_at)
    assert found == {
        "waiting": (False, False, None),
        "holding": (False, True, None),
        "promoting": (False, True, None),
        "returning": (False, True, None),
        "done": (True, False, NOW + 4),
        "failed": (True, False, NOW + 5),
    }


class TestProcessEnd:
    """Nothing but the kernel's word, or a socket that nobody has open, proves a death."""

    def test_one_that_was_never_seen_is_dead_if_nobody_has_its_socket_open(self) -> None:
        end = ProcessEnd()
        end.miss(absent=False)
        assert not end.ended
        end.miss(absent=True)
        assert (end.ended, end.seen) == (True, False)

    def test_one_that_was_seen_is_not(self) -> None:
        end = ProcessEnd()
        end.begin()
        end.leave(waiting=False)
        end.miss(absent=True)
        assert not end.ended
        end.end()
        assert end.ended

    def test_one_that_waited_serves_nobody_unless_the_one_before_it_may_live(self) -> None:
        end = ProcessEnd()
        end.begin()
        assert not end.doubted
        end.leave(waiting=True)
        assert end.ended
        end.begin()
        assert (end.ended, end.doubted) == (False, False)
        end.leave(waiting=False)
        end.begin()
        assert end.doubted
        end.leave(waiting=True)
        assert not end.ended
        end.end()
        assert (end.ended, end.doubted) == (True, False)
        end.begin()
        assert not end.doubted
