"""keepalived's configuration as blocks."""

from __future__ import annotations

from pathlib import Path

from ovpnha.doctor.keepalived import KeepalivedBlock, find_include, find_words, read_blocks
from ovpnha.doctor.vipmanager import script_paths

DEPLOY = Path(__file__).parents[3] / "deploy" / "keepalived"


def read(text: str) -> tuple[KeepalivedBlock, ...]:
    return read_blocks(text.splitlines())


def test_the_shipped_configuration_is_understood() -> None:
    lines = (
        (DEPLOY / "keepalived.conf")
        .read_text()
        .replace("include node.conf", (DEPLOY / "node.conf").read_text())
    )
    blocks = {one.name: one for one in read(lines)}
    assert blocks["track_file"].value("file") == "/run/ovpnha/udp.grade"
    instance = blocks["vrrp_instance"]
    assert instance.title == "ovpnha"
    assert instance.value("priority") == "100"
    assert [one.words for one in instance.listed("virtual_ipaddress")] == [
        ("192.0.2.10/24", "dev", "eth0"),
        ("198.51.100.10/24", "dev", "eth1"),
    ]
    assert list(instance.listed("virtual_ipaddress_excluded")) == []
    assert script_paths(tuple(blocks.values())) == ("/etc/keepalived/check-grade",)


def test_braces_may_stand_anywhere() -> None:
    inner = (KeepalivedBlock(("b", "1")), KeepalivedBlock(("c", "2")))
    wanted = (KeepalivedBlock(("a",), inner),)
    assert read("a {\nb 1\nc 2\n}") == read("a\n{\nb 1\nc 2 }") == wanted
    assert read("a { b 1\nc 2\n") == wanted, "an open brace is closed"
    assert read("a {b 1\nc 2}} }") == wanted, "one too many is nothing"
    assert read("{\n}") == (KeepalivedBlock(("",)),)


def test_comments_and_quotes() -> None:
    (found,) = read("a 'b # {' \"c ! d\" e # f { ! g")
    assert found.words == ("a", "b # {", "c ! d", "e")
    assert read("# a\n! b\n\n") == ()
    assert read("a 'open") == (KeepalivedBlock(("a", "'open")),)


def test_what_variables_stand_for() -> None:
    (found,) = read("$A=x $B ! comment\n$B = y\na $A ${B}z $C\n")
    assert found.words == ("a", "x", "y", "yz", "$C")
    assert read("$A=$A\na $A")[0].words == ("a", "$A")
    assert read("$A=b$A\na $A")[0].words[1].startswith("bbbbbbbb")


def test_what_is_asked_of_a_block() -> None:
    (block,) = read("v one {\n x 1\n x 2\n y\n}")
    assert (block.value("x"), block.value("y"), block.value("z")) == ("2", "", "")
    assert (block.has("y"), block.has("z")) == (True, False)
    assert KeepalivedBlock(("y",)).title == ""


def test_a_script_line_without_a_word_names_no_program() -> None:
    assert script_paths(read('vrrp_script a {\n script ""\n}\nvrrp_script b {\n}\n')) == ()


def test_what_an_include_names() -> None:
    assert find_include("include node.conf") == "node.conf"
    assert find_include('  includer "/srv/*.conf" # more') == "/srv/*.conf"
    assert find_include("# include node.conf") == find_include("includes x") == ""


def test_every_word_counts_that_is_no_comment() -> None:
    text = '$VIP=192.0.2.10/24 # x\nfile "/run/a b" {c}! y\nd $VIP'
    assert list(find_words(text.split("\n"))) == [
        "192.0.2.10/24",
        "file",
        "/run/a",
        "b",
        "c",
        "d",
        "$VIP",
    ]
