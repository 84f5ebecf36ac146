"""Whom a source asks again, and how many clients at a time."""

from __future__ import annotations

import math

from ovpnha.model import InstanceName, NodeName, Uid
from ovpnha.replication.config import Timings
from ovpnha.replication.fields import UIDS_LIMIT
from ovpnha.replication.followers import Followers

NODE = NodeName("b")


def test_late_acknowledgements_are_asked_for_in_turns() -> None:
    followers = Followers(InstanceName("udp"), 1, Timings(), lambda _event: None)
    clients = {Uid(number.to_bytes(8, "big")): number + 1 for number in range(UIDS_LIMIT + 50)}
    followers.begin(NODE, dict(clients), 0.0)
    followers.hear(NODE, len(clients), 0.0)
    first = b"".join(followers.asks(lambda _: False, 1.0))
    second = b"".join(followers.asks(lambda _: False, 2.0))
    for asked in (first, second):
        assert sum(asked.find(uid) >= 0 for uid in clients) == UIDS_LIMIT
    assert all((first + second).find(uid) >= 0 for uid in clients)
    assert followers.outstanding() == {NODE: len(clients)}


def test_who_has_least_of_all_followers() -> None:
    followers = Followers(InstanceName("udp"), 1, Timings(), lambda _event: None)
    assert followers.least() == math.inf
    for node, number in (("b", 7), ("c", 5)):
        followers.begin(NodeName(node), {}, 0.0)
        followers.hear(NodeName(node), number, 0.0)
    assert followers.least() == 5
