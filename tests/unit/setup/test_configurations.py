"""Configurations as popular installers, images and panels write them: what init says of each."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ovpnha.setup.answers import Answers
from ovpnha.setup.proposal import Proposal, ServerSource, propose
from ovpnha.setup.refusals import find_refused
from tests.unit.setup.builders import host, plan, supplies

DIRECTORY = Path(__file__).parents[2] / "configurations"
EXPECTED: dict[str, dict[str, Any]] = tomllib.loads((DIRECTORY / "expected.toml").read_text())
ANSWERS = Answers(vip="192.0.2.10", inside_vip="none", bcn_interface="bcn0")


def test_all_are_expected() -> None:
    assert EXPECTED.keys() == {path.stem for path in DIRECTORY.glob("*.conf")}
    assert len(EXPECTED) == 30


def proposed(name: str, answers: Answers = ANSWERS) -> tuple[Proposal, ServerSource]:
    text = (DIRECTORY / f"{name}.conf").read_text()
    source = ServerSource(f"/etc/openvpn/server/{name}.conf", text)
    where = host(files={source.path: text})
    return propose(plan(answers, where), source, where, supplies()), source


@pytest.mark.parametrize("name", EXPECTED)
def test_what_is_said(name: str) -> None:
    found, source = proposed(name)
    stops = [one.removeprefix(f"{source.path}: ") for one in found.problems]
    expected = EXPECTED[name]
    assert all(one.startswith(text) for one, text in zip(stops, expected["stops"], strict=True))
    said = [one for one in found.notes if not one.startswith("openvpn-cluster")]
    assert all(one.startswith(text) for one, text in zip(said, expected["notes"], strict=True)), (
        said
    )


def test_how_many_start_is_what_the_page_says() -> None:
    """Protected, and with the distribution's OpenVPN."""
    protected = [name for name in EXPECTED if not proposed(name)[0].problems]
    stock = replace(ANSWERS, openvpn="stock")
    beside = [name for name in EXPECTED if not proposed(name, stock)[0].problems]
    assert EXPECTED.keys() - set(beside) == {"qnap-old"}
    page = (DIRECTORY.parents[1] / "docs/operations.md").read_text()
    assert f"Of the {len(protected)} that start every client went on" in page
    assert f" {len(beside)} of the {len(EXPECTED)} start as they are " in page


@pytest.mark.parametrize("name", EXPECTED)
def test_nothing_else_changes(name: str) -> None:
    found, source = proposed(name)
    changed = next(one for one in found.changes if one.path == source.path)
    lines = changed.after.splitlines()
    assert [one for one in lines if one.startswith(("#management", "#proto", "#multihome"))] == (
        EXPECTED[name]["comments"]
    )
    old = source.text.splitlines()
    for before, now in zip(old, lines[: len(old)], strict=True):
        assert now in {before, f"#{before}"}
    if not EXPECTED[name]["stops"]:
        assert list(find_refused(source.read(changed.after))) == []
