"""What is sent again, and what is left because it is made anew."""

from __future__ import annotations

import math

import pytest

from ovpnha.replication.backlog import STALLED, Backlog
from ovpnha.replication.entries import Entries, Upsert
from ovpnha.replication.log import FEW_LOST, CompactedLog
from tests.unit.replication.network import (
    INSTANCE,
    End,
    Network,
    look_into,
    make_record,
    make_uid,
)

CLIENTS = 300


def test_what_is_made_anew_is_left_and_what_is_new_is_not() -> None:
    backlog = Backlog()
    assert backlog.next(10.0) is None
    assert backlog.get_timer() == math.inf
    backlog.add(1, 8)
    assert backlog.next(10.0) == (1, 8)
    assert backlog.get_timer() == -math.inf
    backlog.hold(5, 10.0)
    assert backlog.next(10.0) == (6, 8)
    backlog.remove(6, 8)
    assert backlog.next(10.0) is None
    assert backlog.get_timer() == 10.0 + STALLED
    backlog.add(7, 9)
    assert backlog.next(10.1) == (7, 9)
    assert backlog.get_timer() == -math.inf


def test_it_is_sent_when_nothing_is_made_anew_any_more() -> None:
    backlog = Backlog()
    backlog.add(1, 5)
    backlog.hold(5, 10.0)
    backlog.renewed(6, 10.2)
    backlog.renewed(5, 10.1)
    assert backlog.get_timer() == 10.1 + STALLED
    assert backlog.next(10.1 + STALLED - 0.001) is None
    assert backlog.next(10.1 + STALLED) == (1, 5)
    assert backlog.get_timer() == -math.inf
    backlog.hold(5, 11.0)
    assert backlog.next(11.0) is None
    backlog.release()
    assert backlog.next(11.0) == (1, 5)


def test_while_nobody_makes_anything_anew_nothing_is_left() -> None:
    backlog = Backlog()
    backlog.add(1, 2)
    backlog.renewed(1, 10.0)
    assert backlog.next(10.0) == (1, 2)
    assert backlog.get_timer() == -math.inf


def test_what_is_never_made_anew_is_not_left() -> None:
    backlog = Backlog()
    backlog.add(1, 5)
    backlog.hold(5, 10.0)
    backlog.need([4, 2, 6])
    assert backlog.get_timer() == -math.inf
    assert backlog.next(10.0) == (2, 2)
    backlog.remove(2, 2)
    assert backlog.next(10.0) == (4, 4)
    backlog.remove(3, 5)
    assert backlog.next(10.0) is None
    assert backlog.get_timer() == 10.0 + STALLED
    assert list(backlog) == [(1, 1)]


def test_who_lost_that_a_client_has_gone_is_told_while_another_node_joins() -> None:
    """All clients are made anew for that one, as long as it takes; the one that has gone is not."""
    network = Network(4)
    source, old = network.start("a"), network.start("b")
    source.become_source([make_record(number) for number in range(CLIENTS)])
    network.run(1.0)
    old.follow("a")
    assert network.run_until(lambda: len(old.imported) == CLIENTS, 2.0)
    network.run(1.0)
    network.link.loss = 1.0
    source.protocol.withdraw(INSTANCE, make_uid(7), network.now)
    network.run(0.01)
    network.link.loss = 0.0
    source.protocol.renew(INSTANCE, network.now, ended=False)
    for number in range(100, CLIENTS):
        source.protocol.publish(INSTANCE, make_record(number, holders=2), network.now)
        network.run(0.02)
        if make_uid(7) not in old.imported:
            return
    raise AssertionError("it is not told before all is made anew")


def test_what_is_no_record_is_looked_for_in_what_was_lost_and_not_in_a_table() -> None:
    log = CompactedLog()
    for number in range(FEW_LOST):
        log.upsert(make_uid(number))
    gone = log.delete(make_uid(3), 1)
    assert list(log.others([(1, 2), (5, gone)])) == [gone]
    assert list(log.others([(1, gone)])) == []


class Joining:
    """A standby joins a source that exports all clients once more for it."""

    def __init__(self) -> None:
        self.network = Network(3)
        self.source = self.network.start("a")
        self.source.become_source([make_record(number) for number in range(CLIENTS)])
        self.standby = self.network.start("b")
        self.network.run(1.0)
        self.begin = len(self.network.recorded)
        self.standby.follow("a")
        self.renew(ended=False)

    def renew(self, *, ended: bool) -> None:
        self.source.protocol.renew(INSTANCE, self.network.now, ended=ended)

    def publish(self, *numbers: int) -> None:
        for number in numbers:
            record = make_record(number, holders=2)
            self.source.protocol.publish(INSTANCE, record, self.network.now)

    def upserts(self) -> int:
        """The records that have left since."""
        messages = [
            message
            for name, data in self.network.recorded[self.begin :]
            for message in look_into(data)[1]
            if name == "a" and isinstance(message, Entries)
        ]
        entries = [entry for message in messages for entry in message.entries]
        return sum(isinstance(entry, Upsert) for entry in entries)

    @staticmethod
    def has_all(end: End, holders: int = 2) -> bool:
        imported = end.imported.values()
        return [len(one.grants) for one in imported] == [holders] * CLIENTS


def test_a_standby_that_joins_is_sent_each_client_once() -> None:
    joining = Joining()
    for number in range(CLIENTS):
        joining.publish(number)
        if number % 10 == 0:
            joining.network.run(0.01)
    joining.renew(ended=True)
    assert joining.network.run_until(lambda: joining.has_all(joining.standby), 2.0)
    assert joining.upserts() == CLIENTS
    assert joining.standby.protocol.statistics().incomplete == 0


def test_what_nobody_makes_anew_comes_as_it_is() -> None:
    joining = Joining()
    joining.publish(*range(0, CLIENTS, 2))
    assert joining.network.run_until(lambda: len(joining.standby.imported) == CLIENTS, 2.0)
    held = joining.standby.imported
    assert {len(held[make_uid(number)].grants) for number in range(0, CLIENTS, 2)} == {2}
    assert {len(held[make_uid(number)].grants) for number in range(1, CLIENTS, 2)} == {1}
    assert joining.upserts() == CLIENTS


@pytest.mark.parametrize("loss", [0.01, 0.2])
def test_what_is_lost_meanwhile_comes_again(loss: float) -> None:
    joining = Joining()
    joining.network.link.loss = loss
    for number in range(CLIENTS):
        joining.publish(number)
        joining.network.run(0.002)
    joining.renew(ended=True)
    assert joining.network.run_until(lambda: joining.has_all(joining.standby), 10.0)
    assert joining.network.run_until(
        lambda: joining.source.protocol.statistics().outstanding[INSTANCE] == {"b": 0}, 10.0
    )
