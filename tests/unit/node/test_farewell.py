"""Clients of a server that is about to end are told to reconnect, one after the other."""

from __future__ import annotations

import itertools

import pytest

from ovpnha.machines import Process
from ovpnha.management.replies import ClientStatusReply, IdentitiesReply
from ovpnha.model import ServerClient
from ovpnha.node.master.farewell import (
    AGAIN_AFTER,
    ASKED_FOR,
    LEFT_FOR,
    LONGEST,
    NO_FAREWELL,
    QUIESCE_EVERY,
    SETTLES,
    Farewell,
)
from ovpnha.node.master.protection import Protection
from ovpnha.node.outputs import WriteManagement
from tests.unit.node.doubles import INSTANCE, Desk, uid
from tests.unit.node.pairs import lone, lone_serving
from tests.unit.node.test_pair_verbs import commands

RATE = 10.0
BEGIN = ["cluster-quiesce 5"]
ASK = ["cluster-list", "status 3"]
SPARE, MAIN = Process.SPARE, Process.MAIN


def client(cid: int) -> ServerClient:
    return ServerClient("name", "UNDEF", "192.0.2.1:5", "10.8.0.2", "1", 0, 0, cid=cid)


class Parting(Desk):
    """A master that tells its clients, ``RATE`` a second."""

    def __init__(self) -> None:
        super().__init__()
        self.farewell = Farewell(self.openvpn, Protection(self.openvpn, 0.1), RATE)

    def listen(self) -> None:
        """It has begun, at 0, and asks who is there, at ``SETTLES``."""
        self.farewell.begin(0.0)
        assert self.commands() == BEGIN
        said = [one for one in self.pass_time(SETTLES) if one[1] not in BEGIN]
        assert said == [(SETTLES, one) for one in ASK]

    def commands(self) -> list[str]:
        """With those that are OpenVPN's own."""
        self.openvpn.flush()
        data = b"".join(one.data for one in self.outputs if isinstance(one, WriteManagement))
        self.outputs.clear()
        return data.decode().splitlines()

    def tell_of(self, *cids: int, now: float) -> None:
        """OpenVPN answers; it knows no uid of number 99, which is not connected yet."""
        uids = {cid: uid(cid) for cid in cids if cid not in (-1, 99)}
        self.farewell.take(IdentitiesReply(uids), now)
        self.farewell.take(ClientStatusReply(tuple(map(client, cids))), now)

    def pass_time(self, until: float) -> list[tuple[float, str]]:
        """What is said up to then, and when; somebody asks for it all the time."""
        said = [(0.0, one) for one in self.commands()]
        while (due := self.farewell.get_timer()) is not None and due <= until:
            self.farewell.handle_timer(due)
            assert self.farewell.get_timer() != due
            said += [(round(due, 6), one) for one in self.commands()]
            if self.farewell.statistics(due).active:
                self.farewell.begin(due)
        return said


def told(said: list[tuple[float, str]], word: str = "client-kill") -> list[tuple[float, str]]:
    return [(at, one) for at, one in said if one.startswith(word)]


def test_who_is_there_is_told_one_after_the_other_and_once_more() -> None:
    desk = Parting()
    desk.listen()
    desk.tell_of(1, 2, 99, -1, now=SETTLES)
    said = desk.pass_time(SETTLES + 0.9)
    assert [one for _, one in told(said)] == [
        f"client-kill {cid} RESTART,[P]" for cid in (1, 2, 99)
    ]
    assert [at for at, _ in told(said)] == [0.0, SETTLES + 0.1, SETTLES + 0.2]  # the first at once
    again = [(SETTLES + AGAIN_AFTER, uid(1)), (SETTLES + 0.1 + AGAIN_AFTER, uid(2))]
    assert told(said, "cluster-kick") == [(at, f"cluster-kick {one.hex()}") for at, one in again]
    assert said[-2:] == [(SETTLES + 0.2 + AGAIN_AFTER, one) for one in ASK]
    figures = desk.farewell.statistics(SETTLES + 0.9)
    assert (figures.active, figures.clients, figures.told, figures.done) == (True, 3, 3, False)


