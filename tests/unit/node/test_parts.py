"""The parts of an instance: who takes what, and when time passes for them."""

from __future__ import annotations

import dataclasses
from collections import deque
from typing import get_args

import pytest

from ovpnha.management import commands, notices, replies
from ovpnha.management.codes import Code
from ovpnha.management.replies import Refused
from ovpnha.model import Epoch, NodeName
from ovpnha.node.config import InstanceConfig
from ovpnha.node.dispatch import Dispatch
from ovpnha.node.instance import Instance
from ovpnha.node.outputs import Output
from ovpnha.node.part import Part, first
from ovpnha.node.parts import Parts
from ovpnha.node.role.machine import Trigger
from ovpnha.node.role.succession import FETCH_MAX
from ovpnha.problems import ProblemKind
from tests.model_cluster import World
from tests.unit.node.doubles import EPOCH, INSTANCE, A, B, NoteTaker, state, uid


def make() -> Parts:
    outputs: deque[Output] = deque()
    return Parts(InstanceConfig(INSTANCE), A, NoteTaker(), outputs, 0.0)


@pytest.mark.parametrize("event", [*get_args(notices.Notice), *get_args(replies.Reply)])
def test_everything_that_openvpn_says_has_its_place(event: type) -> None:
    dispatch = Dispatch(Instance(make(), 0.0))
    assert event in dispatch._management or event is Refused


def test_a_refusal_has_its_place_by_its_command() -> None:
    dispatch = Dispatch(Instance(make(), 0.0))
    parts = dispatch._parts
    assert dispatch._find(Refused(commands.Kick(uid(1)), Code.UNKNOWN_CLIENT)) == (parts.openvpn,)
    assert dispatch._find(Refused(commands.Export(uid(1), ()), Code.UNKNOWN_CLIENT)) == (
        parts.exporter,
    )


def test_what_does_not_concern_a_part_changes_nothing() -> None:
    parts = make()
    for part in (*parts, Instance(parts, 0.0)):
        part.take(object(), 1.0)
    for part in parts:
        figures = part.statistics(1.0)
        assert figures is None or dataclasses.is_dataclass(figures)
    assert not parts.openvpn.counters


def test_a_part_that_has_nothing_to_do_does_nothing() -> None:
    part = Part()
    part.take(object(), 1.0)
    part.handle_timer(1.0)
    part.stop(1.0)
    assert (part.get_timer(), part.statistics(1.0), list(part.problems(1.0))) == (None, None, [])


def test_every_attribute_that_is_a_part_takes_part() -> None:
    parts = make()
    assert set(parts) == {one for one in vars(parts).values() if isinstance(one, Part)}


class Heard(NoteTaker):
    """A back channel on which B was heard at 50 s."""

    def last_heard(self, node: NodeName) -> float:
        return 50.0 if node == B else 0.0

    def last_proved(self, node: NodeName) -> float:
        return self.last_heard(node)


@pytest.mark.parametrize(("clients", "awaited"), [(5, True), (0, False)])
def test_a_standby_with_nothing_waits_for_a_node_that_has_clients(
    clients: int, awaited: bool
) -> None:
    parts = Parts(InstanceConfig(INSTANCE), A, Heard(), deque(), 0.0)
    assert not parts.situation(50.0).sources.fetching
    parts.view.hello(B, state(clients=clients), 50.0)
    parts.importer.following = B
    assert parts.situation(50.0 + FETCH_MAX - 0.01).sources.fetching is awaited
    assert not parts.situation(50.0 + FETCH_MAX).sources.fetching
    parts.view.node_down(B, 50.1)
    assert not parts.situation(50.2).sources.fetching


def test_a_node_is_alive_that_was_heard_since_the_vip_is_here() -> None:
    parts = Parts(InstanceConfig(INSTANCE), A, Heard(), deque(), 0.0)
    assert not parts._is_alive(B)
    for since, alive in ((49.9, True), (50.0, False)):
        parts.vip.set(False, since)
        parts.vip.set(True, since)
        assert parts._is_alive(B) is alive
    parts.vip.set(False, 20.0)
    parts.vip.set(True, 20.0)
    assert not parts._is_alive(None)
    assert not parts._is_alive(NodeName("c"))


