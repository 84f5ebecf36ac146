"""Every table that a node begins is a stream of its own, numbered in the upper half."""

from __future__ import annotations

from ovpnha.replication.entries import Entries
from ovpnha.replication.messages import Snapshot
from tests.unit.replication.network import Network, look_into, make_record


def test_the_tables_of_a_boot_are_counted_and_no_two_of_a_number_are_taken_for_one() -> None:
    network = Network(1)
    source, standby = network.start("a"), network.start("b")
    network.run(1.0)
    told: list[int] = []
    for _ in range(3):
        begin = len(network.recorded)
        source.become_source([make_record(1)])
        standby.follow("a")
        network.run(1.0)
        streams = {
            message.stream
            for name, data in network.recorded[begin:]
            for message in look_into(data)[1]
            if name == "a" and isinstance(message, Entries | Snapshot)
        }
        told.append(max(streams))
    assert [stream >> 32 for stream in told] == [1, 2, 3]
    assert len({stream & 0xFFFFFFFF for stream in told}) == 3
