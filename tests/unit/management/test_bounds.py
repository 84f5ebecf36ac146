"""What OpenVPN may say and be told at most, in numbers, and what is one too much or too little."""

from __future__ import annotations

import base64

import pytest

from ovpnha.errors import ManagementError
from ovpnha.management import commands
from ovpnha.management.channel import Channel
from ovpnha.management.lines import LineReader
from ovpnha.management.notices import (
    ChangedNotice,
    CountersNotice,
    OtherNotice,
    read_notice_untrusted,
)
from ovpnha.management.records import read_record_untrusted
from ovpnha.management.replies import LoadStatsReply
from ovpnha.management.words import printable, read_epoch, read_number_untrusted
from ovpnha.model import NO_EPOCH, CounterKind, Epoch, HolderId, NodeName, Uid

UID = Uid(bytes.fromhex("0011223344556677"))
MOST = 900  # bytes of packed counters in a line
NAME, KEY, HOLDER = UID.hex(), "1122334455667788", "0f" * 16


@pytest.mark.parametrize("text", ["0", "9", "9" * 19])
def test_a_number_has_up_to_nineteen_digits(text: str) -> None:
    assert read_number_untrusted(text, "number") == int(text)


@pytest.mark.parametrize("text", ["", "1" * 20, "-1", "1.0", "٣"])
def test_anything_else_is_no_number(text: str) -> None:
    with pytest.raises(ManagementError):
        read_number_untrusted(text, "number")


def test_an_epoch_has_a_counter_of_nineteen_digits_and_a_name_of_44_letters() -> None:
    assert read_epoch(f"{'9' * 19}/{'n' * 44}") == Epoch(int("9" * 19), NodeName("n" * 44))
    for wrong in (f"{'9' * 20}/n", f"1/{'n' * 45}", "1/", "/n", "1/n n"):
        assert read_epoch(wrong) == NO_EPOCH


def test_a_text_is_cut_after_two_hundred_bytes() -> None:
    assert printable(b"t" * 200) == "t" * 200
    assert printable(b"t" * 201) == "t" * 200


@pytest.mark.parametrize(
    "line",
    [
        f"STATE,master,{HOLDER}",
        f"CHANGED,{NAME},5,hot,key",
        f"DOWN,{NAME}",
        f"RENEG,{NAME},3,5",
        f"REKEYED,{NAME}",
        f"STALE,{NAME},{KEY},{HOLDER}",
        f"CAPPED,{NAME},{KEY}",
    ],
)
def test_a_line_about_the_cluster_may_have_more_fields_and_none_less(line: str) -> None:
    notice = read_notice_untrusted(f">CLUSTER:{line}".encode())
    assert read_notice_untrusted(f">CLUSTER:{line},new".encode()) == notice
    with pytest.raises(ManagementError, match="too few fields"):
        read_notice_untrusted(f">CLUSTER:{line.rpartition(',')[0]}".encode())


def test_names_that_are_shown_are_cut_after_32_letters() -> None:
    long = "N" * 33
    assert read_notice_untrusted(f">{long}:text".encode()) == OtherNotice(long[:32])
    assert read_notice_untrusted(f">CLUSTER:{long}".encode()) == OtherNotice(f"CLUSTER:{long[:32]}")
    changed = read_notice_untrusted(f">CLUSTER:CHANGED,{NAME},5,hot,{long}".encode())
    assert changed == ChangedNotice(UID, 5, long[:32])


@pytest.mark.parametrize(
    ("word", "kind"), [("HW", CounterKind.HIGH_WATER), ("BYTES", CounterKind.BYTES)]
)
def test_counters_are_whole_entries_and_not_more_than_fit_a_line(
    word: str, kind: CounterKind
) -> None:
    size = {CounterKind.HIGH_WATER: 20, CounterKind.BYTES: 24}[kind]

    def read(count: int) -> object:
        text = base64.b64encode(bytes(count)).decode()
        return read_notice_untrusted(f">CLUSTER:{word},{text}".encode())

    assert read(size) == CountersNotice(kind, bytes(size))
    most = MOST // size * size
    assert read(most) == CountersNotice(kind, bytes(most))
    for wrong in (0, size - 1, size + 1, most + size):
        with pytest.raises(ManagementError):
            read(wrong)


