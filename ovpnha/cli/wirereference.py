"""The tables of docs/wire.md, generated from the messages themselves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

from ovpnha.replication.entries import (
    ENTRY_LAYOUTS,
    EntryKind,
    LogEntry,
)
from ovpnha.replication.hello import CHECK, HELLO_STOCK, LOG_HEAD, STATE, Hello
from ovpnha.replication.history import HISTORY_ENTRY, History
from ovpnha.replication.layout import WireMessage
from ovpnha.replication.leases import LEASE
from ovpnha.replication.messages import (
    FromSource,
    Goodbye,
    ToSource,
)


def render_wire() -> str:
    """Every table below the heading that it has in the page, as Markdown."""
    return "\n".join(f"### {heading}\n{table}" for heading, table in wire_tables())


def wire_tables() -> list[tuple[str, str]]:
    """Heading and table: messages by their type, what is within them, entries by their kind."""
    return [
        ("Hello", _messages([Hello])),
        ("Hello", _table(["within", "fields"], _within_hello())),
        ("State: from the source", _messages([Goodbye, *get_args(FromSource)])),
        ("State: from the source", _table(["kind", "entry", "further fields"], _entries())),
        ("Leases", _table(["within", "fields"], [["lease", _join(LEASE.texts())]])),
        ("State: to the source", _messages(get_args(ToSource))),
        ("History", _messages([History])),
        (
            "History",
            _table(["within", "fields"], [["history entry", _join(HISTORY_ENTRY.texts())]]),
        ),
    ]


def _messages(messages: Iterable[type[WireMessage]]) -> str:
    rows = [
        [str(one.wire_type.value), one.wire_type.name.lower(), _join(one.layout.texts())]
        for one in sorted(messages, key=lambda one: one.wire_type)
    ]
    return _table(["type", "message", "fields"], rows)


def _within_hello() -> list[list[str]]:
    return [
        ["state", _join(STATE.texts())],
        ["log", f"{_join(LOG_HEAD.texts())}; or nothing"],
        ["check", _join(CHECK.texts())],
        ["stock", f"{_join(HELLO_STOCK.texts())}; or nothing"],
    ]


def _entries() -> list[list[str]]:
    common = len(LogEntry.__match_args__)
    return [
        [str(kind.value), kind.name.lower(), _join(ENTRY_LAYOUTS[kind].texts()[common:])]
        for kind in EntryKind
    ]


def _join(texts: list[str]) -> str:
    return ", ".join(texts) or "–"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [f"| {' | '.join(line)} |\n" for line in (head, *rows)]
    return "".join([lines[0], "|---" * len(head) + "|\n", *lines[1:]])
