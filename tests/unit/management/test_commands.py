"""Commands as they are written; no line is longer than OpenVPN reads."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovpnha.errors import ManagementError
from ovpnha.management import commands
from ovpnha.management.replies import ImportReply, read_success_untrusted
from ovpnha.management.words import read_epoch
from ovpnha.model import (
    NO_EPOCH,
    ClientRecord,
    ColdPart,
    CounterKind,
    Epoch,
    Fingerprint,
    Grant,
    HolderId,
    NodeName,
    Silence,
    StoredRange,
    Uid,
)
from tests.model_openvpn import read_record

UID = Uid(bytes.fromhex("0011223344556677"))
KEY = Fingerprint(bytes.fromhex("1122334455667788"))
HOLDER = HolderId(bytes(range(16)))


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (commands.Status(), "cluster-status\n"),
        (commands.Handshakes(), "cluster-status\n"),
        (commands.ListInstances(), "cluster-list\n"),
        (commands.Export(UID), "cluster-export 0011223344556677\n"),
        (
            commands.Stored(UID, KEY, HOLDER, 77),
            "cluster-stored 0011223344556677 1122334455667788 "
            "000102030405060708090a0b0c0d0e0f 77\n",
        ),
        (commands.Drop(UID), "cluster-drop 0011223344556677\n"),
        (commands.Promote(Epoch(3, NodeName("a"))), "cluster-promote 3/a\n"),
        (commands.Hold(), "cluster-hold\n"),
        (commands.Demote(), "cluster-demote\n"),
        (commands.PassOn(), "cluster-descriptors\n"),
        (commands.Take(), "cluster-take\n"),
        (commands.SetSilence(Silence.LEAVE), "cluster-silence leave\n"),
        (commands.SetSilence(Silence.DRAIN), "cluster-silence drain\n"),
        (commands.Retire(), "cluster-retire\n"),
        (commands.Renegotiate(UID, 20), "cluster-reneg 0011223344556677 20\n"),
        (commands.Kick(UID), "cluster-kick 0011223344556677\n"),
        (commands.Renegotiate(UID), "cluster-reneg 0011223344556677 50\n"),
        (commands.Quiesce(5), "cluster-quiesce 5\n"),
        (commands.Quiesce(0), "cluster-quiesce 0\n"),
        (commands.Cookie(bytes(32)), f"cluster-cookie\n{'00' * 32}\nEND\n"),
        (commands.ReleaseHold(), "hold release\n"),
        (commands.Identities(), "cluster-list\n"),
        (commands.LoadStats(), "load-stats\n"),
        (commands.Version(), "version\n"),
    ],
)
def test_each_command_is_written(command: commands.Command, text: str) -> None:
    assert command.encode() == text.encode()


def test_no_word_of_an_export_is_longer_than_openvpn_reads() -> None:
    holders = tuple(HolderId(bytes([number] * 16)) for number in range(20))
    words = commands.Export(UID, holders).encode().decode().split()
    assert all(len(word) <= 255 for word in words)
    assert sum(word.count(",") + 1 for word in words[2:]) == commands.HOLDERS_LIMIT


@given(
    st.binary(min_size=1, max_size=1000),
    st.dictionaries(st.integers(1, 7), st.binary(min_size=1, max_size=2000)),
)
def test_a_record_survives_the_way_and_keeps_its_lines_short(
    hot: bytes, cold: dict[int, bytes]
) -> None:
    grant = Grant(HOLDER, KEY, 5, 9)
    parts = tuple(ColdPart(kind, data) for kind, data in cold.items())
    record = ClientRecord(UID, 4, hot, parts, (grant,))
    command = commands.Import(record, (grant,))
    head, *lines, end, rest = command.encode().decode().split("\n")
    assert (head, end, rest) == ("cluster-import 0011223344556677 4", "END", "")
    assert all(len(line) < 600 for line in lines)
    assert read_record(lines) == (hot, cold, [(HOLDER, KEY, 5, 9)])
    assert "hot=" not in repr(command)
    assert "data=" not in repr(command)
    assert repr(commands.Cookie(b"secret")) == "Cookie()"


@given(st.sampled_from(CounterKind), st.integers(0, 1000))
def test_counters_are_cut_at_whole_entries(kind: CounterKind, length: int) -> None:
    payload = bytes(number % 251 for number in range(length))
    size = {CounterKind.HIGH_WATER: 20, CounterKind.BYTES: 24}[kind]
    command = commands.Update((commands.PackedCounters(kind, payload),))
    head, *lines, end, _ = command.encode().decode().split("\n")
    assert (head, end) == ("cluster-update", "END")
    pieces = [base64.b64decode(line.partition(",")[2]) for line in lines]
    assert all(len(line) < 1023 for line in lines)
    assert all(len(piece) % size == 0 for piece in pieces)
    assert b"".join(pieces) == payload[: length // size * size]


def test_the_answer_to_an_import_names_it_and_the_ranges() -> None:
    command = commands.Import(ClientRecord(UID, 4, b"h"), ())
    text = "cluster-import 0011223344556677 4"
    assert read_success_untrusted(command, text) == ImportReply(command, ())
    assert read_success_untrusted(command, text + " ") == ImportReply(command, ())
    stored = read_success_untrusted(command, text + " 1122334455667788:9,1122334455667788:8")
    assert stored == ImportReply(command, (StoredRange(KEY, 9), StoredRange(KEY, 8)))
    for other in (text[:-1] + "5", "cluster-import", text + " 11:9"):
        with pytest.raises(ManagementError):
            read_success_untrusted(command, other)


@given(st.integers(0, 10**18), st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}", fullmatch=True))
def test_an_epoch_survives_the_way(counter: int, node: str) -> None:
    epoch = Epoch(counter, NodeName(node))
    assert len(str(epoch)) <= 64
    assert read_epoch(str(epoch)) == epoch


def test_a_word_that_is_no_epoch_of_ours_is_none() -> None:
    assert read_epoch("-") == NO_EPOCH
    assert read_epoch("by hand") == NO_EPOCH


def test_a_record_is_cut_into_lines_of_512_characters() -> None:
    text = commands.Import(ClientRecord(UID, 1, bytes(1000)), ()).encode().decode()
    cut = [line.removeprefix("HOT,") for line in text.splitlines() if line.startswith("HOT,")]
    assert [len(line) for line in cut] == [512, 512, 312]
