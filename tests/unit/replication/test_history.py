"""The shared history: what is kept follows from the entries alone, and silence from equality."""

from __future__ import annotations

import hashlib
import itertools
import random
import struct
from dataclasses import replace

import pytest

from ovpnha.model import NO_EPOCH, InstanceName, NodeName, Role
from ovpnha.replication.decoding import decode_untrusted
from ovpnha.replication.events import HistoryReceived
from ovpnha.replication.history import (
    GAP,
    LIMIT,
    NODE_LIMIT,
    REASON_LIMIT,
    REST,
    SETTLE,
    History,
    HistoryEntry,
    SharedHistory,
    cut,
)
from tests.unit.replication.network import KEY, End, Link, Network
from tests.unit.replication.test_protocol import connect

A, B = NodeName("a"), NodeName("b")
UDP = InstanceName("udp")
LONG = 10 * SETTLE


def make(number: int, node: NodeName = A, revision: int = 0) -> HistoryEntry:
    place = (number.to_bytes(8, "big"), revision, node, UDP, float(number))
    return HistoryEntry(*place, Role.STANDBY, Role.MASTER, NO_EPOCH, "the VIP arrived")


def said(payloads: list[bytes]) -> list[HistoryEntry]:
    found: list[HistoryEntry] = []
    for payload in payloads:
        [message], _ = decode_untrusted(payload)
        assert isinstance(message, History)
        found += message.entries
    return found


def say_all(one: SharedHistory, now: float, until: float) -> tuple[list[HistoryEntry], float]:
    """Everything that it says until then, and when it has said it."""
    found: list[HistoryEntry] = []
    for _ in range(1000):
        if one.get_timer() > until:
            return found, now
        now = max(now, one.get_timer())
        found += said(one.messages(now))
    raise AssertionError("it never ends")


def test_the_higher_revision_counts_whatever_comes_first() -> None:
    for order in itertools.permutations([make(1), make(1, revision=2), make(1, revision=1)]):
        history = SharedHistory(order)
        assert history.entries == (make(1, revision=2),)
        assert history.digest == SharedHistory([make(1, revision=2)]).digest
        assert not history.take(make(1, revision=2))


def test_the_digest_is_what_the_page_says() -> None:
    def share(entry: HistoryEntry) -> int:
        named = entry.key + struct.pack("!Q", entry.revision)
        return int.from_bytes(hashlib.sha256(named).digest()[:8], "big")

    one, other = make(1, revision=3), make(2)
    assert SharedHistory([one]).digest == share(one).to_bytes(8, "big")
    assert SharedHistory([one, other]).digest == (share(one) ^ share(other)).to_bytes(8, "big")


def test_what_is_kept_does_not_depend_on_the_order() -> None:
    nodes = [NodeName(f"n{number}") for number in range(8)]
    entries = [make(number, nodes[number % 8]) for number in range(2 * LIMIT)]
    entries += [make(10_000 + number, A) for number in range(2 * NODE_LIMIT)]
    sets = []
    for seed in range(3):
        random.Random(seed).shuffle(entries)  # noqa: S311 - repeatable, no secret
        sets.append(SharedHistory(entries))
    assert len({one.digest for one in sets}) == 1
    assert sets[0].entries == sets[1].entries == sets[2].entries
    assert len(sets[0].entries) == LIMIT
    assert sum(one.node == A for one in sets[0].entries) == NODE_LIMIT
    assert not sets[0].take(make(0, A))


def test_the_last_of_an_instance_is_found() -> None:
    history = SharedHistory([make(1), make(3), make(5, B)])
    assert history.find_last(A, UDP) == make(3)
    assert history.find_last(A, InstanceName("tcp")) is None


def test_an_entry_is_said_at_once_and_never_again_when_all_have_it() -> None:
    history = SharedHistory()
    history.hear(B, SharedHistory().digest, 0.0)
    history.record(make(1), 1.0)
    assert said(history.messages(1.0)) == [make(1)]
    history.hear(B, SharedHistory().digest, 1.1)  # a hello that left before it came
    history.hear(B, SharedHistory([make(1)]).digest, 1.5)
    assert say_all(history, 1.5, 1.5 + 2 * REST)[0] == []


def test_nothing_is_said_for_nodes_that_do_not_speak_of_it() -> None:
    history = SharedHistory()
    history.record(make(1), 0.0)
    assert history.get_timer() == float("inf")
    history.hear(B, b"", 1.0)
    history.record(make(2), 1.0)
    assert say_all(history, 1.0, 2 * REST)[0] == []
    history.hear(B, SharedHistory().digest, 2.0)
    history.hear(B, b"", 2.5)
    assert say_all(history, 2.5, 2 * REST)[0] == []


