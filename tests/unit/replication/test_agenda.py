"""Who is looked at in a step: those that it concerns, and no others."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ovpnha.model import InstanceName
from ovpnha.replication.agenda import Addressed, Agenda
from ovpnha.replication.pacing import next_beat

ONE, TWO, THREE = InstanceName("one"), InstanceName("two"), InstanceName("three")


@dataclass
class Member:
    time: float | None
    asked: int = 0

    def get_timer(self) -> float | None:
        self.asked += 1
        return self.time


def test_only_who_was_touched_is_asked_for_its_time() -> None:
    members = {ONE: Member(5.0), TWO: Member(3.0), THREE: Member(None)}
    agenda = Agenda(members)
    assert agenda.due(0.0) == [ONE, TWO, THREE], "all are new"
    assert agenda.get_timer() == 3.0
    assert agenda.due(2.999) == []
    members[ONE].time = 1.0
    agenda.touch(ONE)
    assert agenda.due(0.0) == [ONE]
    asked = members[TWO].asked
    assert agenda.get_timer() == 1.0
    assert members[TWO].asked in (asked, asked + 1), "once, by what watches all tests here"


def test_whose_time_has_come_is_due_until_it_is_asked_again() -> None:
    members = {ONE: Member(5.0), TWO: Member(3.0)}
    agenda = Agenda(members)
    agenda.get_timer()
    assert agenda.due(3.0) == [TWO]
    assert agenda.due(2.0) == [TWO], "it has been looked at, and may have another time"
    members[TWO].time = None
    assert agenda.get_timer() == 5.0
    assert agenda.due(4.0) == []


def test_who_leaves_has_no_time() -> None:
    members = {ONE: Member(5.0)}
    agenda = Agenda(members)
    agenda.get_timer()
    del members[ONE]
    agenda.leave(ONE)
    assert agenda.get_timer() == math.inf
    assert agenda.due(9.0) == []
    agenda.leave(ONE)


def test_whoever_is_addressed_has_its_turn() -> None:
    sources: Addressed[Member] = Addressed()
    assert sources.get_timer() == math.inf
    sources[ONE], sources[TWO] = Member(5.0), Member(3.0)
    assert sources.due(0.0) == [sources.seen[ONE], sources.seen[TWO]]
    sources.get_timer()
    assert sources.due(0.0) == []
    assert sources.get(THREE) is None
    assert sources.get(TWO) is sources.seen[TWO]
    assert sources.due(0.0) == [sources.seen[TWO]]
    sources.get_timer()
    assert sources[ONE] is sources.seen[ONE]
    assert sources.due(0.0) == [sources.seen[ONE]]
    sources.get_timer()
    assert list(sources.all()) == sources.due(0.0) == list(sources.seen.values())
    assert sources.pop(ONE) is not None
    assert sources.pop(ONE) is None
    assert list(sources.seen) == [TWO]
    assert sources.get_timer() == 3.0


def test_all_have_one_beat() -> None:
    assert next_beat(10.1, 0.5) == 10.5
    assert next_beat(10.499, 0.5) == 10.5
    assert next_beat(10.5, 0.5) == 11.0
    for beats in range(1, 2000):
        now = beats * 0.1
        assert now < next_beat(now, 0.1) <= now + 0.1 + 1e-9
