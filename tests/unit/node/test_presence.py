"""Who is connected: asked for, joined by client id, remembered by origin."""

from __future__ import annotations

from collections import deque

from ovpnha.management.notices import DownNotice
from ovpnha.management.replies import (
    ClientStatusReply,
    IdentitiesReply,
    ListReply,
    MovedClient,
)
from ovpnha.model import InstanceName, NodeName, ServerClient
from ovpnha.node.openvpn.openvpn import Openvpn
from ovpnha.node.openvpn.presence import Presence
from ovpnha.node.outputs import Output, WriteManagement
from tests.unit.node.doubles import uid

ALICE = ServerClient("alice", "", "192.0.2.1:1", "10.8.0.2", "1790000000", 1, 2, "", 7)
BOB = ServerClient("bob", "", "192.0.2.2:1", "10.8.0.3", "1790000000", 1, 2, "", 8)


NOW = 1.0


def list_moved(*numbers: int) -> ListReply:
    moved = {uid(number): MovedClient(1, unattended=True) for number in numbers}
    return ListReply(dict.fromkeys(moved, 1), moved)


def make(*, connected: bool = True) -> tuple[Presence, Openvpn, deque[Output]]:
    outputs: deque[Output] = deque()
    openvpn = Openvpn(InstanceName("udp"), outputs)
    if connected:
        openvpn.open()
    return Presence(openvpn), openvpn, outputs


def written(openvpn: Openvpn, outputs: deque[Output]) -> bytes:
    openvpn.flush()
    return b"".join(one.data for one in outputs if isinstance(one, WriteManagement))


def test_it_is_asked_and_joined() -> None:
    presence, openvpn, outputs = make()
    presence.ask(stock=False)
    assert written(openvpn, outputs) == b"cluster-list\nstatus 3\n"
    presence.take(IdentitiesReply({7: uid(1)}), NOW)
    presence.take(ClientStatusReply((ALICE, BOB)), NOW)
    told = presence.roster({uid(1): 2.5}, None)
    assert told.answers == 1
    (one,) = told.clients  # bob is not connected yet
    assert (one.uid, one.client, one.unprotected, one.moved) == (uid(1), ALICE, 2.5, False)


def test_what_others_asked_for_is_not_an_answer() -> None:
    presence, _, _ = make()
    presence.take(ClientStatusReply((ALICE,)), NOW)
    assert presence.roster({}, None).answers == 0


def test_a_question_has_one_answer() -> None:
    presence, _, _ = make()
    presence.ask(stock=True)
    presence.take(ClientStatusReply((ALICE,)), NOW)
    presence.take(ClientStatusReply((BOB,)), NOW)  # somebody else has asked
    assert presence.roster({}, None).answers == 1


def test_without_the_patch_there_are_no_uids() -> None:
    presence, openvpn, outputs = make()
    presence.ask(stock=True)
    assert written(openvpn, outputs) == b"status 3\n"
    presence.take(ClientStatusReply((ALICE,)), NOW)
    (one,) = presence.roster({}, None).clients
    assert (one.uid, one.unprotected, one.moved, one.origin) == (None, None, False, None)


def test_nobody_is_asked_who_is_not_there() -> None:
    presence, _, _ = make(connected=False)
    presence.ask(stock=False)
    presence.take(ClientStatusReply((ALICE,)), NOW)
    assert presence.roster({}, None).answers == 0


def test_where_a_client_came_from() -> None:
    presence, _, _ = make()
    presence.take(list_moved(1), NOW)  # the sidecar was started anew, and does not know
    presence.promote(NodeName("b"))
    presence.take(list_moved(1, 2), NOW)
    presence.ask(stock=False)
    presence.take(IdentitiesReply({7: uid(1), 8: uid(2)}), NOW)
    presence.take(ClientStatusReply((ALICE, BOB)), NOW)
    first, second = presence.roster({}, None).clients
    assert (first.moved, first.origin) == (True, None)
    assert (second.moved, second.origin) == (True, NodeName("b"))
    copies = presence.roster({}, NodeName("c")).clients
    assert [one.origin for one in copies] == ["c", "c"]
    presence.take(DownNotice(uid(2)), NOW)
    assert [one.moved for one in presence.roster({}, None).clients] == [True, False]
    presence.stop(NOW)
    assert presence.roster({}, None).clients == ()


def test_a_client_whose_number_is_not_told_is_not_the_first_one() -> None:
    nameless = ServerClient("carol", "", "192.0.2.3:1", "10.8.0.4", "1790000000", 1, 2)
    first = ServerClient("dave", "", "192.0.2.4:1", "10.8.0.5", "1790000000", 1, 2, "", 0)
    presence, _, _ = make()
    presence.ask(stock=False)
    presence.take(IdentitiesReply({0: uid(1)}), NOW)
    presence.take(ClientStatusReply((nameless, first)), NOW)
    assert [one.client for one in presence.roster({}, None).clients] == [first]
