"""The tables of docs/wire.md are made from the messages."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from ovpnha.cli.app import app
from ovpnha.cli.wirereference import wire_tables
from ovpnha.replication.entries import (
    ENTRY_LAYOUTS,
    EntryKind,
)
from ovpnha.replication.layout import MESSAGES, Type

PAGE = (Path(__file__).parents[3] / "docs" / "wire.md").read_text()
MAKE = "run `ovpnha reference --wire`, and put this table into docs/wire.md"


@pytest.mark.parametrize(("heading", "table"), wire_tables())
def test_the_page_has_the_table_below_its_heading(heading: str, table: str) -> None:
    section = PAGE.partition(f"### {heading}\n")[2].partition("\n### ")[0]
    assert table in section, MAKE


def test_the_page_has_no_other_table_of_messages() -> None:
    made = "".join(table for _, table in wire_tables())
    for line in PAGE.partition("## Messages")[2].splitlines():
        if line.startswith("|") and line.split("|")[1].strip().isdigit():
            assert line in made, MAKE


def test_every_type_and_kind_is_told() -> None:
    assert set(MESSAGES) == set(Type)
    assert set(ENTRY_LAYOUTS) == set(EntryKind)
    rows = [line for _, table in wire_tables() for line in table.splitlines()]
    for name in [one.name.lower() for one in (*Type, *EntryKind)]:
        assert any(f"| {name} |" in row for row in rows), name


def test_the_command_prints_the_tables() -> None:
    printed = CliRunner().invoke(app, ["reference", "--wire"]).stdout
    assert all(table in printed for _, table in wire_tables())
