"""Leases: what is told of a client of an OpenVPN without the patch."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest

from ovpnha.errors import RefusedDatagram
from ovpnha.model import ClientRecord, ServerClient, Uid
from ovpnha.replication.leases import (
    ADDRESS_LIMIT,
    FORMAT,
    NAME_LIMIT,
    SINCE_LIMIT,
    Lease,
    find_lease,
    pack_lease,
    unpack_lease_untrusted,
)
from ovpnha.replication.records import fits
from tests.unit.replication import encoder as e

CLIENT = ServerClient(
    *("alice", "al", "192.0.2.1:5000", "10.8.0.6", "1790000000", 10, 20), virtual6="fd00::6"
)
LEASE = Lease(FORMAT, "alice", "al", "192.0.2.1:5000", "10.8.0.6", "fd00::6", 1790000000)
PAGE = [1, "alice", "al", "192.0.2.1:5000", "10.8.0.6", "fd00::6", 1790000000]
LONG = "ö" * (NAME_LIMIT // 2)


def test_a_lease_is_written_and_read_as_the_page_says() -> None:
    record = pack_lease(LEASE, 7)
    named = b"ovpnha lease" + bytes(1) + b"10.8.0.6" + bytes(1) + b"fd00::6"
    assert record == ClientRecord(Uid(sha256(named).digest()[:8]), 7, e.pack(PAGE))
    assert unpack_lease_untrusted(record) == LEASE
    newer = replace(record, hot=e.pack([*PAGE, "of a later version"]))
    assert unpack_lease_untrusted(newer) == LEASE


def test_a_client_has_a_lease_that_shows_it_again() -> None:
    assert find_lease(CLIENT) == LEASE
    assert LEASE.client == replace(CLIENT, received=0, sent=0)
    assert replace(LEASE, since=0).client.since == ""


@pytest.mark.parametrize(
    ("since", "known"), [("", 0), ("٣", 0), ("-1", 0), ("9" * 20, SINCE_LIMIT), ("12", 12)]
)
def test_a_time_that_is_none_is_not_told(since: str, known: int) -> None:
    lease = find_lease(replace(CLIENT, since=since))
    assert lease is not None
    assert lease.since == known


@pytest.mark.parametrize(
    "changes",
    [
        {"virtual": "", "virtual6": ""},
        {"name": LONG + "x"},
        {"user": LONG + "x"},
        {"address": "x" * (ADDRESS_LIMIT + 1)},
        {"name": "\ud800"},
    ],
)
def test_what_cannot_travel_has_none(changes: dict[str, str]) -> None:
    assert find_lease(replace(CLIENT, **changes)) is None  # type: ignore[arg-type]


def test_the_largest_fits() -> None:
    address = "x" * ADDRESS_LIMIT
    lease = find_lease(
        replace(CLIENT, name=LONG, user=LONG, address=address, virtual=address, virtual6=address)
    )
    assert lease is not None
    assert fits(pack_lease(lease, 1))


def test_an_address_names_a_lease() -> None:
    other = replace(LEASE, name="bob", user="", address="", since=0)
    assert other.uid == LEASE.uid
    assert replace(LEASE, virtual="10.8.0.7").uid != LEASE.uid
    assert replace(LEASE, virtual6="").uid != LEASE.uid


@pytest.mark.parametrize(
    "hot",
    [
        b"",
        b"\xc1",
        b"hot part of a patched OpenVPN",
        e.pack(1),
        e.pack([]),
        e.pack([2, *PAGE[1:]]),
        e.pack(["1", *PAGE[1:]]),
        e.pack(PAGE[:-1]),
        e.pack([*PAGE[:4], "10.8.0.7", *PAGE[5:]]),
        e.pack([1, 2, *PAGE[2:]]),
        e.pack([1, LONG + "x", *PAGE[2:]]),
    ],
)
def test_what_is_no_lease_is_malformed(hot: bytes) -> None:
    with pytest.raises(RefusedDatagram):
        unpack_lease_untrusted(ClientRecord(LEASE.uid, 1, hot))
