"""Whom the machine's VIP is for: every row of the arbiter's table."""

from __future__ import annotations

import itertools

import pytest

from ovpnha.machines import Process
from ovpnha.model import Epoch, NodeName
from ovpnha.node.arbiter import FIND, Choice, Place, Side, choose
from ovpnha.node.role.reasons import BETTER, CRASHED

MAIN, SPARE = Process.MAIN, Process.SPARE


def side(place: Place, *, counter: int = 0, **known: bool) -> Side:
    """A process that lives, unless told otherwise."""
    told = {"ended": place in (Place.ABSENT, Place.WAITING), **known}
    return Side(place, Epoch(counter, NodeName("a")), **told)


def find(main: Side, spare: Side, waited: float = 0.0) -> Process | None:
    return choose(None, {MAIN: main, SPARE: spare}, vip=True, waited=waited).slot


ABSENT = side(Place.ABSENT)
UNREACHED = side(Place.ABSENT, ended=False)
STANDBY = side(Place.STANDBY)
OWNER = side(Place.STANDBY, own=True)
WHOLE = side(Place.STANDBY, whole=True)
MASTER = side(Place.MASTER)
HELD = side(Place.HELD)
SILENT = side(Place.SILENT)
WAITING = side(Place.WAITING)
FAULT = side(Place.FAULT)
DIFFERS = side(Place.FAULT, told=True)
DOUBTED = side(Place.WAITING, ended=False)
ALL = [*(side(place) for place in Place), WHOLE, UNREACHED, DIFFERS, DOUBTED]


@pytest.mark.parametrize(
    ("main", "spare", "slot"),
    [
        (MASTER, STANDBY, MAIN),
        (STANDBY, MASTER, SPARE),
        (SILENT, MASTER, SPARE),
        (UNREACHED, MASTER, SPARE),
        (MASTER, UNREACHED, MAIN),
        (HELD, MASTER, SPARE),
        (HELD, STANDBY, MAIN),
        (STANDBY, HELD, SPARE),
        (side(Place.HELD, counter=5), side(Place.HELD, counter=6), SPARE),
        (side(Place.MASTER, counter=7), side(Place.MASTER, counter=6), MAIN),
        (SILENT, STANDBY, None),
        (SILENT, ABSENT, MAIN),
        (WAITING, SILENT, SPARE),
        (FAULT, WAITING, MAIN),
        (SILENT, UNREACHED, None),
        (SILENT, DOUBTED, None),
        (SILENT, HELD, None),
        (HELD, SILENT, None),
        (HELD, UNREACHED, None),
        (HELD, ABSENT, MAIN),
        (STANDBY, SILENT, None),
        (UNREACHED, STANDBY, None),
        (STANDBY, ABSENT, MAIN),
        (ABSENT, STANDBY, SPARE),
        (STANDBY, OWNER, SPARE),
        (OWNER, OWNER, MAIN),
        (STANDBY, STANDBY, MAIN),
        (WAITING, STANDBY, SPARE),
        (WAITING, ABSENT, MAIN),
        (ABSENT, ABSENT, MAIN),
        (FAULT, ABSENT, MAIN),
        (FAULT, STANDBY, MAIN),
        (STANDBY, FAULT, SPARE),
        (FAULT, FAULT, None),
        (DIFFERS, HELD, SPARE),
        (FAULT, MASTER, SPARE),
    ],
)
def test_who_is_found(main: Side, spare: Side, slot: Process | None) -> None:
    assert find(main, spare) is slot


def test_who_is_not_reached_is_waited_for_so_long() -> None:
    assert find(STANDBY, UNREACHED, FIND - 0.001) is None
    assert find(ABSENT, UNREACHED, FIND) is SPARE


@pytest.mark.parametrize("idle", [STANDBY, HELD, OWNER, ABSENT, WAITING, DIFFERS])
@pytest.mark.parametrize("doubted", [UNREACHED, FAULT, DOUBTED])
def test_who_may_serve_is_given_the_vip_and_nobody_beside_it(doubted: Side, idle: Side) -> None:
    assert find(doubted, idle, FIND) is MAIN
    assert find(idle, doubted, FIND) is SPARE


