"""Sealing and opening: what is refused, why, and at what price."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest

from ovpnha.errors import RefusedDatagram
from ovpnha.model import BootId
from ovpnha.replication import sealing
from ovpnha.replication.sealing import (
    CANDIDATE_LIMIT,
    HEADER_SIZE,
    PAYLOAD_LIMIT,
    WINDOW,
    BootTrust,
    ClusterKey,
    Kind,
    Opener,
    ReplayWindow,
    Sealer,
    cluster_tag,
    node_tag,
)

SALT = cluster_tag("c")
KEY = ClusterKey.create(b"k" * 32, SALT)
NEW = ClusterKey.create(b"n" * 32, SALT)
OWN, BOOT = BootId(b"o" * 16), BootId(b"b" * 16)
TAG = node_tag("b")


def make_sealer(key: ClusterKey = KEY, boot: BootId = BOOT) -> Sealer:
    return Sealer(key, TAG, boot, os.urandom)


def make_opener(*keys: ClusterKey) -> Opener:
    return Opener(keys or (KEY,), OWN, 0.0)


def refusal(opener: Opener, data: bytes, link: str = "bcn", now: float = 0.0) -> str:
    with pytest.raises(RefusedDatagram) as caught:
        opener.open_untrusted(data, link, now)
    return caught.value.reason


def believe(opener: Opener, sealer: Sealer) -> None:
    opener.open_untrusted(sealer.seal(Kind.HELLO, b"hello"), "bcn", 0.0)
    opener.set_trust(BOOT, BootTrust.BELIEVED)


def test_what_was_sealed_is_opened() -> None:
    sealer, opener = make_sealer(), make_opener()
    opened = opener.open_untrusted(sealer.seal(Kind.HELLO, b"hello"), "bcn", 0.0)
    assert (opened.payload, opened.boot, opened.tag, opened.sequence) == (b"hello", BOOT, TAG, 1)
    assert opened.trust is BootTrust.CANDIDATE
    assert b"hello" not in repr(opened).encode()


def test_the_largest_payload_makes_the_largest_datagram() -> None:
    data = make_sealer().seal(Kind.HELLO, bytes(PAYLOAD_LIMIT))
    assert len(data) == sealing.DATAGRAM_LIMIT
    assert HEADER_SIZE == 64
    assert make_opener().open_untrusted(data, "bcn", 0.0).payload == bytes(PAYLOAD_LIMIT)


def test_two_datagrams_never_share_a_nonce_or_look_alike() -> None:
    sealer = make_sealer()
    sealed = {sealer.seal(Kind.STATE, b"same")[52:] for _ in range(1000)}
    assert len(sealed) == 1000


def test_every_byte_is_authenticated() -> None:
    data = make_sealer().seal(Kind.HELLO, b"hello")
    for at in range(len(data)):
        opener = make_opener()
        changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        reason = refusal(opener, changed)
        assert reason in {
            "foreign",
            "foreign_cluster",
            "version",
            "unknown_key",
            "unauthentic",
        }
        assert opener.boots == 0, "nothing is remembered of what cannot be opened"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "truncated"),
        (b"oHA\x01" * 19, "truncated"),
        (bytes(1201), "oversized"),
        (bytes(100), "foreign"),
        (b"oHA\x01" + bytes(96), "foreign_cluster"),
        (b"oHA\x01" + SALT + b"\x01" + bytes(96), "version"),
    ],
)
def test_what_is_not_ours_is_refused_by_its_header(data: bytes, reason: str) -> None:
    assert refusal(make_opener(), data) == reason


def test_our_own_broadcast() -> None:
    own = Sealer(KEY, TAG, OWN, os.urandom)
    assert refusal(make_opener(), own.seal(Kind.HELLO, b"")) == "own"
    assert refusal(make_opener(NEW), own.seal(Kind.HELLO, b"")) == "own", "under a key that went"


def test_state_is_opened_for_believed_boots_only() -> None:
    sealer, opener = make_sealer(), make_opener()
    assert refusal(opener, sealer.seal(Kind.STATE, b"x")) == "not_believed"
    opener.open_untrusted(sealer.seal(Kind.HELLO, b"x"), "bcn", 0.0)
    assert refusal(opener, sealer.seal(Kind.STATE, b"x")) == "not_believed"
    opener.set_trust(BOOT, BootTrust.BELIEVED)
    assert opener.open_untrusted(sealer.seal(Kind.STATE, b"x"), "bcn", 0.0).payload == b"x"
    opener.set_trust(BOOT, BootTrust.RETIRED)
    assert refusal(opener, sealer.seal(Kind.STATE, b"x")) == "retired_boot"
    hello = opener.open_untrusted(sealer.seal(Kind.HELLO, b"x"), "bcn", 0.0)
    assert hello.trust is BootTrust.RETIRED


def test_a_kind_of_a_newer_version_is_refused() -> None:
    sealer, opener = make_sealer(), make_opener()
    believe(opener, sealer)
    newer: Any = 9
    assert refusal(opener, sealer.seal(newer, b"x")) == "version"


def test_nobody_without_the_key_can_tell_a_hello_from_state() -> None:
    sealer = Sealer(KEY, TAG, BOOT, bytes)
    heads = [sealer.seal(kind, b"the same")[:HEADER_SIZE] for kind in (Kind.HELLO, Kind.STATE)]
    assert heads[0][:44] + heads[0][52:] == heads[1][:44] + heads[1][52:], "all but the sequence"


def test_state_of_an_unproven_boot_is_opened_and_refused_once() -> None:
    sealer, opener = make_sealer(), make_opener()
    early = sealer.seal(Kind.STATE, b"x")
    assert refusal(opener, early) == "not_believed"
    believe(opener, sealer)
    assert refusal(opener, early) == "replayed"


def test_a_boot_belongs_to_one_node() -> None:
    opener = make_opener()
    believe(opener, make_sealer())
    other = Sealer(KEY, node_tag("other"), BOOT, os.urandom)
    for _ in range(5):
        other.seal(Kind.STATE, b"")
    assert refusal(opener, other.seal(Kind.STATE, b"x")) == "unauthentic"


def test_every_key_opens_and_the_first_seals() -> None:
    opener = make_opener(NEW, KEY)
    sealer = make_sealer()
    believe(opener, sealer)
    rotated = make_sealer(NEW)
    for _ in range(3):
        rotated.seal(Kind.STATE, b"")
    assert opener.open_untrusted(rotated.seal(Kind.STATE, b"new"), "bcn", 0.0).payload == b"new"
    third = make_sealer(ClusterKey.create(b"t" * 32, SALT))
    for _ in range(9):
        third.seal(Kind.STATE, b"")
    assert refusal(opener, third.seal(Kind.STATE, b"")) == "unknown_key"
    stranger = make_sealer(ClusterKey.create(b"t" * 32, SALT), BootId(b"s" * 16))
    assert refusal(opener, stranger.seal(Kind.HELLO, b"")) == "unknown_key"


def test_keys_rotate_while_both_ends_run() -> None:
    """Add at the end, move to the front, remove: nothing is refused, and no sequence returns."""
    sealer, opener = make_sealer(), make_opener(KEY)
    believe(opener, sealer)
    sequences = [1]
    for keys, seals in (((KEY, NEW), KEY), ((NEW, KEY), NEW), ((NEW,), NEW)):
        opener.use_keys(keys)
        sealer.use_key(seals)
        opened = opener.open_untrusted(sealer.seal(Kind.STATE, b"state"), "bcn", 0.0)
        sequences.append(opened.sequence)
        assert opened.trust is BootTrust.BELIEVED
    assert sequences == [1, 2, 3, 4]


def test_a_removed_key_opens_nothing_not_even_for_a_boot_that_used_it() -> None:
    sealer, opener = make_sealer(), make_opener(KEY, NEW)
    believe(opener, sealer)
    late = sealer.seal(Kind.STATE, b"state")
    opener.use_keys((NEW,))
    assert refusal(opener, late) == "unknown_key"
    opener.use_keys((NEW, KEY))
    assert opener.open_untrusted(late, "bcn", 0.0).payload == b"state"


def test_a_key_number_depends_on_the_key_and_not_on_its_place() -> None:
    assert KEY.number != NEW.number
    assert ClusterKey.create(b"k" * 32, SALT) == KEY
    assert "k" * 8 not in repr(KEY)


def test_a_datagram_is_accepted_once() -> None:
    sealer, opener = make_sealer(), make_opener()
    believe(opener, sealer)
    data = sealer.seal(Kind.STATE, b"x")
    opener.open_untrusted(data, "eth1", 0.0)
    assert refusal(opener, data, "eth1") == "replayed"
    assert refusal(opener, data, "eth2") == "duplicate"
    assert refusal(opener, data, "eth2") == "replayed"


def test_a_window_takes_each_sequence_once_in_any_order() -> None:
    window = ReplayWindow()
    for sequence in (5, 3, 4, 1, 2, 900):
        window.check(sequence, "a")
        window.accept(sequence, "a")
    for sequence in (5, 3, 900):
        with pytest.raises(RefusedDatagram, match="replayed"):
            window.check(sequence, "a")
    window.accept(900 + 3 * WINDOW, "b")
    with pytest.raises(RefusedDatagram, match="replayed"):
        window.check(901 + 2 * WINDOW - 1, "a")
    window.check(900 + 3 * WINDOW - 1, "a")


def test_a_header_alone_does_not_move_the_window() -> None:
    sealer, opener = make_sealer(), make_opener()
    believe(opener, sealer)
    forged = bytearray(sealer.seal(Kind.STATE, b"x"))
    forged[44:52] = (10**9).to_bytes(8, "big")
    assert refusal(opener, bytes(forged)) == "unauthentic"
    assert opener.open_untrusted(sealer.seal(Kind.STATE, b"y"), "bcn", 0.0).payload == b"y"


def test_unknown_boots_share_a_budget_that_refills() -> None:
    opener = make_opener()
    junk = bytearray(make_sealer().seal(Kind.HELLO, b"x"))
    reasons = []
    for number in range(1000):
        junk[28:44] = number.to_bytes(16, "big")
        reasons.append(refusal(opener, bytes(junk)))
    assert reasons.count("unauthentic") == int(sealing.UNKNOWN_BURST)
    assert reasons[-1] == "busy"
    opener.open_untrusted(make_sealer().seal(Kind.HELLO, b"x"), "bcn", 1.0)


def test_authentic_boots_without_end_are_bounded() -> None:
    opener = make_opener()
    believe(opener, make_sealer())
    for number in range(300):
        sealer = make_sealer(boot=BootId(number.to_bytes(16, "big")))
        opener.open_untrusted(sealer.seal(Kind.HELLO, b"x"), "bcn", float(number))
    assert opener.boots == CANDIDATE_LIMIT + 1
    opener.set_trust(BootId(bytes(16)), BootTrust.BELIEVED)
    assert opener.boots == CANDIDATE_LIMIT + 1


def test_junk_costs_little() -> None:
    """Generous, because other work shares the machine: 100,000 a second leave 10 µs for each."""
    opener = make_opener()
    believe(opener, make_sealer())
    junk = [os.urandom(200), b"oHA\x01" + os.urandom(200)]
    best = 1.0
    for _ in range(5):
        began = time.process_time()
        for data in junk * 1000:
            try:
                opener.open_untrusted(data, "bcn", 0.0)
            except RefusedDatagram:
                continue
        best = min(best, (time.process_time() - began) / 2000)
    assert best < 10e-6
