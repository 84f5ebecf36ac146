"""A standby that was not heard for a while, and did not notice."""

from __future__ import annotations

from ovpnha.replication.events import NodeDown, NodeUp
from tests.unit.replication.network import Link, Network, make_record


def test_a_standby_heard_again_acknowledges_anew() -> None:
    link = Link()
    network = Network(1, link)
    source, standby = network.start("a"), network.start("b")
    assert network.run_until(lambda: bool(source.of(NodeUp) and standby.of(NodeUp)), 5)
    standby.follow("a")
    source.become_source([make_record(number) for number in range(30)])
    assert network.run_until(lambda: len(source.acknowledged) == 30, 5)
    link.cut = lambda sender, _receiver: sender == "b"
    assert network.run_until(lambda: bool(source.of(NodeDown)), 5)
    assert not standby.of(NodeDown)
    source.acknowledged.clear()
    link.cut = lambda _sender, _receiver: False
    assert network.run_until(lambda: len(source.acknowledged) == 30, 3)
