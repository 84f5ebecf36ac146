"""Labels of the metrics that count datagrams: each is there from the start, at 0."""

from __future__ import annotations

from ovpnha.replication.layout import Type

REASONS = (
    "truncated",
    "oversized",
    "foreign",
    "foreign_cluster",
    "version",
    "unknown_key",
    "replayed",
    "busy",
    "unauthentic",
    "retired_boot",
    "not_believed",
    "malformed",
    "not_followed",
    "kernel",
)
"""Why a datagram, or a message, is refused (docs/wire.md)."""

DATAGRAMS = ("hello", "state")
MESSAGES = tuple(one.name.lower() for one in Type)
