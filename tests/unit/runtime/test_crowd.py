from __future__ import annotations

from ovpnha.runtime.crowd import Crowd


def make(limit: int, busy: set[str]) -> tuple[Crowd[str], list[str]]:
    away: list[str] = []
    return Crowd(limit, lambda one: one in busy, away.append), away


def test_the_longest_idle_one_makes_room() -> None:
    crowd, away = make(2, set())
    for one in "abc":
        crowd.enter(one)
    assert away == ["a"]
    crowd.asked("b")
    crowd.enter("d")
    assert away == ["a", "c"]
    assert len(crowd) == 2


def test_who_is_being_answered_stays() -> None:
    busy = {"a"}
    crowd, away = make(2, busy)
    for one in "abc":
        crowd.enter(one)
    assert away == ["b"]
    busy.add("c")
    crowd.enter("d")
    assert away == ["b", "d"], "nobody is idle: the newcomer leaves"


def test_who_has_left_is_forgotten() -> None:
    crowd, away = make(1, set())
    crowd.enter("a")
    crowd.leave("a")
    crowd.leave("a")
    crowd.asked("a")
    crowd.enter("b")
    assert away == []
