"""How many renegotiations are under way at once is what the machine manages."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable

import pytest

from ovpnha.model import Uid
from ovpnha.node.master.pacing import FIRST_WINDOW, LATE, Pace
from tests.unit.node.doubles import uid

STEP = 0.01


class Machine:
    """An OpenVPN that manages so many renegotiations a second, one after the other."""

    def __init__(self, capacity: float, trip: Callable[[int], float], rate: float = 1000.0) -> None:
        self.pace = Pace(rate)
        self.open: dict[int, float] = {}
        self.took: list[float] = []
        self.widest = 0
        self._capacity = capacity
        self._trip = trip
        self._numbers = itertools.count()
        self._over: deque[tuple[float, int]] = deque()
        self._free_at = 0.0

    def run(self, seconds: float, start: float = 0.0) -> None:
        now = start
        while now < start + seconds:
            while not self.pace.full and now >= self.pace.due:
                self._begin(next(self._numbers), now)
            for end, number in [one for one in self._over if one[0] <= now]:
                self._over.remove((end, number))
                self.took.append(now - self.open.pop(number))
                self.pace.end(name(number), now)
            self.pace.handle_timer(now)
            now += STEP

    def _begin(self, number: int, now: float) -> None:
        self.pace.begin(name(number), now)
        self.open[number] = now
        self.widest = max(self.widest, len(self.open))
        trip = self._trip(number)
        if trip < float("inf"):
            self._free_at = max(now, self._free_at) + 1 / self._capacity
            self._over.append((self._free_at + trip, number))


def name(number: int) -> Uid:
    return uid(number % 256 + (number << 8))


def near(_number: int) -> float:
    return 0.02


def test_a_machine_with_room_is_used_up_to_the_rate() -> None:
    machine = Machine(500.0, near, rate=50.0)
    machine.run(20.0)
    assert 900 <= len(machine.took) <= 1100


@pytest.mark.parametrize("capacity", [2.0, 10.0, 40.0])
def test_a_busy_machine_is_not_asked_for_more_than_it_manages(capacity: float) -> None:
    """Nobody waits for long behind the others, and the machine is not idle either."""
    machine = Machine(capacity, near)
    machine.run(60.0)
    assert len(machine.took) >= 0.8 * capacity * 60
    assert max(machine.took) <= 1.5 * LATE


def test_clients_that_are_far_away_are_no_sign_of_a_busy_machine() -> None:
    machine = Machine(500.0, lambda _number: 2.4)
    machine.run(30.0)
    assert machine.widest > 40


def test_clients_that_never_answer_delay_nobody_else() -> None:
    machine = Machine(500.0, lambda number: near(number) if number % 5 else float("inf"), rate=50.0)
    machine.run(30.0)
    assert len(machine.took) >= 900


def test_a_machine_that_answers_nobody_is_left_in_peace() -> None:
    machine = Machine(500.0, lambda _number: float("inf"))
    machine.run(LATE * 20)
    assert len(machine.open) <= FIRST_WINDOW + 22
    assert machine.pace.full


def test_who_is_late_or_gone_is_not_counted() -> None:
    pace = Pace(1000.0)
    for number in range(4):
        pace.begin(uid(number), 0.0)
    assert pace.full
    pace.leave(uid(0))
    assert not pace.full
    assert pace.get_timer() == LATE
    pace.handle_timer(LATE)
    assert pace.get_timer() is None
    pace.end(uid(1), LATE + 1.0)  # says nothing any more
    assert not pace.full


def test_another_promotion_begins_anew() -> None:
    pace = Pace(1.0)
    for number in range(4):
        pace.begin(uid(number), 0.0)
    pace.clear()
    assert not pace.full
    assert pace.get_timer() is None
    pace.use_rate(1000.0)
    pace.begin(uid(9), 100.0)
    assert pace.due < 101.0


def test_the_window_grows_by_one_for_each_that_ends_well_while_it_is_probing() -> None:
    pace = Pace(1000.0)
    for number in range(int(FIRST_WINDOW)):
        pace.begin(uid(number), 0.0)
    assert pace.full
    pace.end(uid(0), 0.02)
    for number in range(100, 102):
        assert not pace.full
        pace.begin(uid(number), 0.02)
    assert pace.full


def test_after_too_much_the_window_grows_by_one_in_as_many_as_it_holds() -> None:
    pace = Pace(1000.0)
    for number in range(int(FIRST_WINDOW)):
        pace.begin(uid(number), 0.0)
    pace.handle_timer(LATE)  # none has ended: half of it from now on
    room: list[int] = []
    for number in range(10, 14):
        while not pace.full:
            pace.begin(uid(number + 100 * len(room)), 6.0)
            room.append(number)
        pace.end(next(iter(pace._open)), 6.02)
    assert [room.count(number) for number in range(10, 14)] == [2, 1, 1, 2]


def test_what_was_under_way_at_a_cut_causes_no_other() -> None:
    """Of two that were begun in the moment of the first cut, both are late."""
    pace = Pace(1000.0)
    for number, begun in ((1, 0.0), (2, LATE), (3, LATE), (4, LATE + STEP)):
        pace.begin(uid(number), begun)
    windows = []
    for now in (LATE, 2 * LATE, 2 * LATE + STEP):
        pace.handle_timer(now)
        windows.append(pace._window)
    assert windows == [FIRST_WINDOW / 2, FIRST_WINDOW / 2, FIRST_WINDOW / 4]
