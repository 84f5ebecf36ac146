"""A small soak: two failovers with clients that come and go, as ``make soak`` makes 200."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.conftest import OPENVPN
from tests.lab.soak.__main__ import main

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]


def test_clients_that_come_and_go_lose_nothing(tmp_path: Path) -> None:
    chosen = ["--only", "openvpn-killed", "demote", "--count", "3", "--clients", "5", "--seed", "7"]
    assert main([*chosen, "--openvpn", str(OPENVPN), "--output", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "soak.json").read_text())
    assert [row["failovers"] for row in rows] == [0, 1, 2, 3]
    assert all(row["clients"] == 5 for row in rows)
    assert [(row["restarts"], row["lost_sessions"]) for row in rows] == [(0, 0)] * 4
    assert all(row["rss_mb"] > 0 and row["descriptors"] > 0 for row in rows)
