"""What a daemon answers, and how a test gives a command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from ovpnha.cli.app import app

NODE_VIEW = {
    "name": "b",
    "believed": True,
    "age": 0.2,
    "role": "standby",
    "epoch": "7/a",
    "vip": False,
    "sync": "in_sync",
    "grade": 90,
    "clients": 2,
    "problem": None,
    "round_trip": 0.00042,
    "clock_offset": None,
    "has_instance": True,
    "lost": False,
}
STATUS: dict[str, Any] = {
    "version": 2,
    "node": "a",
    "boot": "00ff",
    "uptime": 300.0,
    "links": {"bcn0": True},
    "received": {"hello": 3},
    "sent": {"hello": 4},
    "refused": {"seal": 5},
    "bytes_received": {"hello": 300},
    "bytes_sent": {"hello": 400},
    "resyncs": 0,
    "nacks": 0,
    "repaired": 0,
    "differences": 0,
    "oversized": 0,
    "lacking": {},
    "instances": [
        {
            "name": "udp",
            "role": "master",
            "epoch": "7/a",
            "vip": True,
            "management_up": True,
            "counters": {"exports": 5},
            "openvpn": "2.6.14",
            "seamless": True,
            "clients": 3,
            "protected": 2,
            "oldest_unprotected": 4.0,
            "records": 0,
            "stale": 0,
            "following": None,
            "sync": "none",
            "grade": 120,
            "grade_reason": "master",
            "promotions": 1,
            "last_promotion_phases": {"promoted": 0.0042},
            "rekey": {"pending": 8, "done": 22, "left": 1},
            "problems": [],
            "nodes": [NODE_VIEW],
        }
    ],
}
EVENT = {
    "number": 7,
    "when": 1.79e9,
    "kind": "node_left",
    "level": "warning",
    "text": "node lost: reason silent",
    "instance": "udp",
    "node": "b",
    "fields": {"reason": "silent"},
}
CHANGE = {
    "key": "00112233445566ff",
    "revision": 0,
    "node": "b",
    "instance": "udp",
    "when": 1.79e9,
    "old": "standby",
    "new": "master",
    "epoch": "7/b",
    "reason": "the VIP arrived",
    "figures": {"clients": 3.0},
}
CONNECTED = [
    {
        "uid": "00112233445566ff",
        "name": "alice",
        "user": "al",
        "address": "192.0.2.1:5000",
        "virtual": ["10.8.0.2", "2001:db8::2"],
        "since": 1790000000,
        "received": 1500,
        "sent": 20,
        "unprotected": 2.5,
        "moved": True,
        "origin": "b",
    },
    {
        "uid": "ff112233445566ff",
        "name": "bob",
        "user": "",
        "address": "192.0.2.2:5000",
        "virtual": [],
        "since": None,
        "received": 0,
        "sent": 5 * 10**15,
        "unprotected": None,
        "moved": False,
        "origin": None,
    },
]


def run(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(one) for one in arguments], terminal_width=200)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr
