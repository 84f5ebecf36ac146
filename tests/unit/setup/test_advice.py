"""What is said of a server before it becomes part of a cluster: each word brings its sentence."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from ovpnha.setup.advice import REMOVED, find_notes, find_obstacles, find_port
from ovpnha.setup.agreement import note_edited, tell_stale
from ovpnha.setup.diffs import mask_secrets, show_diff
from ovpnha.setup.server import Server, find_open_block, parse_server, split_lines
from tests.unit.setup.builders import supplies

QUIET = "explicit-exit-notify 1\ndisable-dco\nmanagement /x unix\n"
READY = "server 10.8.0.0 255.255.255.0\nlocal 192.0.2.1\ndisable-dco\nmanagement /x unix\n"


def server(text: str) -> Server:
    return parse_server(Path("x"), text)


def begins(found: Iterable[str]) -> list[str]:
    return [one.partition(":")[0] for one in found]


NOTED = {
    "": [],
    "proto udp6": ["proto udp6"],
    "proto udp4": [],
    "proto udp": [],
    "ifconfig-pool-persist ipp.txt": ["ifconfig-pool-persist"],
    "client-config-dir ccd": ["client-config-dir, crl-verify"],
    "crl-verify crl.pem": ["client-config-dir, crl-verify"],
    "user nobody": ["user, group"],
    "group nogroup": [],
    "chroot /jail": ["chroot"],
    "multihome": ["multihome"],
    "dev tap0": ["dev tap"],
    "up /up\nplugin x.so\nclient-connect /c": ["client-connect, plugin, up"],
    "management /y unix": ["management /y unix"],
    "management 127.0.0.1 7505": ["management 127.0.0.1 7505"],
}


@pytest.mark.parametrize("text", NOTED)
def test_what_is_told(text: str) -> None:
    assert begins(find_notes(server(QUIET + text), 4, "/x")) == NOTED[text]


def test_what_is_told_of_what_lacks() -> None:
    assert begins(find_notes(server(""), 4, "/x")) == ["explicit-exit-notify", "disable-dco"]
    assert begins(find_notes(server("proto tcp4\ndisable-dco"), 4, "/x")) == []
    alone = QUIET.replace("/x unix", "127.0.0.1 7505")
    assert begins(find_notes(server(alone), 4, "/x")) == ["management 127.0.0.1 7505"]
    assert begins(find_notes(server(QUIET + "proto udp4"), 6, "/x")) == ["proto udp4"]


@pytest.mark.parametrize(
    ("text", "stops"),
    [
        (READY, []),
        (READY.replace("server 10.8.0.0 255.255.255.0", "mode server"), []),
        (READY.replace("server 10.8.0.0 255.255.255.0", "server-ipv6 2001:db8::/64"), []),
        (READY.replace("server 10.8.0.0 255.255.255.0", "server-bridge"), []),
        (READY.replace("server 10.8.0.0 255.255.255.0", "mode p2p"), ["server"]),
        (READY.replace("server 10.8.0.0 255.255.255.0", "client"), ["server"]),
        (READY + "multihome\nno-replay\n", ["multihome", "no-replay"]),
        (READY + "no-replay\n", ["no-replay"]),
        *((f"{READY}{name} x\n", [name]) for name in REMOVED),
    ],
)
def test_what_stops(text: str, stops: list[str]) -> None:
    assert begins(find_obstacles(server(text))) == stops


def test_more_is_said_than_one_line_where_there_is_more() -> None:
    (multihome,) = find_obstacles(server(READY + "multihome"))
    assert multihome == (
        "multihome: it stands in a file that this one includes (config); take it out there: the"
        " server answers from the virtual IP only, which local names"
    )
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
