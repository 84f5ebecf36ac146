"""Numbers at their bounds: the last that is taken, the first that is not."""

from __future__ import annotations

import struct
from collections.abc import Callable

import msgpack
import pytest

from ovpnha.errors import RefusedDatagram
from ovpnha.model import (
    ClientRecord,
    ColdPart,
    Fingerprint,
    Grant,
    HolderId,
    InstanceName,
    NodeName,
    Uid,
)
from ovpnha.replication.config import Timings
from ovpnha.replication.decoding import decode_untrusted
from ovpnha.replication.followers import FOLLOWER_TIMEOUT, Followers
from ovpnha.replication.hello import Hello, HelloState
from ovpnha.replication.messages import (
    Ack,
    AckEntry,
)
from ovpnha.replication.records import fits, unpack_body_untrusted
from tests.unit.replication.network import INSTANCE, STATE, make_uid

NODE, OTHER = NodeName("b"), NodeName("c")
SLACK = 0.001


def hello_with_grade(grade: int) -> bytes:
    payload = Hello("node", b"c" * 16, (), 1, 0, 1, (HelloState.of(INSTANCE, STATE),)).encode()
    fields = msgpack.unpackb(payload)
    fields[7][0][6] = grade
    return bytes(msgpack.packb(fields))


@pytest.mark.parametrize("grade", [32_767, -32_767, 0])
def test_a_grade_of_fifteen_bits_is_taken(grade: int) -> None:
    [hello], _ = decode_untrusted(hello_with_grade(grade))
    assert isinstance(hello, Hello)
    assert hello.states[0].grade == grade


@pytest.mark.parametrize("grade", [32_768, -32_768])
def test_a_grade_of_more_is_not(grade: int) -> None:
    with pytest.raises(RefusedDatagram, match="malformed"):
        decode_untrusted(hello_with_grade(grade))


def make_followers(*nodes: NodeName, numbers: dict[Uid, int] | None = None) -> Followers:
    """They begin at 100 s."""
    followers = Followers(InstanceName("udp"), 1, Timings(), lambda _event: None)
    for node in nodes:
        followers.begin(node, dict(numbers or {}), 100.0)
    return followers


def test_a_follower_is_forgotten_when_it_has_been_silent_for_too_long() -> None:
    followers = make_followers(NODE, OTHER)
    followers.hear(OTHER, 0, 105.0)
    followers.asks(lambda _: False, 100.0 + FOLLOWER_TIMEOUT)
    assert followers.knows(NODE)
    followers.asks(lambda _: False, 100.0 + FOLLOWER_TIMEOUT + SLACK)
    assert not followers.knows(NODE)
    assert followers.knows(OTHER)
    assert len(followers) == 1
    followers.asks(lambda _: False, 105.0 + FOLLOWER_TIMEOUT + SLACK)
    assert len(followers) == 0


def test_an_acknowledgement_settles_a_client_up_to_its_number() -> None:
    followers = make_followers(NODE, numbers={make_uid(1): 7, make_uid(2): 9})
    stale, exact = (AckEntry(make_uid(1), 1, number, ()) for number in (6, 7))
    followers.acknowledged(NODE, Ack(b"t" * 8, INSTANCE, 1, 9, (), (stale,)))
    assert followers.outstanding() == {NODE: 2}
    followers.acknowledged(NODE, Ack(b"t" * 8, INSTANCE, 1, 9, (), (exact,)))
    assert followers.outstanding() == {NODE: 1}
    later = AckEntry(make_uid(2), 1, 10, ())
    followers.acknowledged(NODE, Ack(b"t" * 8, INSTANCE, 1, 9, (), (later,)))
    assert followers.outstanding() == {NODE: 0}


def test_only_what_a_follower_has_received_is_asked_for_and_not_too_often() -> None:
    numbers = {make_uid(1): 7, make_uid(2): 8}
    followers = make_followers(NODE, numbers=numbers)
    interval = Timings().ask_interval
    followers.hear(NODE, 7, 100.0)
    assert followers.get_timer() == 100.0 + interval
    assert followers.asks(lambda _: False, 100.0 + interval - SLACK) == []
    [ask], _ = decode_untrusted(b"".join(followers.asks(lambda _: False, 100.0 + interval)))
    assert getattr(ask, "uids", ()) == (make_uid(1),)
    assert followers.get_timer() == 100.0 + 2 * interval
    assert followers.asks(lambda number: number == 7, 100.0 + 2 * interval) == []


