"""Beside an OpenVPN without the patch: to the second, to the client, and what is told to whom."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from ovpnha.management.replies import ClientStatusReply
from ovpnha.model import ServerClient, Sync
from ovpnha.node.config import InstanceConfig
from ovpnha.node.outputs import KeepPool, Output, ProbeClients, WriteManagement
from ovpnha.node.stock.pool import AddressPool, is_safe
from ovpnha.node.stock.stock import Stock
from ovpnha.problems import ProblemKind
from ovpnha.replication.events import RecordReceived, RecordWithdrawn, SnapshotEnded
from ovpnha.replication.leases import FORMAT, Lease, pack_lease
from tests.unit.node.doubles import INSTANCE, A, B, Desk

NOW = 1000.0
SLACK = 0.001
PORT = 1194
STARTS_ANEW = "signal SIGUSR1"
ASKS = "status 3"


def lease(number: int, name: str = "") -> Lease:
    named = name or f"c{number}"
    return Lease(FORMAT, named, "UNDEF", f"192.0.2.1:{number}", f"10.8.0.{number}", "", 0)


def client(number: int, name: str = "") -> ServerClient:
    return lease(number, name).client


class Beside:
    """The part alone, with an OpenVPN that has so many clients of its own."""

    def __init__(self, connected: int | None = 0, **options: object) -> None:
        self.desk = Desk()
        self.connected = connected
        usual = {"pool": "", "tcp_port": PORT, "vips": ("192.0.2.10",), "stock": True}
        config = InstanceConfig(INSTANCE, **(usual | options))  # type: ignore[arg-type]
        back = self.desk.backchannel
        self.part = Stock(self.desk.openvpn, back, config, lambda: self.connected, NOW)
        self.part.start()

    def outputs(self) -> list[Output]:
        self.desk.openvpn.flush()
        told = list(self.desk.outputs)
        self.desk.outputs.clear()
        return told

    def lines(self) -> list[str]:
        data = b"".join(one.data for one in self.outputs() if isinstance(one, WriteManagement))
        return data.decode().splitlines()

    def at(self, now: float) -> list[Output]:
        self.part.handle_timer(now)
        return self.outputs()

    def hear(self, numbers: Iterable[int], now: float = NOW) -> None:
        """All that node a has."""
        self.part.follow(A, now)
        known = {}
        for number in numbers:
            record = pack_lease(lease(number), 1)
            known[record.uid] = 1
            self.part.take(RecordReceived(INSTANCE, A, record), now)
        self.part.take(SnapshotEnded(INSTANCE, A, known), now)

    def answer(self, numbers: Iterable[int], now: float) -> None:
        """What our OpenVPN says to ``status 3``."""
        self.part.take(ClientStatusReply(tuple(map(client, numbers))), now)

    def take_over(self, now: float) -> list[Output]:
        self.part.take_over(now)
        self.part.serve(now)
        return self.outputs()


class TestQuestions:
    @pytest.mark.parametrize(
        ("clients", "pause"), [(0, 2.0), (1, 2.0), (500, 2.0), (501, 2.004), (1000, 4.0)]
    )
    def test_it_is_asked_every_two_seconds_and_of_many_less_often(
        self, clients: int, pause: float
    ) -> None:
        one = Beside(pool=None)
        one.part.serve(NOW)
        assert one.part.get_timer() == NOW
        one.part.handle_timer(NOW)
        assert one.lines() == [ASKS]
        assert one.part.get_timer() == NOW + 2.0
        one.part.take(ClientStatusReply((client(1),) * clients), NOW + 0.5)
        one.part.handle_timer(NOW + 1.5)
        assert one.lines() == []
        assert one.part.get_timer() == pytest.approx(NOW + 0.5 + pause)
        one.part.handle_timer(NOW + 0.5 + pause - SLACK)
        assert one.lines() == []
        one.part.handle_timer(NOW + 0.5 + pause)
        assert one.lines() == [ASKS]

    def test_who_does_not_serve_asks_nothing(self) -> None:
        one = Beside()
        assert one.part.get_timer() is None
        one.part.serve(NOW)
        one.part.follow(A, NOW + 1)
        assert one.part.get_timer() is None
        one.answer([1], NOW + 1)
        assert one.part.clients() == ()

    def test_an_openvpn_that_is_gone_is_asked_nothing(self) -> None:
        one = Beside()
        one.part.serve(NOW)
        one.answer([1], NOW)
        one.desk.backchannel.taken()
        one.part.stop(NOW)
        assert one.part.get_timer() is None
        assert one.desk.backchannel.taken() == [("end_source",)]
        assert not one.part.active


class TestWhatIsTold:
    def test_it_begins_and_ends_once(self) -> None:
        one, notes = Beside(), []
        for _ in range(2):
            one.part.serve(NOW)
            notes += one.desk.backchannel.taken()
        assert notes == [("begin_source",)]
        for _ in range(2):
            one.part.follow(None, NOW)
        one.part.follow(A, NOW)
        one.part.follow(A, NOW)
        assert one.desk.backchannel.taken() == [("end_source",), ("follow", A)]
        one.part.serve(NOW)
        assert one.desk.backchannel.taken() == [("follow", None), ("begin_source",)]

    def test_a_lease_is_told_when_it_is_new_or_another_and_withdrawn_when_it_is_gone(self) -> None:
        one = Beside()
        one.part.serve(NOW)
        one.desk.backchannel.taken()
        one.answer([1, 2], NOW)
        first = [("publish", lease(number).uid, number) for number in (1, 2)]
        assert one.desk.backchannel.taken() == [*first, ("source_complete",)]
        one.answer([1, 2], NOW)
        assert one.desk.backchannel.taken() == []
        one.part.take(ClientStatusReply((client(1, "another"), client(3))), NOW)
        assert one.desk.backchannel.taken() == [
            ("withdraw", lease(2).uid),
            ("publish", lease(1).uid, 3),
            ("publish", lease(3).uid, 4),
        ]
        one.part.follow(None, NOW)
        one.part.serve(NOW)
        one.desk.backchannel.taken()
        one.part.take(ClientStatusReply((client(1, "another"),)), NOW)
        assert one.desk.backchannel.taken() == [
            ("publish", lease(1).uid, 5),
            ("source_complete",),
        ]

    def test_a_copy_is_whole_at_the_end_of_the_snapshot_and_until_another_is_followed(self) -> None:
        one = Beside()
        assert (one.part.sync, one.part.copied) == (Sync.NONE, False)
        one.part.follow(A, NOW)
        assert (one.part.sync, one.part.copied) == (Sync.SYNCING, False)
        one.hear([1, 2])
        assert (one.part.sync, one.part.copied) == (Sync.IN_SYNC, True)
        one.part.follow(None, NOW)
        assert one.part.copied
        assert len(one.part.clients()) == 2
        one.part.follow(B, NOW)
        assert (one.part.sync, one.part.copied) == (Sync.SYNCING, False)
        one.part.take(SnapshotEnded(INSTANCE, B, {lease(2).uid: 1, lease(9).uid: 1}), NOW)
        assert one.part.clients() == (client(2),)
        one.part.take(RecordWithdrawn(INSTANCE, B, lease(2).uid), NOW)
        one.part.take(RecordWithdrawn(INSTANCE, B, lease(2).uid), NOW)
        assert one.part.clients() == ()
        one.part.serve(NOW)
        assert (one.part.sync, one.part.copied) == (Sync.IN_SYNC, False)


class TestFile:
    def test_it_is_written_a_second_after_the_first_change(self) -> None:
        one = Beside()
        one.hear([1])
        assert one.part.get_timer() == NOW + 1.0
        one.part.take(RecordReceived(INSTANCE, A, pack_lease(lease(2), 1)), NOW + 0.9)
        assert one.part.get_timer() == NOW + 1.0
        assert one.at(NOW + 1.0 - SLACK) == []
        text = "c1,10.8.0.1,\nc2,10.8.0.2,\n"
        assert one.at(NOW + 1.0) == [KeepPool(INSTANCE, text, to_be_read=False)]
        assert one.part.get_timer() is None
        one.part.take(RecordReceived(INSTANCE, A, pack_lease(lease(2), 2)), NOW + 5.0)
        assert one.at(NOW + 6.0) == []

    def test_who_is_away_is_looked_for_once_a_minute(self) -> None:
        one = Beside(pool="away,10.8.0.77,\n")
        one.hear([1])
        one.at(NOW + 1.0)
        assert one.part.get_timer() == NOW + 61.0
        assert one.at(NOW + 61.0) == []
        assert one.part.get_timer() == NOW + 121.0
        one.part.take(RecordReceived(INSTANCE, A, pack_lease(lease(2), 1)), NOW + 61.0)
        assert one.part.get_timer() == NOW + 62.0

    def test_a_part_of_the_leases_is_never_written(self) -> None:
        one = Beside()
        one.part.follow(A, NOW)
        one.part.take(RecordReceived(INSTANCE, A, pack_lease(lease(1), 1)), NOW)
        assert one.part.get_timer() is None

    @pytest.mark.parametrize(("connected", "reads"), [(0, True), (1, False), (None, False)])
    def test_at_a_takeover_it_is_read_by_one_that_has_no_client(
        self, connected: int | None, reads: bool
    ) -> None:
        one = Beside(connected)
        one.hear([1])
        told = one.take_over(NOW + 0.5)
        written = [output for output in told if isinstance(output, KeepPool)]
        wanted = KeepPool(INSTANCE, "c1,10.8.0.1,\n", to_be_read=True)
        assert written == [wanted] * reads
        orders = [output.data for output in told if isinstance(output, WriteManagement)]
        assert [data.decode().strip() for data in orders] == [STARTS_ANEW] * reads

    @pytest.mark.parametrize(("numbers", "reads"), [([], True), ([5], False)])
    def test_one_that_has_not_said_whom_it_has_reads_when_it_says_nobody(
        self, numbers: list[int], reads: bool
    ) -> None:
        one = Beside(None)
        one.hear([1])
        one.take_over(NOW)
        one.answer(numbers, NOW)
        assert (STARTS_ANEW in one.lines()) is reads
        one.answer([], NOW)
        assert STARTS_ANEW not in one.lines()

    def test_a_client_without_any_address_is_not_connected_yet(self) -> None:
        bare = ServerClient("x", "UNDEF", "192.0.2.1:1", "", "", 0, 0)
        for virtual6, reads in (("", True), ("fd00::1", False)):
            one = Beside(None)
            one.hear([1])
            one.take_over(NOW)
            found = ServerClient("x", "UNDEF", "192.0.2.1:1", "", "", 0, 0, virtual6)
            one.part.take(ClientStatusReply((bare, found)), NOW)
            assert (STARTS_ANEW in one.lines()) is reads

    @pytest.mark.parametrize(("after", "ends"), [(0.0, True), (9.999, True), (10.0, False)])
    def test_one_that_is_lost_within_ten_seconds_has_ended_by_the_order(
        self, after: float, ends: bool
    ) -> None:
        one = Beside()
        one.hear([1])
        one.take_over(NOW)
        one.part.stop(NOW + after)
        one.part.start()
        assert bool([*one.part.problems(0.0)]) is ends


class TestProbes:
    def probes(self, one: Beside, now: float) -> list[ProbeClients]:
        return [output for output in one.at(now) if isinstance(output, ProbeClients)]

    def test_they_are_sent_half_a_second_after_the_order_and_once_more(self) -> None:
        one = Beside(vips=("192.0.2.10", "2001:db8::10"))
        one.hear([1, 2])
        one.take_over(NOW)
        probe = ProbeClients(INSTANCE, "192.0.2.10", PORT, ("192.0.2.1:1", "192.0.2.1:2"))
        told = {}
        for tenth in range(80):
            now = NOW + tenth / 10
            found = self.probes(one, now)
            told.update({tenth: found} if found else {})
        assert told == {5: [probe], 30: [probe]}

    def test_at_once_where_nothing_starts_anew(self) -> None:
        one = Beside(pool=None)
        one.hear([1])
        one.take_over(NOW)
        assert [probe.clients for probe in self.probes(one, NOW)] == [("192.0.2.1:1",)]
        assert not self.probes(one, NOW + 2.5 - SLACK)
        assert len(self.probes(one, NOW + 2.5)) == 1
        assert not self.probes(one, NOW + 9)

    def test_who_is_back_is_told_no_more_and_that_is_looked_at_when_it_is_known(self) -> None:
        one = Beside(pool=None)
        one.hear([1, 2])
        one.take_over(NOW)
        one.at(NOW)
        one.answer([1], NOW + 1)
        assert [probe.clients for probe in self.probes(one, NOW + 2.5)] == [("192.0.2.1:2",)]
        assert one.part._probe_at is None

    @pytest.mark.parametrize("options", [{"tcp_port": None}, {"vips": ("2001:db8::10",)}])
    def test_nobody_is_told_over_udp_or_by_ipv6(self, options: dict[str, Any]) -> None:
        one = Beside(pool=None, **options)
        one.hear([1])
        one.take_over(NOW)
        assert not [found for tenth in range(60) for found in self.probes(one, NOW + tenth / 10)]


@pytest.mark.parametrize(
    ("moved", "kept", "blamed"),
    [(3, 0, False), (4, 0, True), (4, 3, True), (4, 4, False), (5, 4, True)],
)
def test_addresses_that_were_not_read_are_told_of_from_four_on_and_if_they_are_most(
    moved: int, kept: int, blamed: bool
) -> None:
    one = Beside()
    one.hear(range(1, moved + kept + 1))
    one.take_over(NOW)
    back = [client(number) for number in range(1, kept + 1)]
    back += [client(100 + number, f"c{number}") for number in range(kept + 1, kept + moved + 1)]
    for _ in range(2):
        one.part.take(ClientStatusReply(tuple(back)), NOW + 2)
    figures = one.part.statistics(NOW + 2)
    assert (figures.addresses_kept, figures.addresses_changed) == (kept, moved)
    kinds = [problem.kind for problem in one.part.problems(NOW)]
    assert kinds == [ProblemKind.ADDRESSES_CHANGED] * blamed
    one.take_over(NOW + 3)
    figures = one.part.statistics(NOW + 3)
    assert (figures.addresses_kept, figures.addresses_changed) == (0, 0)


class TestPool:
    @pytest.mark.parametrize(("most", "kept"), [(1, 1), (4, 1), (5, 2), (8, 2), (9, 3)])
    def test_a_quarter_of_the_most_is_kept_of_those_who_have_gone(
        self, most: int, kept: int
    ) -> None:
        pool = AddressPool()
        pool.note([lease(number) for number in range(most)], NOW)
        others = [lease(100 + number) for number in range(most)]
        pool.note(others, NOW + 1)
        assert len(pool.kept(NOW + 1)) == most + kept

    def test_of_those_who_have_gone_the_last_ones_and_so_many_as_were_there_in_a_quarter_of_an_hour(
        self,
    ) -> None:
        pool = AddressPool()
        early, late, now = range(8), range(4), [lease(100 + number) for number in range(4)]
        pool.note([lease(number) for number in early], NOW)
        pool.note([lease(number) for number in late], NOW + 100)
        pool.note(now, NOW + 600)
        here = {one.name for one in now}
        assert pool.kept(NOW + 600) == here | {"c0", "c1", "c2", "c3", "c6", "c7"}
        pool.note(now, NOW + 1000)
        assert pool.kept(NOW + 1000) == here | {"c0", "c1", "c2", "c3", "c6", "c7"}
        pool.note(now, NOW + 1001)
        assert pool.kept(NOW + 1001) == here | {"c3"}

    def test_who_was_there_at_the_last_look_is_away_since_this_one(self) -> None:
        pool = AddressPool()
        pool.note([lease(1)], NOW)
        pool.note([], NOW + 50)
        pool.note([], NOW + 60)
        assert pool.kept(NOW + 950)
        assert not pool.kept(NOW + 950 + SLACK)
        pool.note([], NOW + 950)
        assert len(pool) == 1
        pool.note([], NOW + 950 + SLACK)
        assert len(pool) == 0

    def test_who_stood_in_the_file_was_there_a_moment_ago(self) -> None:
        pool = AddressPool("a,10.8.0.1,\nb,10.8.0.2,fd00::2\n", NOW)
        assert pool.anyone_away
        assert pool.kept(NOW + 900) == {"a", "b"}
        assert pool.text(NOW + 900.5) == ""
        pool.note([lease(1, "a"), lease(2, "b")], NOW)
        assert not pool.anyone_away

    def test_a_name_has_64_bytes_as_in_openvpn(self) -> None:
        assert is_safe("n" * 64)
        assert is_safe("ä" * 32)
        assert not is_safe("n" * 65)
        assert not is_safe("ä" * 32 + "n")