def test_of_two_that_may_serve_nobody_is_given_it() -> None:
    assert find(UNREACHED, FAULT, FIND) is None
    assert find(FAULT, UNREACHED, 60.0) is None


@pytest.mark.parametrize("vip", [True, False])
@pytest.mark.parametrize("slot", [None, *Process])
def test_whoever_is_given_it_the_other_one_does_not_serve(slot: Process | None, vip: bool) -> None:
    """Unless it was the one that is found master: of that the arbiter learns only here."""
    for main, spare in itertools.product(ALL, ALL):
        sides = {MAIN: main, SPARE: spare}
        chosen = choose(slot, sides, vip=vip, waited=9.0).slot
        if chosen not in (None, slot) and sides[chosen].place is not Place.MASTER:
            assert sides[chosen.other].idle


@pytest.mark.parametrize("vip", [True, False])
@pytest.mark.parametrize("slot", list(Process))
@pytest.mark.parametrize("other", [STANDBY, WHOLE, HELD, MASTER])
@pytest.mark.parametrize("mine", [ABSENT, WAITING])
def test_who_has_ended_is_replaced(mine: Side, other: Side, slot: Process, vip: bool) -> None:
    sides = {slot: mine, slot.other: other}
    assert choose(slot, sides, vip=vip, waited=9.0) == Choice(slot.other, CRASHED)


@pytest.mark.parametrize("other", [ABSENT, WAITING, SILENT, FAULT])
def test_not_by_one_that_cannot_serve(other: Side) -> None:
    sides = {MAIN: ABSENT, SPARE: other}
    assert choose(MAIN, sides, vip=True, waited=9.0) == Choice(MAIN)


@pytest.mark.parametrize("place", list(Place))
def test_who_may_live_keeps_the_vip(place: Place) -> None:
    for slot, other in itertools.product(Process, (STANDBY, WHOLE, HELD)):
        sides = {slot: side(place, ended=False), slot.other: other}
        assert choose(slot, sides, vip=True, waited=9.0) == Choice(slot)


@pytest.mark.parametrize(
    ("slot", "main", "spare", "chosen"),
    [
        (MAIN, STANDBY, WHOLE, SPARE),
        (MAIN, DIFFERS, STANDBY, SPARE),
        (MAIN, FAULT, STANDBY, MAIN),
        (MAIN, UNREACHED, STANDBY, MAIN),
        (MAIN, WAITING, FAULT, SPARE),
        (MAIN, WHOLE, WHOLE, MAIN),
        (MAIN, STANDBY, STANDBY, MAIN),
        (SPARE, WHOLE, WHOLE, MAIN),
        (SPARE, STANDBY, STANDBY, MAIN),
        (SPARE, STANDBY, WHOLE, SPARE),
        (MAIN, side(Place.STANDBY, promised=True), WHOLE, MAIN),
        (MAIN, HELD, WHOLE, MAIN),
        (MAIN, MASTER, WHOLE, MAIN),
        (SPARE, WHOLE, HELD, SPARE),
        (SPARE, WHOLE, MASTER, SPARE),
        (MAIN, STANDBY, HELD, SPARE),
    ],
)
def test_without_the_vip_it_goes_to_the_better_one(
    slot: Process, main: Side, spare: Side, chosen: Process
) -> None:
    choice = choose(slot, {MAIN: main, SPARE: spare}, vip=False, waited=9.0)
    assert choice == Choice(chosen, "" if chosen is slot else BETTER)
    assert choose(slot, {MAIN: main, SPARE: spare}, vip=True, waited=9.0).slot is slot


def test_no_situation_lets_it_wander() -> None:
    """Whoever is chosen stays so, as long as nothing else changes."""
    all_sides = [ABSENT, STANDBY, WHOLE, MASTER, HELD, SILENT, WAITING, FAULT]
    for main, spare, vip in itertools.product(all_sides, all_sides, (True, False)):
        sides = {MAIN: main, SPARE: spare}
        for slot in Process:
            chosen = choose(slot, sides, vip=vip, waited=9.0).slot
            assert choose(chosen, sides, vip=vip, waited=9.0).slot is chosen
