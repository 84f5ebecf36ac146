"""Answers that end early, and numbers at their bounds: read as far as they go, or refused."""

from __future__ import annotations

import pytest

from ovpnha.errors import ManagementError
from ovpnha.management import commands
from ovpnha.management.replies import (
    ImportReply,
    ListReply,
    VersionReply,
    read_block_untrusted,
    read_success_untrusted,
)
from ovpnha.model import ClientRecord, Fingerprint, StoredRange, Uid

UID = Uid(bytes.fromhex("0102030405060708"))
LISTED = UID.hex()


@pytest.mark.parametrize(
    ("line", "version"),
    [
        ("OpenVPN Version: OpenVPN 2.6.14 x86_64", "2.6.14"),
        ("OpenVPN Version: OpenVPN 2.6.14", "2.6.14"),
        ("OpenVPN Version: OpenVPN", ""),
        ("OpenVPN Version:", ""),
    ],
)
def test_a_version_is_the_fourth_word(line: str, version: str) -> None:
    assert read_block_untrusted(commands.Version(), [line]) == VersionReply(version)


def listed(rest: str) -> ListReply:
    reply = read_block_untrusted(commands.ListInstances(), [f"{LISTED},{rest}"])
    assert isinstance(reply, ListReply)
    assert list(reply.clients) == [UID]
    return reply


def test_a_moved_client_may_lack_the_seconds_that_it_waits_but_nothing_before() -> None:
    assert listed("7,0").moved == {}
    assert listed("7,0,moved,500").moved == {}
    assert listed("7,0,moved,500,auto").moved[UID].wait == 0.0
    assert listed("7,0,moved,500,auto,9").moved[UID].wait == 9.0
    assert listed("7,0,moved,500,auto,9").moved[UID].room == 500
    assert listed("7,0,stays,500,auto,9").moved == {}


def test_an_import_may_have_stored_nothing() -> None:
    command = commands.Import(ClientRecord(UID, 5, b"hot"), ())
    for rest, stored in (
        (f"{LISTED} 5", ()),
        (f"{LISTED} 5 ", ()),
        (f"{LISTED} 5 {'0a' * 8}:30", (StoredRange(Fingerprint(b"\n" * 8), 30),)),
    ):
        reply = read_success_untrusted(command, f"{command.name} {rest}")
        assert reply == ImportReply(command, stored)
    for other in (f"{LISTED} 6", f"{LISTED}", f"{'00' * 8} 5"):
        with pytest.raises(ManagementError):
            read_success_untrusted(command, f"{command.name} {other}")