def test_a_node_that_was_never_a_source_has_seen_no_change_of_clients() -> None:
    parts = make()
    assert (parts.exporter.active, parts.exporter.complete, parts.exporter.touched) == (False,) * 3


def master(*, whole: bool) -> Parts:
    """One that began its epoch with all clients, or lacks two."""
    parts = make()
    parts.role.move(Trigger.FOUND_MASTER, 0.0)
    parts.own.begin(Epoch(2, A), EPOCH, 0 if whole else 2, 0.0, whole=whole)
    return parts


@pytest.mark.parametrize("whole", [True, False])
def test_clients_that_a_standby_has_more_are_a_problem_of_a_master_that_lacks_some(
    whole: bool,
) -> None:
    parts = master(whole=whole)
    parts.view.hello(B, state(clients=3), 1.0)
    kinds = [problem.kind for problem in parts.statistics({}, 1.0).problems]
    assert (ProblemKind.CLIENTS_ELSEWHERE in kinds) is not whole


def test_they_are_none_of_a_standby() -> None:
    parts = make()
    parts.role.move(Trigger.FOUND_STANDBY, 0.0)
    parts.own.begin(Epoch(2, A), EPOCH, 2, 0.0, whole=False)
    parts.view.hello(B, state(clients=3), 1.0)
    kinds = [problem.kind for problem in parts.statistics({}, 1.0).problems]
    assert ProblemKind.CLIENTS_ELSEWHERE not in kinds


def test_first() -> None:
    assert first(()) is None
    assert first((None, 3.0, 2.0)) == 2.0
    assert first((None, 3.0, 2.0), after=2.0) == 3.0


def test_an_event_just_before_a_late_timer_does_not_make_its_moment_vanish() -> None:
    """A socket is read before a timer that is due: the deadline of a client that waits stands."""
    world = World()
    a, _ = world.add("a"), world.add("b")
    world.move_vip("a")
    world.run(2.0)
    assert a.node is not None
    due = a.node._instances[INSTANCE].parts.traffic.get_timer()
    assert due is not None
    assert due > world.now
    a.node.grade_read(INSTANCE, True, due + 0.001)
    found = a.node.get_timer()
    assert found is not None
    assert found <= due


def test_a_client_that_connects_does_not_make_the_role_be_looked_at_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    a, b = world.add("a"), world.add("b")
    world.move_vip("a")
    world.run(3.0)
    assert a.openvpn is not None
    assert b.openvpn is not None
    world.run_until(lambda: world.now % 1.0 > 0.5)
    looked: list[Instance] = []
    evaluate = Instance.evaluate

    def look(self: Instance, now: float) -> None:
        looked.append(self)
        evaluate(self, now)

    monkeypatch.setattr(Instance, "evaluate", look)
    told = [(one.node, one.node.statistics(world.now).received) for one in (a, b) if one.node]
    for number in range(20):
        a.openvpn.connect_client(f"client{number}")
        a.pump()
        world.run(0.01)
    hellos = sum(
        node.statistics(world.now).received["hello"] - before["hello"] for node, before in told
    )
    assert len(b.openvpn.clients) == 20
    assert len(looked) <= hellos + 4  # and those of timers


def test_an_openvpn_that_has_not_answered_an_order_is_not_able_to_move_the_role() -> None:
    world = World()
    a = world.add("a")
    world.run(1.0)
    assert a.node is not None
    parts = a.node._instances[INSTANCE].parts
    assert parts.switch_facts(world.now).able
    a.busy = 0.2
    world.move_vip("a")
    world.run(0.05)
    assert parts.openvpn.unanswered
    assert not parts.switch_facts(world.now).able
    world.run(2.0)
    assert parts.switch_facts(world.now).able