def record(**changes: object) -> list[str]:
    """The lines of a record with a hot part and grants of these sizes."""
    given = {"hot": 1, "cold": 1, "kind": 1, "grants": 0, "size": 1} | changes
    text = base64.b64encode(bytes(int(str(given["hot"])))).decode()
    part = base64.b64encode(bytes(int(str(given["size"])))).decode()
    kind = int(str(given["kind"]))
    return [
        f"RECORD,{NAME},5",
        f"HOT,{text}",
        *(f"COLD,{kind + number},{part}" for number in range(int(str(given["cold"])))),
        *(f"GRANT,{HOLDER},{KEY},1,2" for _ in range(int(str(given["grants"])))),
    ]


@pytest.mark.parametrize(
    ("most", "more"),
    [
        ({"hot": 1}, {"hot": 0}),
        ({"hot": 1_000}, {"hot": 1_001}),
        ({"cold": 16}, {"cold": 17}),
        ({"kind": 1}, {"kind": 0}),
        ({"kind": 255}, {"kind": 256}),
        ({"grants": 255}, {"grants": 256}),
        ({"size": 65_535}, {"size": 65_536}),
    ],
)
def test_a_record_has_so_much_and_not_one_more(
    most: dict[str, object], more: dict[str, object]
) -> None:
    taken = read_record_untrusted(record(**most), UID)
    assert (taken.uid, taken.generation) == (UID, 5)
    with pytest.raises(ManagementError):
        read_record_untrusted(record(**more), UID)


def test_a_range_has_one_packet_id_at_least() -> None:
    read_record_untrusted([*record(), f"GRANT,{HOLDER},{KEY},7,8"], UID)
    for wrong in (f"{KEY},7,7", f"{KEY},8,7", f"{KEY},7", f"{KEY},7,8,9"):
        with pytest.raises(ManagementError):
            read_record_untrusted([*record(), f"GRANT,{HOLDER},{wrong}"], UID)


def test_a_line_has_so_many_bytes_and_not_one_more() -> None:
    most = 16 * 1024
    assert LineReader().receive_untrusted(b"x" * most + b"\n") == [b"x" * most]
    assert LineReader().receive_untrusted(b"x" * most) == []
    for wrong in (b"x" * (most + 1), b"x" * (most + 1) + b"\n"):
        with pytest.raises(ManagementError):
            LineReader().receive_untrusted(wrong)


def test_an_answer_of_lines_has_so_many_bytes_and_not_one_more() -> None:
    for command, most in (
        (commands.Version(), 4 * 1024),
        (commands.Export(UID), 128 * 1024),
        (commands.ListInstances(), 4 * 1024 * 1024),
    ):
        channel = Channel()
        channel.send(command)
        line = b"x" * 1023 + b"\n"
        for _ in range(most // 1024):
            channel.receive_untrusted(line)
        assert channel.unfinished
        with pytest.raises(ManagementError, match="more than"):
            channel.receive_untrusted(b"\n")


def test_the_next_answer_has_as_many_bytes_as_the_first() -> None:
    channel = Channel()
    for _ in range(2):
        channel.send(commands.Version())
        for _ in range(4):
            channel.receive_untrusted(b"x" * 1023 + b"\n")
        channel.receive_untrusted(b"END\n")


def test_what_is_left_of_one_answer_does_not_count_for_the_next() -> None:
    channel = Channel()
    channel.send(commands.Version())
    channel.send(commands.Version())
    for _ in range(2):
        channel.receive_untrusted(b"OpenVPN Version: OpenVPN 2.6.14\n" + b"x" * 3_000 + b"\nEND\n")
        assert channel.next_event() is not None
        assert not channel.unfinished


def test_an_export_names_fifteen_holders_seven_in_a_word() -> None:
    holders = tuple(HolderId(bytes([number]) * 16) for number in range(20))
    name, uid, *words = commands.Export(UID, holders).encode().decode().split()
    assert (name, uid) == ("cluster-export", NAME)
    assert [len(word.split(",")) for word in words] == [7, 7, 1]
    assert ",".join(words) == ",".join(holder.hex() for holder in holders[:15])
    assert max(map(len, words)) <= 255


def test_load_stats_are_numbers() -> None:
    channel = Channel()
    channel.send(commands.LoadStats())
    channel.receive_untrusted(b"SUCCESS: nclients=3,bytesin=5,bytesout=7\n")
    assert channel.next_event() == LoadStatsReply(3, 5, 7)
