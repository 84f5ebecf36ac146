"""The rows of `make nat`: what a row must keep, what is told, and which lives there are."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.lab.nat.__main__ import choose, main, parse
from tests.lab.nat.rows import Death, Leg, Row, Traffic, broken_promises, table
from tests.lab.rules import SYSCTLS, Rules, rule_set

ROOT = Path(__file__).parents[3]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()

GOOD = Row(
    rules=Rules.SNAT_VIP,
    death=Death.KILL,
    leg=Leg.THERE,
    traffic=Traffic.TWO_WAY,
    family="ipv4",
    control=False,
    alive=True,
    stall_ms=300.0,
    vip_move_ms=100.0,
)
DEAD = replace(GOOD, alive=False, error="reset")


def test_the_row_has_what_programs_read() -> None:
    keys = "rules death leg traffic family control alive stall_ms"
    assert set(keys.split()) <= set(GOOD.as_json())
    assert GOOD.as_json()["rules"] == "snat-vip"


def test_a_dead_session_breaks_the_promise_and_is_named() -> None:
    assert broken_promises([GOOD]) == []
    (line,) = broken_promises([GOOD, DEAD])
    assert line == "snat-vip, kill, there, two-way, ipv4: dead, reset"


@pytest.mark.parametrize(
    "excused", [replace(DEAD, control=True), replace(DEAD, rules=Rules.MASQUERADE)]
)
def test_controls_and_masquerade_are_told_only(excused: Row) -> None:
    assert broken_promises([excused]) == []


def test_the_median_stall_counts_from_the_move_of_the_vip() -> None:
    slow = replace(GOOD, stall_ms=351.0)
    assert broken_promises([GOOD, GOOD, slow]) == []
    (line,) = broken_promises([GOOD, slow, slow])
    assert line == "snat-vip, two-way: median stall 251 ms beyond the VIP's move"


def test_the_table_has_ours_beside_the_control() -> None:
    rows = [GOOD, replace(GOOD, stall_ms=400.0), replace(DEAD, control=True)]
    _, line = table(rows).splitlines()
    assert line.split() == ["snat-vip", "two-way", "2/2", "350", "400", "0/1", "-", "-"]


def names(*words: str) -> list[str]:
    return [str(life) for life in choose(parse(words))]


def test_all_lives_with_and_without() -> None:
    assert len(names()) == len(Rules) * len(Death) * 2
    assert names("--only", "stateful", "cut") == ["stateful, cut", "stateful, cut, control"]


def test_a_sample_is_of_what_must_live_and_can_be_drawn_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    drawn = names("--sample", "3", "--seed", "7")
    assert drawn == names("--sample", "3", "--seed", "7")
    assert len(drawn) == 3
    assert not any("control" in one or "masquerade" in one for one in drawn)
    assert "--seed 7" in capsys.readouterr().out


def test_a_word_that_no_life_has(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "nosuch"]) == 2
    assert "--list shows all" in capsys.readouterr().err
    assert main(["--list"]) == 0


@pytest.mark.parametrize("guarded", [False, True])
@pytest.mark.parametrize("rules", list(Rules))
def test_the_rules_are_what_nftables_takes(rules: Rules, guarded: bool) -> None:
    text = rule_set(rules, guarded=guarded)
    assert ("chain guard" in text) == (guarded and rules is not Rules.NONE)
    assert takes(text, "nft", "--check", "--file", "-")


def takes(text: str, *argv: str) -> bool:
    """Whether a program takes a text, in a network of its own."""
    command = ["unshare", "--net", *argv]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    return done.returncode == 0


@pytest.mark.parametrize(
    ("kind", "argv"),
    [("nft", ("nft", "--check", "--file", "-")), ("iptables", ("iptables-restore", "--test"))],
)
def test_the_recipes_are_what_their_programs_take(kind: str, argv: tuple[str, ...]) -> None:
    blocks = re.findall(rf"^```{kind}\n(.*?)^```", OPERATIONS, re.MULTILINE | re.DOTALL)
    assert blocks
    assert all(takes(block, *argv) for block in blocks)


def test_the_lab_s_guard_and_firewall_are_those_of_the_recipe() -> None:
    """But for names and addresses."""
    ours = rule_set(Rules.STATEFUL_SYN, guarded=True) + rule_set(Rules.SNAT_VIP, guarded=False)
    theirs = next(iter(re.findall(r"^```nft\n(.*?)^```", OPERATIONS, re.MULTILINE | re.DOTALL)))
    assert shape(ours) == shape(theirs)


def shape(text: str) -> list[str]:
    lines = (line.strip() for line in text.splitlines())
    rules = [line for line in lines if line and not line.startswith(("table", "}"))]
    bare = (re.sub(r'"\w+"|\S*[0-9a-f]+[.:][0-9a-f.:]+\S*', "X", rule) for rule in rules)
    return sorted(re.sub(r"^(ip6?) (s|d)addr \S+|\s+", " ", rule) for rule in bare)


def test_the_sysctls_are_those_that_users_set() -> None:
    lines = (ROOT / "deploy" / "conntrackd" / "sysctl.conf").read_text().splitlines()
    given = dict(line.split(" = ") for line in lines if not line.startswith("#"))
    assert {name.replace(".", "/"): value for name, value in given.items()} == SYSCTLS
