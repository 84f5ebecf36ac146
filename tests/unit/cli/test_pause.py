"""``ovpnha pause`` and ``resume`` on a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ovpnha.runtime import control
from tests.unit.cli.answers import run


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The requests; the daemon has two instances, of which one was paused."""
    found: list[Any] = []

    def answer(_path: Path, request: Any, _timeout: float) -> dict[str, Any]:
        found.append(request)
        names = ["udp", "tcp"] if request.instance is None else [request.instance]
        if request.command == "pause":
            return {"instances": names, "seconds": request.seconds}
        if request.command == "resync":
            return {"instance": "udp", "clients": 7, "master": "a"}
        return {"instances": names, "paused": ["udp"]}

    monkeypatch.setattr(control, "ask_plain", answer)
    return found


def test_a_pause_says_how_long(config: Path, asked: list[Any]) -> None:
    assert run("pause", "-c", config)[:2] == (
        0,
        "udp, tcp: paused for 60 min; ovpnha resume ends it\n",
    )
    run("pause", "-c", config, "--for", "1.5min", "-i", "udp")
    assert [one.seconds for one in asked] == [3600.0, 90.0]
    assert asked[1].instance == "udp"


@pytest.mark.parametrize(
    ("text", "seconds"), [("7", 7.0), ("90s", 90.0), ("2m", 120.0), ("24h", 86400.0)]
)
def test_a_duration_has_a_unit(config: Path, asked: list[Any], text: str, seconds: float) -> None:
    assert run("pause", "-c", config, "--for", text)[0] == 0
    assert asked[0].seconds == seconds


@pytest.mark.parametrize("text", ["0", "25h", "soon", "-1s", "1d"])
def test_what_is_no_duration_is_refused(config: Path, asked: list[Any], text: str) -> None:
    code, _, err = run("pause", "-c", config, f"--for={text}")
    assert (code, asked) == (2, [])
    assert "90s, 20min or 2h" in err


def test_resume_says_who_was_paused(config: Path, asked: list[Any]) -> None:
    assert run("resume", "-c", config)[:2] == (0, "udp: acts again\ntcp: was not paused\n")
    assert asked[0].command == "resume"


def test_resync_says_what_there_is_again(config: Path, asked: list[Any]) -> None:
    assert run("resync", "-c", config)[:2] == (0, "udp: in sync with a again, 7 clients\n")
    assert asked[0].command == "resync"
