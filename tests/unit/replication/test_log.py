"""Which numbers of the log have left, and since when."""

from __future__ import annotations

import pytest

from ovpnha.model import Uid
from ovpnha.replication.log import CompactedLog


def log_of(*sent: float | None) -> CompactedLog:
    """Numbers from 1 on: when each left, None where it is void."""
    log = CompactedLog()
    for number, time in enumerate(sent, 1):
        if time is None:
            log.void()
        else:
            slot = log.get(log.upsert(Uid(number.to_bytes(8))))
            assert slot is not None
            slot.sent = time
    return log


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        ((), []),
        ((5.0,), [(1, 1)]),
        ((4.9,), []),
        ((5.0, 4.9, 5.0), [(1, 1), (3, 3)]),
        ((4.9, 5.0, 5.0, 4.9), [(2, 3)]),
        ((5.0, None, 5.0), [(1, 3)]),
        ((4.9, None, 5.0), [(2, 3)]),
        ((5.0, None, 4.9, None, None, 6.0), [(1, 1), (4, 6)]),
    ],
    ids=str,
)
def test_what_has_left_since_is_told_in_ranges(
    sent: tuple[float | None, ...], found: list[tuple[int, int]]
) -> None:
    assert list(log_of(*sent).sent_since(5.0, 1, len(sent))) == found


def test_only_of_those_that_are_asked_for() -> None:
    log = log_of(9.0, 9.0, 9.0, 9.0)
    assert list(log.sent_since(5.0, 2, 3)) == [(2, 3)]
    assert list(log.sent_since(5.0, 2, 2)) == [(2, 2)]
    assert list(log.sent_since(5.0, 5, 9)) == []


def test_what_has_not_left_yet_did_not_leave_since_anything() -> None:
    log = CompactedLog()
    number = log.upsert(Uid(bytes(8)))
    assert list(log.sent_since(0.0, 1, number)) == []
