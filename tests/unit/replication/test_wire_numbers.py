"""Numbers that another version of ovpnha says and reads: who changes one changes the wire.

A code that moves is another code to the other node; a bound that shrinks refuses what it sends.
"""

from __future__ import annotations

import enum

import pytest

from ovpnha.model import ColdKind, CounterKind, SwitchPhase, SwitchReason
from ovpnha.replication import (
    counters,
    entries,
    fields,
    hello,
    history,
    messages,
    records,
    sealing,
)
from ovpnha.replication.entries import EntryKind
from ovpnha.replication.layout import Type

CODES: list[tuple[type[enum.IntEnum], str]] = [
    (SwitchPhase, "wished preparing ready moving done failed"),
    (
        SwitchReason,
        "none other no_master two_masters under_way no_target unknown is_master not_standby"
        " not_in_sync low_grade no_vip_manager busy not_promoted target_lost not_moved changed"
        " elsewhere server_lost no_answer master_lost paused",
    ),
    (ColdKind, "identity wrap peer_info token cert_hashes options environment"),
    (CounterKind, "high_water bytes"),
    (EntryKind, "upsert fragment delete counters renegotiation void"),
    (
        Type,
        "hello goodbye entries snapshot snapshot_end cold ack reject nack want resync ask digest"
        " difference bucket repeat history",
    ),
]
READ = [
    (fields.PARTS_LIMIT, 64),
    (fields.RANGES_LIMIT, 48),
    (fields.UIDS_LIMIT, 100),
    (fields.NAMES_LIMIT, 60),
    (hello.ECHO_LIMIT, 24),
    (hello.STATES_LIMIT, 64),
    (hello.VERSION_TEXT_LIMIT, 32),
    (hello.GRADE_LIMIT, 32767),
    (entries.FRAGMENTS_LIMIT, 10),
    (entries.ENTRIES_LIMIT, 256),
    (history.ENTRIES_LIMIT, 16),
    (history.FIGURES_LIMIT, 14),
    (history.FIGURE_NAME_LIMIT, 16),
    (messages.ACKS_LIMIT, 24),
    (messages.RECENT_LIMIT, 16),
    (messages.BUCKETS, 128),
    (messages.BUCKET_CLIENTS, 60),
    (messages.REASON_LIMIT, 120),
    (records.COLD_PARTS_LIMIT, 16),
    (records.STORED_LIMIT, 16),
    (records.BODY_LIMIT, 8192),
    (counters.KEYS_LIMIT, 8),
    (sealing.VERSION, 2),
]


@pytest.mark.parametrize(("codes", "names"), CODES)
def test_codes_are_counted_in_this_order(codes: type[enum.IntEnum], names: str) -> None:
    first = 0 if codes is SwitchReason else 1
    expected = {name.upper(): number for number, name in enumerate(names.split(), first)}
    assert {name: code.value for name, code in codes.__members__.items()} == expected


def test_so_much_is_read_of_what_another_version_writes() -> None:
    assert [limit for limit, _ in READ] == [number for _, number in READ]
