"""The management channel: bytes cut anywhere, replies matched, hostile input refused."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovpnha.errors import ManagementError, PasswordAsked
from ovpnha.management import commands
from ovpnha.management.channel import Channel
from ovpnha.management.codes import Code
from ovpnha.management.lines import LINE_LIMIT, LineReader
from ovpnha.management.notices import DownNotice, Notice, OtherNotice
from ovpnha.management.replies import (
    DemoteReply,
    Done,
    ExportReply,
    HandshakesReply,
    ListReply,
    LoadStatsReply,
    MovedClient,
    PromoteReply,
    Refused,
    Reply,
    StatusReply,
    UpdateReply,
    VersionReply,
)
from ovpnha.model import (
    NO_EPOCH,
    ColdPart,
    Descriptors,
    Epoch,
    HolderId,
    NodeName,
    OpenvpnStatus,
    Role,
    Silence,
    Uid,
)

UID = Uid(bytes.fromhex("0011223344556677"))
HOLDER = HolderId(bytes(range(16)))

STATUS = (
    b"SUCCESS: cluster-status version=2,format=1,role=held,instances=3,"
    b"holder=000102030405060708090a0b0c0d0e0f,epoch=7/a,openvpn=2.6.14,local=192.0.2.10,"
    b"port=1194,proto=udp4,broadcast=-,bcn-port=0,digest=aa,cert=bb,issuer=cc,max-clients=9,"
    b"capped=0\r\n"
)


def events(channel: Channel) -> list[Notice | Reply]:
    found = []
    while (event := channel.next_event()) is not None:
        found.append(event)
    return found


def answer(command: commands.Command, data: bytes) -> Reply | Notice:
    """The one event that follows when this is answered to that."""
    channel = Channel()
    channel.send(command)
    channel.receive_untrusted(data)
    (event,) = events(channel)
    assert not channel.unfinished
    return event


def test_pipelined_commands_are_answered_in_order_with_notices_between() -> None:
    channel = Channel()
    assert channel.send(commands.Hold()) == b"cluster-hold\n"
    channel.send(commands.ListInstances())
    channel.send(commands.Drop(UID))
    channel.receive_untrusted(
        b">INFO:hello\r\nSUCCESS: cluster-hold instances=1\r\n0011223344556677,4,0\r\n"
        b">CLUSTER:DOWN,0011223344556677\r\nEND\r\n"
        b"ERROR: cluster-drop 00: unknown-client it says\r\n"
    )
    assert events(channel) == [
        OtherNotice("INFO"),
        Done(commands.Hold()),
        DownNotice(UID),
        ListReply({UID: 4}),
        Refused(commands.Drop(UID), Code.UNKNOWN_CLIENT, "it says"),
    ]


def test_a_list_tells_who_came_from_another_node() -> None:
    channel = Channel()
    channel.send(commands.ListInstances())
    channel.receive_untrusted(
        b"0011223344556677,4,0,moved,900,token\r\n0011223344556688,1,2\r\n"
        b"0011223344556699,1,3,moved,0,user\r\nEND\r\n"
    )
    (listed,) = events(channel)
    assert isinstance(listed, ListReply)
    assert len(listed.clients) == 3
    assert list(listed.moved.values()) == [
        MovedClient(900, unattended=True),
        MovedClient(0, unattended=False),
    ]


@given(st.lists(st.integers(0, 200), max_size=20))
def test_bytes_can_be_cut_anywhere(cuts: list[int]) -> None:
    stream = STATUS + b">CLUSTER:DOWN,0011223344556677\nEND\n"
    channel = Channel()
    channel.send(commands.Status())
    channel.send(commands.ListInstances())
    places = sorted({min(cut * 2, len(stream)) for cut in cuts} | {0, len(stream)})
    for start, end in itertools.pairwise(places):
        channel.receive_untrusted(stream[start:end])
    status, down, listed = events(channel)
    assert isinstance(status, StatusReply)
    assert down == DownNotice(UID)
    assert listed == ListReply({})


@given(st.lists(st.integers(0, 400), max_size=12), st.sampled_from([None, 1, 3, 5]))
def test_a_block_is_the_same_however_it_comes(cuts: list[int], notice_at: int | None) -> None:
    lines = [b"RECORD,0011223344556677,4,0", b"HOT,aG90", b"COLD,3,Y29s", b"COLD,3,ZDM=", b"NEW"]
    down = [b">CLUSTER:DOWN,0011223344556677"] if notice_at else []
    lines[notice_at or 0 : notice_at or 0] = down
    stream = b"\r\n".join([*lines, b"END", b"SUCCESS: cluster-hold", b""])
    channel = Channel()
    channel.send(commands.Export(UID))
    channel.send(commands.Hold())
    places = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    for start, end in itertools.pairwise(places):
        channel.receive_untrusted(stream[start:end])
    *before, exported, held = events(channel)
    assert before == [DownNotice(UID)] * len(down)
    assert isinstance(exported, ExportReply)
    assert (exported.record.hot, exported.record.cold) == (b"hot", (ColdPart(3, b"cold3"),))
    assert held == Done(commands.Hold())


@pytest.mark.parametrize("turns", [1, 3])
def test_a_block_has_its_bound_however_it_comes(turns: int) -> None:
    line = b"N" * 1023 + b"\n"
    channel = Channel()
    channel.send(commands.Export(UID))
    most = commands.EXPORT_LIMIT // len(line)
    for turn in range(turns):
        channel.receive_untrusted(line * (most // turns + (turn < most % turns)))
    with pytest.raises(ManagementError, match="more than 131072 bytes"):
        channel.receive_untrusted(b"N\n" * 2)


def test_the_status_is_read() -> None:
    reply = answer(commands.Status(), STATUS)
    assert isinstance(reply, StatusReply)
    status = reply.status
    assert status.role is Role.HELD
    assert status.epoch == Epoch(7, NodeName("a"))
    assert status.holder == HOLDER
    assert (status.local, status.broadcast, status.bcn_port) == ("192.0.2.10", "", 0)
    assert (status.digest, status.certificate, status.issuer) == ("aa", "bb", "cc")
    several = STATUS.replace(b"local=192.0.2.10", b"local=-").strip()
    told = answer(commands.Status(), several + b",addresses=192.0.2.10 2001:db8::10,apart=3\r\n")
    assert isinstance(told, StatusReply)
    assert told.status.vips == told.status.addresses == ("192.0.2.10", "2001:db8::10")
    assert (told.status.local, told.status.apart, told.status.early) == ("", 3, False)
    early = answer(commands.Status(), several + b",addresses=2001:db8::10,apart=0,early=1\r\n")
    assert isinstance(early, StatusReply)
    assert early.status.early
    bound = answer(commands.Status(), STATUS.strip() + b",addresses=-,apart=0\r\n")
    assert isinstance(bound, StatusReply)
    assert bound.status.vips == ("192.0.2.10",)
    assert bound.status.addresses == ()
    nothing = answer(commands.Status(), several + b"\r\n")
    assert isinstance(nothing, StatusReply)
    assert nothing.status.vips == ()
    bare = STATUS.replace(b"epoch=7/a", b"epoch=-").replace(b",bcn-port=0", b"")
    other = answer(commands.Status(), bare)
    assert isinstance(other, StatusReply)
    assert other.status.epoch == NO_EPOCH
    assert other.status.bcn_port == 0


def tell_of_spares(words: bytes) -> OpenvpnStatus:
    """A status that says this of spares."""
    reply = answer(commands.Status(), STATUS.replace(b"capped=0", b"capped=0" + words))
    assert isinstance(reply, StatusReply)
    return reply.status


def test_the_status_tells_of_spares() -> None:
    taken = tell_of_spares(b",descriptors=taken,silence=leave,pid=77")
    assert (taken.descriptors, taken.silence) == (Descriptors.TAKEN, Silence.LEAVE)
    own = tell_of_spares(b",descriptors=own,silence=drain")
    assert (own.descriptors, own.silence) == (Descriptors.OWN, Silence.DRAIN)


def test_handshakes_are_asked_for_alone() -> None:
    for words, number in ((b",handshakes=2", 2), (b"", 0)):
        line = STATUS.replace(b"capped=0", b"capped=0" + words)
        question = commands.Handshakes()
        reply = answer(question, line)
        assert reply == HandshakesReply(question, number)
        assert isinstance(reply, HandshakesReply)
        assert reply.command is question


@pytest.mark.parametrize("words", [b"", b",descriptors=lent,silence=loud"])
def test_who_knows_of_no_spares_says_nothing_of_them(words: bytes) -> None:
    status = tell_of_spares(words)
    assert (status.descriptors, status.silence) == (None, None)


@pytest.mark.parametrize("command", [commands.PassOn(), commands.Take(), commands.Retire()])
def test_a_command_of_spares_is_answered_by_its_name(command: commands.Command) -> None:
    assert answer(command, f"SUCCESS: {command.name}\r\n".encode()) == Done(command)


def test_unsuitable_descriptors_are_refused() -> None:
    line = b"ERROR: cluster-take: unsuitable the socket is of another port\r\n"
    reply = Refused(commands.Take(), Code.UNSUITABLE, "the socket is of another port")
    assert answer(commands.Take(), line) == reply


@pytest.mark.parametrize(
    ("command", "line", "reply"),
    [
        (
            commands.Update(()),
            b"SUCCESS: cluster-update applied=3,unknown=1",
            UpdateReply(3, 1),
        ),
        (
            commands.Promote(NO_EPOCH),
            b"SUCCESS: cluster-promote instances=2,usec=70",
            PromoteReply(2, 70),
        ),
        (
            commands.Demote(),
            b"SUCCESS: cluster-demote instances=2,holder=000102030405060708090a0b0c0d0e0f",
            DemoteReply(HOLDER),
        ),
        (
            commands.ReleaseHold(),
            b"SUCCESS: hold release succeeded",
            Done(commands.ReleaseHold()),
        ),
        (
            commands.LoadStats(),
            b"SUCCESS: nclients=4,bytesin=10,bytesout=0",
            LoadStatsReply(4, 10, 0),
        ),
        (
            commands.Version(),
            b"OpenVPN Version: OpenVPN 2.6.14 x86_64\r\nManagement Version: 5\r\nEND",
            VersionReply("2.6.14"),
        ),
        (commands.Version(), b"OpenVPN\r\nEND", VersionReply("")),
        (commands.Version(), b"END", VersionReply("")),
        (
            commands.Export(UID),
            b"ERROR: cluster-export 0011223344556677: no-key a: b",
            Refused(commands.Export(UID), Code.NO_KEY, "a: b"),
        ),
        (
            commands.Export(UID),
            b"ERROR: cluster-export 0011223344556677: unheard-of in version 9",
            Refused(commands.Export(UID), Code.FAILED, "unheard-of in version 9"),
        ),
        (commands.Hold(), b"ERROR: cluster-hold: full", Refused(commands.Hold(), Code.FULL)),
        (
            commands.Status(),
            b"ERROR: The 'cluster-status' command is not supported by the current daemon mode",
            Refused(
                commands.Status(),
                Code.FAILED,
                "The 'cluster-status' command is not supported by the current daemon mode",
            ),
        ),
        (
            commands.Status(),
            b"ERROR: unknown command, enter 'help' for more \x01\xff",
            Refused(
                commands.Status(),
                Code.UNKNOWN_COMMAND,
                "unknown command, enter 'help' for more ?\ufffd",
            ),
        ),
    ],
)
def test_each_reply_is_read(command: commands.Command, line: bytes, reply: Reply) -> None:
    assert answer(command, line + b"\r\n") == reply


def test_a_record_is_read() -> None:
    reply = answer(
        commands.Export(UID, (HOLDER,)),
        b"RECORD,0011223344556677,5,0\r\nHOT,aG\r\nHOT,90\r\nCOLD,3,dmVy\r\nCOLD,1,aWQ=\r\n"
        b"GRANT,000102030405060708090a0b0c0d0e0f,1122334455667788,10,20\r\nNEW,thing\r\nEND\r\n",
    )
    assert isinstance(reply, ExportReply)
    assert reply.record.hot == b"hot"
    assert [(part.kind, part.data) for part in reply.record.cold] == [(1, b"id"), (3, b"ver")]
    assert [(one.start, one.end) for one in reply.record.grants] == [(10, 20)]
    assert b"hot" not in repr(reply).encode()


HEAD = b"RECORD,0011223344556677,5,0\r\n"
GRANT = b"GRANT,000102030405060708090a0b0c0d0e0f,1122334455667788,10,20\r\n"
BIG = b"COLD,2," + b"QUJD" * 128 + b"\r\n"


@pytest.mark.parametrize(
    ("command", "data", "problem"),
    [
        (None, b"SUCCESS: hello", "without having been asked"),
        (commands.Hold(), b"hello", "neither SUCCESS nor ERROR to cluster-hold"),
        (commands.Hold(), b"SUCCESS: cluster-drop", "something else"),
        (commands.Hold(), b"SUCCESS: \xff", "not ASCII"),
        (commands.Version(), b"\xff", "not ASCII"),
        (commands.Version(), b"x" * 5000, "more than 4096 bytes"),
        (commands.Status(), b"SUCCESS: cluster-status role=standby", "has no version"),
        (commands.Status(), STATUS.replace(b"role=held", b"role=king").strip(), "unknown role"),
        (commands.Status(), STATUS.replace(b"format=1", b"format=x").strip(), "not a number"),
        (commands.Status(), STATUS.replace(b"0c0d0e0f", b"0C0D0E0F").strip(), "holder id"),
        (commands.ListInstances(), b"00,1,2\r\nEND", "uid"),
        (commands.ListInstances(), b"0011223344556677\r\nEND", "generation"),
        (commands.Export(UID), b"END", "without its RECORD line"),
        (commands.Export(UID), b"RECORD,0011223344556600,5,0\r\nEND", "another client"),
        (commands.Export(UID), HEAD + b"END", "hot part"),
        (commands.Export(UID), HEAD + b"HOT," + b"QUJD" * 400 + b"\r\nEND", "hot part"),
        (commands.Export(UID), HEAD + b"HOT,!\r\nEND", "not base64"),
        (commands.Export(UID), HEAD + b"HOT,aG90\r\nCOLD,0,aG90\r\nEND", "kind of cold part"),
        (commands.Export(UID), HEAD + b"HOT,aG90\r\n" + BIG * 180 + b"END", "more than 65536"),
        (commands.Export(UID), HEAD + BIG * 300, "more than 131072 bytes"),
        (commands.Export(UID), HEAD + b"HOT,aG90\r\n" + GRANT * 256 + b"END", "too many grants"),
        (commands.Export(UID), HEAD + b"GRANT,1,2,3\r\nEND", "four fields"),
        (commands.Export(UID), HEAD + GRANT.replace(b"10,20", b"20,20") + b"END", "empty range"),
    ],
)
def test_what_breaks_the_contract_is_refused_in_clear_words(
    command: commands.Command | None, data: bytes, problem: str
) -> None:
    channel = Channel()
    if command is not None:
        channel.send(command)
    with pytest.raises(ManagementError, match=problem):
        channel.receive_untrusted(data + b"\r\n")


def test_a_list_of_too_many_clients_is_refused() -> None:
    channel = Channel()
    channel.send(commands.ListInstances())
    line = b"0011223344556677,1,1\r\n"
    with pytest.raises(ManagementError, match="65536 clients"):
        channel.receive_untrusted(line * 65537 + b"END\r\n")


def test_a_line_without_end_is_refused() -> None:
    with pytest.raises(ManagementError, match="a line of more than"):
        LineReader().receive_untrusted(b"x" * (LINE_LIMIT + 1))
    with pytest.raises(ManagementError, match="a line of more than"):
        LineReader().receive_untrusted(b"x" * (LINE_LIMIT + 1) + b"\n")


def test_a_password_prompt_is_known() -> None:
    with pytest.raises(PasswordAsked, match="asks for a password"):
        LineReader().receive_untrusted(b"ENTER PASSWORD:")


def test_a_channel_knows_that_something_is_unfinished() -> None:
    channel = Channel()
    assert not channel.unfinished
    channel.receive_untrusted(b">INF")
    assert channel.unfinished
    channel.receive_untrusted(b"O:x\n")
    assert not channel.unfinished
    channel.send(commands.Version())
    channel.receive_untrusted(b"OpenVPN Version\n")
    assert channel.unfinished


WORDS = st.sampled_from(
    [b">", b">CLUSTER:", b"SUCCESS: ", b"ERROR: ", b"cluster-", b"RECORD,", b"HOT,", b"END", b"\n"]
)
SENT = st.sampled_from(
    [
        commands.Status(),
        commands.ListInstances(),
        commands.Export(UID),
        commands.Demote(),
        commands.Version(),
    ]
)


@given(st.lists(SENT), st.lists(WORDS | st.binary(max_size=12)))
def test_whatever_arrives_only_one_exception_is_raised(
    sent: list[commands.Command], pieces: list[bytes]
) -> None:
    channel = Channel()
    for command in sent:
        channel.send(command)
    try:
        for piece in pieces:
            channel.receive_untrusted(piece)
    except ManagementError:
        pass
    assert len(events(channel)) <= len(b"".join(pieces))
