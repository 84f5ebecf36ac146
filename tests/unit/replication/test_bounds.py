"""Numbers at their bounds: the last that is taken, the first that is not."""

from __future__ import annotations

import msgpack
import pytest

from ovpnha.errors import RefusedDatagram
from ovpnha.model import InstanceName, NodeName, Uid
from ovpnha.replication.config import Timings
from ovpnha.replication.decoding import decode_untrusted
from ovpnha.replication.followers import FOLLOWER_TIMEOUT, Followers
from ovpnha.replication.messages import Ack, AckEntry, Hello
from tests.unit.replication.network import INSTANCE, STATE, make_uid

NODE, OTHER = NodeName("b"), NodeName("c")
SLACK = 0.001


def hello_with_grade(grade: int) -> bytes:
    payload = Hello("node", b"c" * 16, (), 1, 0, 1, ((INSTANCE, STATE),)).encode()
    fields = msgpack.unpackb(payload)
    fields[7][0][6] = grade
    return bytes(msgpack.packb(fields))


@pytest.mark.parametrize("grade", [32_767, -32_767, 0])
def test_a_grade_of_fifteen_bits_is_taken(grade: int) -> None:
    [hello], _ = decode_untrusted(hello_with_grade(grade))
    assert isinstance(hello, Hello)
    assert hello.states[0][1].grade == grade


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