TAG, NAME, EIGHT, SIXTEEN = b"t" * 8, "i", b"8" * 8, b"s" * 16
UID, GRANT = Uid(EIGHT), Grant(HolderId(SIXTEEN), Fingerprint(EIGHT), 1, 2)


def hello(**changes: object) -> list[object]:
    """The fields of a hello, some of them changed."""
    fields: dict[str, object] = {
        "type": 1,
        "name": "n",
        "challenge": SIXTEEN,
        "echoes": [],
        "round": 1,
        "part": 0,
        "parts": 1,
        "states": [],
        "clock": 0,
        "heard": b"",
    }
    return list((fields | changes).values())


def state(at: int, value: object) -> list[object]:
    """A hello with one state, one of whose fields is changed."""
    fields = [
        *(NAME, "standby", 1, "a", False, "none", 5, SIXTEEN, 1, 1, "2.6", "", "", ""),
        *(True, 0, "", False, False, [], b"", False, []),
    ]
    fields[at] = value
    return hello(states=[fields])


def check(at: int, value: object) -> list[object]:
    """A hello with one check, one of whose fields is changed."""
    fields: list[object] = ["lan", "ok", False, False, False, 0, ""]
    fields[at] = value
    return state(22, [fields])


def entry(*fields: object) -> list[object]:
    return [3, NAME, 1, 9, 0, [list(fields)]]


# What a receiver of this version takes at most; one that writes more is not understood.
MOST: dict[str, tuple[int, Callable[[int], object]]] = {
    "bytes of a node's name": (64, lambda n: hello(name="n" * n)),
    "bytes of a node's name that are no letters": (32, lambda n: hello(name="ö" * n)),
    "bytes of an instance's name": (64, lambda n: state(0, "i" * n)),
    "echoes": (24, lambda n: hello(echoes=[SIXTEEN] * n)),
    "parts of a round": (64, lambda n: hello(parts=n)),
    "rounds heard": (15, lambda n: hello(heard=EIGHT * n)),
    "letters of a version": (32, lambda n: state(10, "v" * n)),
    "letters of a digest": (64, lambda n: state(11, "d" * n)),
    "letters of a certificate": (64, lambda n: state(12, "d" * n)),
    "letters of an issuer": (64, lambda n: state(13, "d" * n)),
    "checks": (6, lambda n: state(22, [["lan", "ok", False, False, False, 0, ""]] * n)),
    "bytes of a check's name": (64, lambda n: check(0, "n" * n)),
    "bytes of what a check said": (48, lambda n: check(6, "t" * n)),
    "a number": (2**63 - 1, lambda n: [11, TAG, NAME, n, True]),
    "entries": (256, lambda n: [3, NAME, 1, 9, 0, [[6, 1, 1]] * n]),
    "pieces of a body": (10, lambda n: entry(2, 5, 1, 0, n, b"")),
    "the span of an entry": (5, lambda n: entry(6, 5, n)),
    "a key id": (7, lambda n: entry(5, 5, 1, EIGHT, n, 1)),
    "a kind of counters": (255, lambda n: entry(4, 5, 1, n, b"")),
    "newest changes": (16, lambda n: [4, NAME, 1, 1, 0, SIXTEEN * n]),
    "a kind of cold part": (255, lambda n: [6, NAME, 1, SIXTEEN, n, 1, 0, b"d"]),
    "bytes of a cold part": (65_792, lambda n: [6, NAME, 1, SIXTEEN, 7, n, 0, b"d"]),
    "the last byte of a cold part": (65_791, lambda n: [6, NAME, 1, SIXTEEN, 7, 65_792, n, b"d"]),
    "clients asked for": (100, lambda n: [12, NAME, 1, TAG, EIGHT * n]),
    "clients to repeat": (100, lambda n: [16, TAG, NAME, 1, EIGHT * n]),
    "clients of a bucket": (60, lambda n: [15, NAME, 1, 1, 5, 0, 1, SIXTEEN * n]),
    "a bucket": (127, lambda n: [15, NAME, 1, 1, n, 0, 1, b""]),
    "a bucket that differs": (127, lambda n: [14, TAG, NAME, 1, bytes([n])]),
    "buckets that differ": (128, lambda n: [14, TAG, NAME, 1, bytes(n)]),
    "gaps": (48, lambda n: [9, TAG, NAME, 1, 1, [1, 2] * n]),
    "the begin of a gap": (9, lambda n: [9, TAG, NAME, 1, 1, [n, 9]]),
    "cold parts wanted": (60, lambda n: [10, TAG, NAME, 1, SIXTEEN * n]),
    "acknowledged clients": (24, lambda n: [7, TAG, NAME, 1, 1, [], [[EIGHT, 1, 1, b""]] * n]),
    "stored ranges": (16, lambda n: [7, TAG, NAME, 1, 1, [], [[EIGHT, 1, 1, SIXTEEN * n]]]),
    "refused clients": (24, lambda n: [8, TAG, NAME, 1, [[EIGHT, 1, 1, ""]] * n]),
    "letters of a reason": (120, lambda n: [8, TAG, NAME, 1, [[EIGHT, 1, 1, "r" * n]]]),
}


