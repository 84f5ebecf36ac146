"""What counts as an option in a server's configuration, and how lines are changed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovpnha.setup.edit import HEADING, edit_server
from ovpnha.setup.refusals import find_tunnels, read_address
from ovpnha.setup.server import find_open_block, parse_server, split_lines

WANTED = [("local", "192.0.2.10"), ("cluster",), ("management", "/run/x.sock", "unix")]


def test_a_block_is_one_option_and_what_is_in_it_is_none() -> None:
    text = "<ca>\nlocal 1.2.3.4\n</ca>\n# local x\n;local y\n--local 192.0.2.1 # here\n"
    server = parse_server(Path("x.conf"), text)
    assert server.options == {"ca": [["[inline]"]], "local": [["192.0.2.1"]]}


def test_a_block_may_have_comments_beside_its_marks() -> None:
    text = "<ca> # ours\nlocal 1.2.3.4\n  </ca> ; end\nverb 3\n"
    server = parse_server(Path("x"), text)
    assert server.options == {"ca": [["[inline]"]], "verb": [["3"]]}
    assert server.inline == {"ca": "local 1.2.3.4\n"}


def test_a_byte_order_mark_is_no_part_of_an_option() -> None:
    text = "\ufefflocal 192.0.2.1\r\nverb 3\r\n"
    assert parse_server(Path("x"), text).word("local") == "192.0.2.1"
    edited = edit_server(text, [("local", "192.0.2.10")])
    assert edited.startswith("#\ufefflocal 192.0.2.1\r\nverb 3\r\n")


def test_a_quote_without_end_is_read_all_the_same() -> None:
    assert parse_server(Path("x"), 'push "route\n').options == {"push": [['"route']]}


def test_what_is_included_counts() -> None:
    texts = {"more.conf": "local 192.0.2.1\n"}
    server = parse_server(Path("x"), "config more.conf\nconfig\nverb 3\n", texts.get)
    assert server.word("local") == "192.0.2.1"
    assert server.word("verb") == "3"


@pytest.mark.parametrize(
    ("text", "block"),
    [
        ("", ""),
        ("a\n", ""),
        ("<ca>\nx\n", "ca"),
        ("<ca>\nx\n</ca>", ""),
        ("<ca>\nx\n </ca> # of the office\n", ""),
        ("<ca>\n</ca>\n<key>", "key"),
    ],
)
def test_a_block_without_end(text: str, block: str) -> None:
    assert find_open_block(text) == block


def test_other_words_become_comments_and_what_lacks_comes_at_the_end() -> None:
    text = "  local vpn.example.net\ncluster\nmanagement 0.0.0.0 1\nmanagement 0.0.0.0 1\nverb 3"
    assert edit_server(text, WANTED) == (
        "#  local vpn.example.net\ncluster\n#management 0.0.0.0 1\n#management 0.0.0.0 1\nverb 3\n"
        f"{HEADING}\nlocal 192.0.2.10\nmanagement /run/x.sock unix\n"
    )


def test_what_is_said_twice_is_said_once() -> None:
    text = "cluster\nlocal 192.0.2.10\nmanagement /run/x.sock unix\nmanagement /run/x.sock unix\n"
    assert edit_server(text, WANTED) == text.replace("unix\nmanagement", "unix\n#management")


def test_ends_of_lines_are_those_of_the_file() -> None:
    changed = edit_server("verb 3\r\n", WANTED)
    assert changed.count("\r\n") == changed.count("\n") == 5


def test_an_empty_file_gets_everything() -> None:
    assert edit_server("", WANTED).count("\n") == 4


def test_a_name_in_a_block_is_left_alone() -> None:
    text = "<connection>\nlocal 1.1.1.1\n</connection>\n"
    assert edit_server(text, WANTED).startswith(text)


LINES = st.lists(
    st.sampled_from(
        [
            "cluster",
            "local 192.0.2.10",
            "local x",
            "<ca>",
            "</ca>",
            "# a",
            "",
            "management a b",
            " ",
        ]
    )
    | st.text(max_size=20),
    max_size=12,
)


@given(lines=LINES, end=st.sampled_from(["\n", "\r\n"]))
def test_a_second_time_nothing_changes(lines: list[str], end: str) -> None:
    text = end.join(lines)
    changed = edit_server(text, WANTED)
    if not find_open_block(text):
        assert edit_server(changed, WANTED) == changed
        server = parse_server(Path("x"), changed)
        assert server.options["local"] == [["192.0.2.10"]]
        assert server.options["cluster"] == [[]]


@given(text=st.text(max_size=200))
def test_lines_are_the_file(text: str) -> None:
    assert "".join(line.raw for line in split_lines(text)) == text


def test_addresses_and_tunnels() -> None:
    assert str(read_address("192.0.2.1")) == "192.0.2.1"
    assert read_address("vpn.example.net") is None
    text = "server 10.8.0.0 255.255.255.0\nroute vpn_gateway\nserver-ipv6 2001:db8::/64\n"
    found = find_tunnels(parse_server(Path("x"), text))
    assert [str(one) for one in found] == ["10.8.0.0/24", "2001:db8::/64"]
