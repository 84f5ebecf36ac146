"""Notifications: each is read, hostile ones are refused."""

from __future__ import annotations

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovpnha.errors import ManagementError
from ovpnha.management.notices import (
    ApartNotice,
    CappedNotice,
    ChangedNotice,
    CountersNotice,
    DownNotice,
    EndNotice,
    FatalNotice,
    HoldNotice,
    NeedNotice,
    Notice,
    OtherNotice,
    RekeyedNotice,
    RenegotiationNotice,
    RoleNotice,
    StaleNotice,
    WaitingNotice,
    read_notice_untrusted,
)
from ovpnha.model import CounterKind, Fingerprint, HolderId, Role, Uid

UID = Uid(bytes.fromhex("0011223344556677"))
KEY = Fingerprint(bytes.fromhex("1122334455667788"))
HOLDER = HolderId(bytes(range(16)))
HEX = b"000102030405060708090a0b0c0d0e0f"


@pytest.mark.parametrize(
    ("line", "notice"),
    [
        (b">CLUSTER:STATE,standby," + HEX, RoleNotice(Role.STANDBY, HOLDER)),
        (b">CLUSTER:END", EndNotice()),
        (b">CLUSTER:WAITING", WaitingNotice()),
        (b">CLUSTER:WAITING,for,more", WaitingNotice()),
        (b">CLUSTER:WAITING,port", WaitingNotice()),
        (b">CLUSTER:WAITING,configuration", WaitingNotice(by_configuration=True)),
        (b">CLUSTER:WAITING,configuration,17,x", WaitingNotice(by_configuration=True, pid=17)),
        (
            b">CLUSTER:CHANGED,0011223344556677,9,3,keys",
            ChangedNotice(UID, 9, "keys"),
        ),
        (b">CLUSTER:DOWN,0011223344556677", DownNotice(UID)),
        (b">CLUSTER:RENEG,0011223344556677,2,7", RenegotiationNotice(UID, 2, 7)),
        (
            b">CLUSTER:STALE,0011223344556677,1122334455667788," + HEX,
            StaleNotice(UID, KEY, HOLDER),
        ),
        (b">CLUSTER:CAPPED,0011223344556677,1122334455667788", CappedNotice(UID, KEY)),
        (b">CLUSTER:APART,12", ApartNotice(12)),
        (b">CLUSTER:REKEYED,0011223344556677", RekeyedNotice(UID)),
        (
            b">CLUSTER:HW," + base64.b64encode(bytes(40)),
            CountersNotice(CounterKind.HIGH_WATER, bytes(40)),
        ),
        (
            b">CLUSTER:BYTES," + base64.b64encode(bytes(24)),
            CountersNotice(CounterKind.BYTES, bytes(24)),
        ),
        (b">CLUSTER:TOMORROW,1", OtherNotice("CLUSTER:TOMORROW")),
        (b">HOLD:Waiting for hold release:10", HoldNotice()),
        (b">FATAL:no\x07 such file", FatalNotice("no? such file")),
        (b">PASSWORD:Need 'Auth'", NeedNotice("PASSWORD", "management-query-passwords")),
        (b">CLIENT:CONNECT,0,1", NeedNotice("CLIENT", "management-client-auth")),
        (b">CLIENT:ESTABLISHED,0", OtherNotice("CLIENT")),
        (b">CLIENT:ENV,END", OtherNotice("CLIENT")),
        (b">LOG:1,I,hello", OtherNotice("LOG")),
        (b">", OtherNotice("")),
    ],
)
def test_each_notification_is_read(line: bytes, notice: Notice) -> None:
    assert read_notice_untrusted(line) == notice


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b">CLUSTER:STATE,standby", "too few fields"),
        (b">CLUSTER:STATE,king," + HEX, "unknown role"),
        (b">CLUSTER:DOWN,xx", "uid"),
        (b">CLUSTER:CHANGED,0011223344556677,-1,3,keys", "generation"),
        (b">CLUSTER:CAPPED,0011223344556677,\xff", "not ASCII"),
        (b">CLUSTER:HW,!", "not base64"),
        (b">CLUSTER:HW,", "not of 1 to 900 whole bytes"),
        (b">CLUSTER:HW," + base64.b64encode(bytes(21)), "not of 1 to 900 whole bytes"),
        (b">CLUSTER:HW," + base64.b64encode(bytes(920)), "not of 1 to 900 whole bytes"),
    ],
)
def test_a_hostile_notification_is_refused(line: bytes, problem: str) -> None:
    with pytest.raises(ManagementError, match=problem):
        read_notice_untrusted(line)


@given(st.sampled_from([b"CLUSTER:", b"CLUSTER:HW,", b"CLUSTER:CHANGED,", b""]), st.binary())
def test_any_line_is_read_or_refused(start: bytes, rest: bytes) -> None:
    with contextlib.suppress(ManagementError):
        read_notice_untrusted(b">" + start + rest)