@pytest.mark.parametrize("what", MOST)
def test_a_receiver_takes_so_much_and_not_one_more(what: str) -> None:
    most, make = MOST[what]
    [_], unknown = decode_untrusted(msgpack.packb(make(most)))
    assert unknown == 0
    with pytest.raises(RefusedDatagram, match="malformed"):
        decode_untrusted(msgpack.packb(make(most + 1)))


# The same for the body of an upsert.
MOST_OF_A_BODY: dict[str, tuple[int, Callable[[int], list[object]]]] = {
    "bytes of a packed hot part": (1_256, lambda n: [b"h" * n, b"", b"", b"", b"", b""]),
    "cold parts": (16, lambda n: [b"", SIXTEEN * n, b"k" * n, b"", b"", b""]),
    "high-water marks": (8_192, lambda n: [b"", b"", b"", b"", b"m" * n, b""]),
    "byte counts": (8_192, lambda n: [b"", b"", b"", b"", b"", b"c" * n]),
    "the begin of a range": (
        8,
        lambda n: [
            *(b"", b"", b""),
            *(b"\1" + EIGHT + b"\1" + SIXTEEN + b"\1\0" + struct.pack("!II", n, 9), b"", b""),
        ],
    ),
}


@pytest.mark.parametrize("what", MOST_OF_A_BODY)
def test_a_body_holds_so_much_and_not_one_more(what: str) -> None:
    most, make = MOST_OF_A_BODY[what]
    assert unpack_body_untrusted(msgpack.packb([EIGHT, 1, *make(most)])).uid == EIGHT
    with pytest.raises(RefusedDatagram, match="malformed"):
        unpack_body_untrusted(msgpack.packb([EIGHT, 1, *make(most + 1)]))


@pytest.mark.parametrize(
    ("record", "more"),
    [
        (ClientRecord(UID, 1, bytes(1_000)), ClientRecord(UID, 1, bytes(1_001))),
        (
            ClientRecord(UID, 1, b"h", (ColdPart(1, bytes(65_535)),)),
            ClientRecord(UID, 1, b"h", (ColdPart(1, bytes(65_536)),)),
        ),
        (
            ClientRecord(UID, 1, b"", (ColdPart(1, b""),) * 16),
            ClientRecord(UID, 1, b"", (ColdPart(1, b""),) * 17),
        ),
        (
            ClientRecord(UID, 1, b"", (), (GRANT,) * 255),
            ClientRecord(UID, 1, b"", (), (GRANT,) * 256),
        ),
        (ClientRecord(UID, 2**63 - 1, b""), ClientRecord(UID, 2**63, b"")),
    ],
    ids=["hot", "whole", "parts", "grants", "generation"],
)
def test_a_record_of_so_much_travels_and_not_of_one_more(
    record: ClientRecord, more: ClientRecord
) -> None:
    assert fits(record)
    assert not fits(more)


@pytest.mark.parametrize("more", [{1: 2}, msgpack.ExtType(1, b"x"), msgpack.Timestamp(1), [0] * 65])
def test_what_is_no_plain_value_is_malformed_even_where_nobody_reads_it(more: object) -> None:
    known = [EIGHT, 1, b"", b"", b"", b"", b"", b""]
    unpack_body_untrusted(msgpack.packb([*known, [0] * 64]))
    with pytest.raises(RefusedDatagram, match="malformed"):
        unpack_body_untrusted(msgpack.packb([*known, more]))


@pytest.mark.parametrize("more", [{1: 2}, msgpack.ExtType(1, b"x"), msgpack.Timestamp(1)])
def test_nor_does_a_message_hold_anything_else(more: object) -> None:
    decode_untrusted(msgpack.packb([2, [0] * 64]))
    with pytest.raises(RefusedDatagram, match="malformed"):
        decode_untrusted(msgpack.packb([2, more]))
