"""What is said of a server before it becomes part of a cluster: each word brings its sentence."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from ovpnha.setup.advice import (
    REMOVED,
    find_notes,
    find_obstacles,
    find_overridden,
    find_port,
)
from ovpnha.setup.agreement import note_edited, tell_stale
from ovpnha.setup.diffs import mask_secrets, show_diff
from ovpnha.setup.server import Server, find_open_block, parse_server, split_lines
from ovpnha.setup.wanted import wanted_options
from tests.unit.setup.builders import ANSWERS, host, plan, supplies

QUIET = "explicit-exit-notify 1\ndisable-dco\nmanagement /x unix\n"
READY = "server 10.8.0.0 255.255.255.0\nlocal 192.0.2.1\ndisable-dco\nmanagement /x unix\n"


def server(text: str) -> Server:
    return parse_server(Path("x"), text)


def begins(found: Iterable[str]) -> list[str]:
    return [one.partition(":")[0] for one in found]


NOTED = {
    "": [],
    "proto udp6": ["proto udp6", "multihome, or no local with proto udp6"],
    "local 192.0.2.10\nproto udp6": ["proto udp6"],
    "proto udp4": [],
    "proto udp": [],
    "ifconfig-pool-persist ipp.txt": ["ifconfig-pool-persist"],
    "client-config-dir ccd": ["client-config-dir, crl-verify"],
    "crl-verify crl.pem": ["client-config-dir, crl-verify"],
    "user nobody": ["user, group"],
    "group nogroup": [],
    "chroot /jail": ["chroot"],
    "multihome": ["multihome, or no local with proto udp6"],
    "local 192.0.2.10\nmultihome": [],
    "cluster-address 192.0.2.10": ["multihome, or no local with proto udp6"],
    "dev tap0": ["dev tap"],
    "up /up\nplugin x.so\nclient-connect /c": ["client-connect, plugin, up"],
    "management /y unix": ["management /y unix"],
    "management 127.0.0.1 7505": ["management 127.0.0.1 7505"],
}


@pytest.mark.parametrize(
    ("text", "second", "proto"),
    [
        ("proto udp\n", "2001:db8:1::10", [("proto", "udp6")]),
        ("proto udp6\n", "2001:db8:1::10", []),
        ("proto udp\n", "192.0.2.11", []),
    ],
)
def test_a_server_of_both_families_takes_them_by_one_socket(
    text: str, second: str, proto: list[tuple[str, str]]
) -> None:
    where = host(
        *(("eth0", one) for one in ("192.0.2.1/24", "2001:db8:1::1/64")),
        *(("eth1", "198.51.100.1/24"), ("bcn0", "192.168.77.1/24")),
    )
    answers = replace(ANSWERS, vip=f"192.0.2.10 {second}")
    wanted = wanted_options(plan(answers, where), server(READY + text))
    assert [one for one in wanted if one[0] in ("local", "proto")] == proto
    assert [one[1] for one in wanted if one[0] == "cluster-address"] == ["192.0.2.10", second]


@pytest.mark.parametrize(
    ("text", "proto"), [("proto udp6\n", [("proto", "udp4")]), ("proto udp4\n", []), ("", [])]
)
def test_a_server_at_one_address_is_of_its_family(text: str, proto: list[tuple[str, str]]) -> None:
    wanted = wanted_options(plan(), server(READY + text))
    assert [one for one in wanted if one[0] == "proto"] == proto
    assert ("local", "192.0.2.10") in wanted


@pytest.mark.parametrize("text", NOTED)
def test_what_is_told(text: str) -> None:
    assert begins(find_notes(server(QUIET + text), {4}, "/x")) == NOTED[text]


def test_what_is_told_of_both_families() -> None:
    def told(text: str, versions: set[int]) -> list[str]:
        return [one for one in find_notes(server(QUIET + text), versions, "/x") if "proto" in one]

    assert told("proto udp", {4, 6}) == ["proto udp: becomes udp6, which takes IPv4, too"]
    (stays,) = told("proto udp6", {4, 6})
    assert stays.startswith("multihome, or no local with proto udp6: stays so")
    for version, other in ((4, 6), (6, 4)):
        lacks, _ = told("proto udp6", {version})
        assert f"only an address of IPv{version} moves. Whoever comes by IPv{other}" in lacks


def test_what_is_told_of_what_lacks() -> None:
    assert begins(find_notes(server(""), {4}, "/x")) == ["explicit-exit-notify", "disable-dco"]
    assert begins(find_notes(server("proto tcp4\ndisable-dco"), {4}, "/x")) == []
    alone = QUIET.replace("/x unix", "127.0.0.1 7505")
    assert begins(find_notes(server(alone), {4}, "/x")) == ["management 127.0.0.1 7505"]
    assert begins(find_notes(server(QUIET + "proto udp4"), {6}, "/x")) == ["proto udp4"]


@pytest.mark.parametrize(
    ("text", "stops"),
    [
        (READY, []),
        (READY.replace("server 10.8.0.0 255.255.255.0", "mode server"), []),
        (READY.replace("server 10.8.0.0 255.255.255.0", "server-ipv6 2001:db8::/64"), []),
        (READY.replace("server 10.8.0.0 255.255.255.0", "server-bridge"), []),
        (READY.replace("server 10.8.0.0 255.255.255.0", "mode p2p"), ["server"]),
        (READY.replace("server 10.8.0.0 255.255.255.0", "client"), ["server"]),
        (READY + "multihome\nno-replay\n", ["no-replay"]),
        (READY + "no-replay\n", ["no-replay"]),
        *((f"{READY}{name} x\n", [name]) for name in REMOVED),
    ],
)
def test_what_stops(text: str, stops: list[str]) -> None:
    assert begins(find_obstacles(server(text))) == stops


def test_more_is_said_than_one_line_where_there_is_more() -> None:
    (tcp,) = find_obstacles(server(READY + "proto tcp"))
    assert tcp.startswith("proto: TCP connections end with their server and cannot be moved. Put")
    (replay,) = find_obstacles(server(READY + "no-replay"))
    assert replay == "no-replay: remove it"


def test_a_port_behind_the_address_is_told() -> None:
    (told,) = find_port(server("local 192.0.2.1 1194 udp"))
    assert told == "local: has 1194 udp behind the address; write that into `port` or `proto`"
    assert list(find_port(server("local 192.0.2.1"))) == []
    assert list(find_port(server(""))) == []


def test_nobody_is_told_of_nothing() -> None:
    assert list(tell_stale([])) == []
    assert list(note_edited([], supplies())) == []


def test_what_stands_in_a_secret_block_is_hidden_and_nothing_else() -> None:
    text = "<ca>\npublic\n</ca>\n<key>\nhush\n  </key>\n<tls-crypt>\nhush\n"
    assert mask_secrets(text) == (
        "<ca>\npublic\n</ca>\n<key>\n[secret]\n  </key>\n<tls-crypt>\n[secret]\n"
    )


def test_a_diff_says_how_the_end_is() -> None:
    shown = show_diff("/f", "a\nb", "a\nb\n", secret=False)
    assert shown.splitlines()[-2:] == ["-b (no newline at the end)", "+b"]
    assert show_diff("/f", None, "", secret=False) == ""
    assert show_diff("/f", "a\n", "", secret=True).startswith("--- /f\n+++ /f\n@@ changed")
    assert "@@ new, secret" in show_diff("/f", None, "x", secret=True)
    assert "@@ 3 bytes that are no text" in show_diff("/f", "x", "a\0b", secret=False)


def test_the_block_of_each_line() -> None:
    text = "a\n<ca>\n\nx y\n</ca> \n# c\n--verb 3 ; d\n"
    lines = list(split_lines(text))
    assert [one.block for one in lines] == ["", "ca", "ca", "ca", "ca", "", ""]
    assert [one.name for one in lines] == ["a", "ca", "", "", "", "", "verb"]
    assert lines[-1].words == ("verb", "3")
    assert find_open_block("<ca>\nx\n</ca>") == ""
    assert find_open_block("<ca>") == "ca"
    assert find_open_block("<ca>\n</key>") == "ca"


def test_the_last_word_counts_and_what_is_inline_is_kept() -> None:
    found = server("verb 3\nverb\nport 1194 x\n<ca>\none\ntwo\n</ca>\n<ca>\nthree\n</ca>\n")
    assert (found.last("verb"), found.word("verb"), found.word("port")) == ([], "", "1194")
    assert (found.last("gone"), found.word("gone"), found.has("gone")) == ([], "", False)
    assert found.inline == {"ca": "one\ntwo\nthree\n"}


def test_a_line_that_an_included_file_says_otherwise_is_told_but_not_of_the_socket() -> None:
    """Of several management lines another part says what is to be done."""
    wanted = [("management", "/x", "unix"), ("proto", "udp"), ("local", "192.0.2.1")]
    found = server("management /y unix\nproto udp4\nlocal 192.0.2.1\n")
    assert begins(find_overridden(wanted, found)) == ["proto"]
    assert begins(find_overridden(wanted, server("management /x unix\nproto udp\n"))) == ["local"]