def test_two_entries_within_a_moment_share_a_gap() -> None:
    history = SharedHistory()
    history.hear(B, history.digest, 0.0)
    history.record(make(1), 1.0)
    assert said(history.messages(1.0)) == [make(1)]
    history.record(make(2), 1.001)
    history.record(make(3), 1.002)
    assert history.messages(1.01) == []
    assert said(history.messages(1.0 + GAP)) == [make(2), make(3)]


def test_a_difference_that_lasts_is_answered_with_all_the_newest_first() -> None:
    entries = [replace(make(number), reason="r" * REASON_LIMIT) for number in range(50)]
    history = SharedHistory(entries)
    history.hear(B, b"anything", 0.0)
    assert history.messages(SETTLE / 2) == []
    found, now = say_all(history, 0.0, LONG)
    assert found == entries[::-1]
    assert now >= SETTLE + GAP  # more than one datagram
    history.hear(B, b"anything", now + 1)
    assert say_all(history, now + 1, now + REST - 1)[0] == []
    assert history.get_timer() == now + REST
    history.hear(B, b"anything", now + REST)
    assert len(say_all(history, now + REST, now + REST + LONG)[0]) == 50


def test_who_has_nothing_says_nothing_and_rests() -> None:
    history = SharedHistory()
    history.hear(B, b"anything", 0.0)
    assert say_all(history, 0.0, LONG)[0] == []
    assert history.get_timer() == SETTLE + REST


def test_a_change_on_either_side_ends_the_rest() -> None:
    history = SharedHistory([make(1)])
    history.hear(B, b"anything", 0.0)
    _, now = say_all(history, 0.0, LONG)
    history.hear(B, b"and more", now + 1)
    assert said(history.messages(now + 1)) == [make(1)]


@pytest.mark.parametrize("equal", [True, False])
def test_a_round_ends_when_they_are_equal_and_when_nobody_is_left(*, equal: bool) -> None:
    history = SharedHistory(make(number) for number in range(100))
    history.hear(B, b"anything", 0.0)
    assert said(history.messages(SETTLE))
    if equal:
        history.hear(B, history.digest, 3.0)
    else:
        history.forget(B)
    assert history.messages(4.0) == []
    assert history.get_timer() == float("inf")


def test_a_node_that_goes_does_not_end_what_another_needs() -> None:
    history = SharedHistory([make(1)])
    history.hear(A, b"anything", 0.0)
    history.hear(B, b"anything", 0.0)
    history.forget(A)
    assert said(history.messages(SETTLE)) == [make(1)]


def test_what_was_pruned_meanwhile_is_not_said() -> None:
    history = SharedHistory()
    history.hear(B, history.digest, 0.0)
    for number in range(NODE_LIMIT + 1):
        history.record(make(number), 0.0)
    assert make(0) not in say_all(history, 0.0, SETTLE)[0]


def test_a_reason_is_cut_to_one_line_of_whole_letters() -> None:
    assert cut("a\nb\x1b[2J") == "a b [2J"
    text = cut("ö" * REASON_LIMIT)
    assert text == "ö" * (REASON_LIMIT // 2)
    assert (
        replace(make(1), reason=text)
        == said([History((replace(make(1), reason=text),)).encode()])[0]
    )


def news(end: End) -> list[HistoryEntry]:
    told = (event.entries for event in end.events if isinstance(event, HistoryReceived))
    return [entry for entries in told for entry in entries]


def test_nodes_come_to_the_same_history_over_a_bad_network() -> None:
    network = Network(11, Link(loss=0.2, duplicate=0.1, jitter=0.05))
    a, b, c = connect(network, "a", "b", "c")
    for number, end in enumerate((a, b, c) * 40):
        end.protocol.history.take(make(number, NodeName("abc"[number % 3])))
    network.run(60.0)
    assert a.protocol.history.digest == b.protocol.history.digest == c.protocol.history.digest
    assert len(a.protocol.history.entries) == 120
    assert len(news(a)) == 80
    a.protocol.history.record(make(999), network.now)
    network.run(5.0)
    assert b.protocol.history.entries[-1] == c.protocol.history.entries[-1] == make(999)


def test_a_node_that_was_away_gets_what_it_missed_even_of_one_that_is_gone() -> None:
    network = Network(12)
    a, b = connect(network, "a", "b")
    a.protocol.history.record(make(1), network.now)
    network.run(1.0)
    network.stop("a")
    c = network.start("c")
    network.run(10.0)
    assert c.protocol.history.entries == b.protocol.history.entries == (make(1),)


def test_a_hello_says_which_keys_its_sender_has() -> None:
    network = Network(13)
    a, b = connect(network, "a", "b")
    a.protocol.use_keys((KEY, b"K" * 32))
    network.run(2.0)
    (heard,) = [one for one in b.protocol.statistics().nodes if one.node == "a"]
    assert len(heard.keys) == 2
    (ours,) = [one for one in a.protocol.statistics().nodes if one.node == "b"]
    assert ours.keys == heard.keys[:1]
