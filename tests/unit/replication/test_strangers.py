"""What is said of datagrams of others, and which echoes prove anything."""

from __future__ import annotations

import pytest

from ovpnha.replication.challenges import Challenges
from ovpnha.replication.events import Event, OtherKey, OtherVersion
from ovpnha.replication.hello import CHALLENGE_SIZE
from ovpnha.replication.strangers import OTHER_AGAIN, STRANGER_RATE, Strangers

SLACK = 0.001


@pytest.mark.parametrize(
    ("reason", "event"),
    [
        ("unknown_key", OtherKey("unknown_key", "bcn0")),
        ("unauthentic", OtherKey("unauthentic", "bcn0")),
        ("version", OtherVersion("bcn0")),
        ("malformed", None),
    ],
)
def test_another_key_and_another_version_are_told_once_a_minute(
    reason: str, event: Event | None
) -> None:
    told: list[Event] = []
    strangers = Strangers(told.append, 100.0)
    for now in (100.0, 100.0, 100.0 + OTHER_AGAIN - SLACK):
        strangers.tell(reason, "bcn0", now)
    assert told == ([event] if event else [])
    strangers.tell(reason, "bcn0", 100.0 + OTHER_AGAIN)
    assert told == ([event, event] if event else [])


def test_state_that_nobody_follows_is_answered_now_and_then() -> None:
    strangers = Strangers(lambda _event: None, 0.0)
    assert strangers.may_answer(0.0)
    assert not strangers.may_answer(0.0)
    assert not strangers.may_answer(1 / STRANGER_RATE - SLACK)
    assert strangers.may_answer(1 / STRANGER_RATE + SLACK)


def test_a_challenge_proves_something_for_a_while() -> None:
    values = iter(bytes([number]) * CHALLENGE_SIZE for number in range(3))
    challenges = Challenges(lambda size: next(values)[:size], 2.0)
    first = challenges.draw(10.0)
    second = challenges.draw(11.0)
    assert [one.number for one in challenges.proofs([second, b"another's", first], 11.5)] == [2, 1]
    assert [one.drawn for one in challenges.proofs([first, second], 12.0)] == [11.0]
    assert (first in challenges, second in challenges, b"" in challenges) == (True, True, False)
    third = challenges.draw(12.0)
    assert challenges.drawn == 3
    assert (first in challenges, second in challenges, third in challenges) == (False, True, True)