def test_who_has_come_meanwhile_is_told_too() -> None:
    desk = Parting()
    desk.listen()
    desk.tell_of(1, now=SETTLES)
    desk.pass_time(SETTLES + 0.6)
    desk.tell_of(1, 7, now=SETTLES + 0.6)
    assert [one for _, one in told(desk.pass_time(SETTLES + 1.2))] == ["client-kill 7 RESTART,[P]"]
    desk.tell_of(1, 7, now=SETTLES + 1.2)
    assert desk.farewell.statistics(SETTLES + 1.2).done
    assert desk.commands() == ["cluster-wait on 3"], "OpenVPN need not say goodbye"


def test_nobody_is_let_in_until_it_has_ended() -> None:
    desk = Parting()
    desk.listen()
    desk.tell_of(now=SETTLES)
    said = desk.pass_time(SETTLES + LEFT_FOR + 1.0)
    quiesced = [SETTLES, *(at for at, one in said if one == "cluster-quiesce 5")]
    gaps = [b - a for a, b in itertools.pairwise(quiesced)]
    assert max(gaps) <= QUIESCE_EVERY
    assert said[-2:] == [
        (SETTLES + LEFT_FOR, one) for one in ("cluster-wait off", "cluster-quiesce 0")
    ]
    assert desk.farewell.statistics(0.0) == NO_FAREWELL
    assert not [one for _, one in said if one == "cluster-list"], "nobody can have come"


def test_who_was_answered_before_is_waited_for() -> None:
    """Nobody listed means nothing yet: one who was answered just before may still come in."""
    desk = Parting()
    desk.farewell.begin(0.0)
    said = desk.pass_time(SETTLES - 0.01)
    assert [one for _, one in said] == BEGIN
    assert not desk.farewell.statistics(0.0).done


def test_many_are_told_within_a_limit() -> None:
    desk = Parting()
    desk.listen()
    desk.tell_of(*range(1000), now=SETTLES)
    times = [at for at, _ in told(desk.pass_time(60.0))]
    assert len(times) == 1000
    assert SETTLES + LONGEST - 0.1 < times[-1] <= SETTLES + LONGEST


def test_it_ends_when_nobody_asks_for_it_any_more() -> None:
    desk = Parting()
    desk.listen()
    desk.tell_of(*range(100), now=SETTLES)
    desk.commands()
    desk.farewell.handle_timer(SETTLES + ASKED_FOR)
    assert desk.commands() == ["cluster-quiesce 0"]
    desk.farewell.handle_timer(SETTLES + ASKED_FOR + 1.0)
    desk.farewell.end(SETTLES + ASKED_FOR + 1.0)
    assert desk.farewell.get_timer() is None
    assert desk.commands() == []


def test_answers_of_before_or_after_it_are_not_its_own() -> None:
    desk = Parting()
    desk.tell_of(1, now=0.0)
    desk.farewell.begin(0.0)
    desk.farewell.stop(0.1)
    desk.tell_of(1, now=0.1)
    assert desk.commands() == BEGIN
    desk.farewell.take("something else", 0.1)


@pytest.mark.parametrize("serving", list(Process))
def test_the_process_that_serves_tells_its_clients(serving: Process) -> None:
    world, one = lone_serving(serving)
    openvpn = one.openvpns[serving]
    one.do(lambda pair, now: pair.ask_farewell(INSTANCE, now, on=True))
    world.run(0.2)
    assert commands(openvpn, "cluster-quiesce 5")
    one.do(lambda pair, now: pair.ask_farewell(INSTANCE, now, on=False))
    world.run(0.1)
    assert commands(openvpn, "cluster-quiesce 0")


def test_who_serves_nobody_tells_nobody() -> None:
    world, one = lone()
    (other,) = (which for which in Process if which is not one.serves)
    assert one.pair is not None
    node = one.pair._cores[other]
    node.ask_farewell(INSTANCE, world.now, on=True)
    assert node.instance(INSTANCE).parts.farewell.statistics(world.now) == NO_FAREWELL
