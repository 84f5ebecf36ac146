"""OpenVPN's list of clients: what it says is taken, what cannot be read costs only itself."""

from __future__ import annotations

from ovpnha.management.channel import Channel
from ovpnha.management.clients import read_clients_untrusted
from ovpnha.management.commands import ClientStatus
from ovpnha.management.replies import ClientStatusReply
from ovpnha.model import ServerClient

HEADER = (
    "HEADER\tCLIENT_LIST\tCommon Name\tReal Address\tVirtual Address\tVirtual IPv6 Address"
    "\tBytes Received\tBytes Sent\tConnected Since\tConnected Since (time_t)\tUsername"
    "\tClient ID\tPeer ID\tData Channel Cipher"
)
ALICE = (
    "CLIENT_LIST\tali,ce\t192.0.2.1:5000\t10.8.0.2\t\t100\t200\t2026-11-21 06:00:00"
    "\t1790000000\tUNDEF\t0\t0\tAES-256-GCM"
)
READ = ServerClient("ali,ce", "UNDEF", "192.0.2.1:5000", "10.8.0.2", "1790000000", 100, 200, "", 0)


def test_clients_are_read() -> None:
    lines = ["TITLE\tOpenVPN", HEADER, ALICE, "HEADER\tROUTING_TABLE\tVirtual", "GLOBAL_STATS\tx"]
    assert read_clients_untrusted(lines) == (READ,)


def test_what_a_terminal_would_obey_is_written_out() -> None:
    (client,) = read_clients_untrusted([HEADER, ALICE.replace("ali,ce", "a\x1b[2J\x9b\u202eb")])
    assert client.name == r"a\x1b[2J\x9b\x202eb"


def test_what_cannot_be_read_is_left_out() -> None:
    assert read_clients_untrusted([ALICE]) == ()
    assert read_clients_untrusted(["HEADER\tCLIENT_LIST\tCommon Name", ALICE]) == ()
    broken = [ALICE.replace("\t100\t", "\tmany\t"), "CLIENT_LIST\tshort", ALICE]
    assert read_clients_untrusted([HEADER, *broken]) == (READ,)


def test_a_name_that_is_not_ascii_does_not_end_the_connection() -> None:
    channel = Channel()
    assert channel.send(ClientStatus()) == b"status 3\n"
    named = ALICE.replace("ali,ce", "älice")
    for text in (
        HEADER.encode(),
        named.encode(),
        ALICE.encode().replace(b"ali,ce", b"\xff"),
        b"END",
    ):
        channel.receive_untrusted(text + b"\r\n")
    reply = channel.next_event()
    assert isinstance(reply, ClientStatusReply)
    assert [one.name for one in reply.clients] == ["älice", "\ufffd"]
