"""What the other nodes say, question by question: who counts, and from which number on."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from ovpnha.model import NO_EPOCH, Epoch, Grade, HolderId, InstanceState, Role, Sync
from ovpnha.node.cluster.view import ClusterView
from ovpnha.problems import Problem, ProblemKind
from ovpnha.replication.events import HelloReceived, NodeDown, NodeUp, OneWayLink
from tests.unit.node.doubles import HOLDER, INSTANCE, A, B, C, state

SLACK = 0.001
B2, C3, B4 = Epoch(2, B), Epoch(3, C), Epoch(4, B)
WRONG = Problem(ProblemKind.OTHER, "why", "how")


def view(**states: InstanceState) -> ClusterView:
    """What node a sees, when these say so at 100 s."""
    found = ClusterView(INSTANCE, 90.0, 10.0, A)
    for name, told in states.items():
        found.take(HelloReceived({"b": B, "c": C}[name], {INSTANCE: told}), 100.0)
    return found


def standby(grade: int = 90, **changes: Any) -> InstanceState:
    return replace(state(sync=Sync.IN_SYNC), grade=grade, **changes)


@pytest.mark.parametrize(("clients", "more"), [(4, True), (5, False), (6, False)])
def test_who_has_as_many_clients_has_not_more(clients: int, more: bool) -> None:
    found = view(b=state(clients=5), c=state(Role.MASTER, clients=2))
    assert found.anyone_may_have_more(clients) is more
    assert found.most_clients() == 5
    assert view(b=standby(clients=0)).anyone_may_have_more(clients)
    assert not view().anyone_may_have_more(0)
    assert view().most_clients() == 0


@pytest.mark.parametrize(
    ("told", "fit"),
    [
        (standby(60), True),
        (standby(59), False),
        (standby(90), True),
        (replace(state(), grade=90), False),
        (replace(state(Role.HELD, sync=Sync.IN_SYNC), grade=90), False),
    ],
)
def test_a_standby_in_sync_is_worth_the_vip_from_sixty_on(told: InstanceState, fit: bool) -> None:
    assert view(b=told).anyone_fit() is fit
    assert not view().anyone_fit()


@pytest.mark.parametrize(
    ("told", "acts", "serves", "whole", "in_sync"),
    [
        (state(Role.MASTER), True, True, False, False),
        (state(Role.HELD), True, True, False, False),
        (state(Role.MASTER, sync=Sync.IN_SYNC), True, True, False, False),
        (standby(), True, False, True, True),
        (standby(paused=True), False, False, True, True),
        (state(sync=Sync.PARTIAL), False, False, True, False),
        (state(sync=Sync.SYNCING), False, False, False, False),
        (state(Role.FAULT, sync=Sync.IN_SYNC), False, False, False, False),
    ],
)
def test_who_serves_or_would_at_once(
    told: InstanceState, acts: bool, serves: bool, whole: bool, in_sync: bool
) -> None:
    found = view(b=told)
    answers = (found.anyone_acts(), found.anyone_serves(), found.anyone_whole())
    assert (*answers, found.anyone_in_sync()) == (acts, serves, whole, in_sync)


def test_packet_ids_are_for_standbys_that_tell_their_holder() -> None:
    nobody = HolderId(bytes(16))
    assert view(b=state(), c=state(holder=nobody)).holders() == {B: HOLDER}
    assert view(b=state(Role.MASTER)).holders() == {}


def test_who_says_it_has_the_vip_is_a_bearer_and_a_rival_if_it_is_master() -> None:
    found = view(b=state(Role.MASTER, vip=True), c=state(vip=True))
    assert (set(found.bearers()), list(found.rivals())) == ({B, C}, [B])
    found = view(b=state(Role.MASTER), c=state(Role.HELD, vip=True))
    assert (set(found.bearers()), list(found.rivals())) == ({C}, [])


@pytest.mark.parametrize(
    ("states", "current", "followed", "chosen"),
    [
        ({"b": state(Role.MASTER, epoch=B2, vip=True)}, None, NO_EPOCH, B),
        ({"b": state(Role.MASTER, epoch=B2, vip=True)}, None, B2, B),
        ({"b": state(Role.MASTER, epoch=B2, vip=True)}, None, C3, B),  # the highest of all
        (
            {"b": state(Role.MASTER, epoch=B2, vip=True), "c": state(epoch=C3)},
            *(None, C3, None),  # it lies below what was followed, and is history
        ),
        (
            {
                "b": state(Role.MASTER, epoch=B2, vip=True),
                "c": state(Role.MASTER, epoch=C3, vip=True),
            },
            *(B, NO_EPOCH, C),
        ),
        (
            {"b": state(Role.MASTER, epoch=B2, vip=True), "c": state(Role.MASTER, epoch=C3)},
            *(None, NO_EPOCH, B),
        ),
        ({"b": state(Role.HELD, epoch=B2), "c": state(Role.HELD, epoch=C3)}, B, C3, B),
        ({"b": state(Role.HELD, epoch=B2), "c": state(Role.HELD, epoch=C3)}, None, C3, C),
        ({"b": state(Role.HELD, epoch=B2), "c": state(epoch=C3)}, C, C3, None),
        ({}, B, NO_EPOCH, None),
    ],
)
def test_whom_a_standby_follows(
    states: dict[str, InstanceState], current: object, followed: Epoch, chosen: object
) -> None:
    assert view(**states).choose_master(current, followed) == chosen  # type: ignore[arg-type]


def test_the_highest_epoch_is_claimed_by_its_own_node_as_master() -> None:
    assert view(b=state(Role.MASTER, epoch=B2)).highest_is_claimed()
    assert not view(b=state(Role.HELD, epoch=B2)).highest_is_claimed()
    assert not view(b=state(Role.MASTER, epoch=B2), c=state(epoch=B4)).highest_is_claimed()
    rival = view(b=state(Role.MASTER, epoch=B2, vip=True))
    assert rival.is_outranked(Epoch(1, A))
    assert not rival.is_outranked(B2)
    assert not view(b=state(Role.MASTER, epoch=B2)).is_outranked(Epoch(1, A)), "without the VIP"


def test_the_heir_is_master_or_held_in_the_highest_epoch_above_ours() -> None:
    for role, there in ((Role.MASTER, True), (Role.HELD, True), (Role.STANDBY, False)):
        found = view(b=state(role, epoch=B2))
        assert (found.heir(Epoch(1, A)) is not None) is there
        assert found.heir(B2) is None
    assert view(b=state(Role.HELD, epoch=B2), c=state(epoch=B4)).heir(Epoch(1, A)) is None


def test_an_epoch_that_never_was_is_forgotten_and_one_of_others_is_not() -> None:
    found = view(b=state(Role.MASTER, epoch=B2))
    found.note_epoch(Epoch(3, A))
    found.note_epoch(Epoch(1, A))
    assert found.highest == Epoch(3, A)
    found.forget_ours(Epoch(1, A))
    assert found.highest == B2
    found.forget_ours(Epoch(5, A))
    assert found.highest == Epoch(5, A)
    found = view(b=state(epoch=Epoch(7, A)))
    found.forget_ours(NO_EPOCH)
    assert found.highest == NO_EPOCH, "another node only tells of ours"


@pytest.mark.parametrize(("heard_on", "suspected"), [(2.5, False), (2.5 + SLACK, True)])
def test_a_master_of_an_older_epoch_is_suspected_if_it_was_heard_when_the_newest_was(
    heard_on: float, suspected: bool
) -> None:
    """What has died is still believed for 2.4 s: the newer master has seen to it."""
    found = view(b=state(Role.MASTER, epoch=B2), c=state(Role.MASTER, epoch=C3))
    for node in (B, C):
        found.take(NodeDown(node, "silent"), 100.0 + heard_on)
    suspects = {one.node: one for one in found.suspects(lambda _: 99.0, lambda _: 98.0)}
    assert suspects.keys() == ({B, C} if suspected else {C})
    assert (suspects[C].epoch, suspects[C].believed) == (C3, False)
    assert (suspects[C].heard, suspects[C].proved) == (99.0, 98.0)


def test_who_made_the_highest_epoch_is_suspected_even_if_it_was_never_heard() -> None:
    found = view(b=state(epoch=C3))
    [suspect] = found.suspects(lambda _: 99.0, lambda _: 98.0)
    assert (suspect.node, suspect.epoch, suspect.believed) == (C, C3, False)
    assert (suspect.heard, suspect.proved) == (-math.inf, -math.inf)
    found.take(NodeUp(C, b"boot"), 101.0)  # type: ignore[arg-type]
    [suspect] = found.suspects(lambda _: 99.0, lambda _: 98.0)
    assert suspect.believed
    for nobody in (view(), view(b=state(epoch=Epoch(1, A)))):  # we know what we made ourselves
        assert list(nobody.suspects(lambda _: 0.0, lambda _: 0.0)) == []


def test_a_believed_master_is_suspected_whatever_its_epoch() -> None:
    found = view(b=state(Role.MASTER, epoch=B2), c=state(Role.MASTER, epoch=C3))
    suspects = list(found.suspects(lambda _: 99.0, lambda _: 98.0))
    assert [(one.node, one.believed) for one in suspects] == [(B, True), (C, True)]


def test_silence_counts_from_the_last_node_that_fell_silent() -> None:
    found = view(b=state(), c=state())
    assert (found.lone_since(), found.silent_since()) == (None, None)
    found.take(NodeDown(B, "silent"), 110.0)
    assert (found.lone_since(), found.silent_since()) == (None, 110.0)
    found.take(NodeDown(C, "silent"), 120.0)
    found.take(NodeDown(C, "silent"), 125.0)
    assert (found.lone_since(), found.silent_since()) == (120.0, 120.0)
    found.handle_timer(125.0)
    assert found.get_timer() == 130.0
    found.take(HelloReceived(B, {}), 130.0)
    assert found.lone_since() == 130.0, "it is there, and has no such instance any more"
    assert found.knows_masters


def test_what_is_known_of_a_node_that_has_told_nothing() -> None:
    found = view()
    assert not found.knows_masters
    found.take(NodeUp(B, b"boot"), 100.0)  # type: ignore[arg-type]
    [(name, other)] = found.others(100.0)
    told = other.describe(name, None, None, 103.0)
    assert (told.name, told.believed, told.age, told.lost) == (B, True, 3.0, False)
    assert (told.role, told.epoch, told.sync) == (Role.INIT, NO_EPOCH, Sync.NONE)
    assert (told.vip, told.grade, told.clients, told.openvpn) == (False, 0, 0, "")
    assert (told.has_instance, told.managed, told.paused) == (True, True, False)
    assert other.describe(name, None, None, 105.0).has_instance is False


def test_what_a_node_said_is_history_when_it_is_not_believed_any_more() -> None:
    said = replace(state(Role.MASTER, clients=3), grade=Grade.MASTER, managed=False, paused=True)
    found = view(b=said)
    [(_, other)] = found.others(100.0)
    told = other.describe(B, None, WRONG, 100.0)
    assert (told.grade, told.clients, told.managed, told.paused) == (120, 3, False, True)
    assert (told.problem, told.lost) == (WRONG, False)
    found.take(NodeDown(B, "silent"), 101.0)
    told = other.describe(B, None, None, 101.0)
    assert (told.believed, told.lost, told.managed, told.paused) == (False, True, True, False)
    assert not other.lacks(200.0)
    assert list(found.states()) == []


def test_one_that_does_not_hear_us_is_known_by_that_alone() -> None:
    found = view()
    found.take(OneWayLink(B), 100.0)
    [(_, other)] = found.others(1e6)
    assert not other.believed
    assert not other.describe(B, None, None, 100.0).lost, "it was never believed"
    assert other.problem is not None
