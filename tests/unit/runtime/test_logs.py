from __future__ import annotations

import io
import json
import logging
import os
import time
from pathlib import Path

import pytest
import structlog

from ovpnha.config import LogConfig, LogFormat, LogLevel
from ovpnha.runtime.logs import BURST, PERIOD, Restraint, configure_logs

pytestmark = pytest.mark.usefixtures("logs_as_before")


def test_a_line_is_an_object_with_both_clocks() -> None:
    stream = io.StringIO()
    configure_logs(LogConfig(format=LogFormat.JSON), stream)
    structlog.get_logger().info("role changed", instance="udp", reason="vip\narrived")
    (line,) = stream.getvalue().splitlines()
    entry = json.loads(line)
    assert entry["event"] == "role changed"
    assert entry["level"] == "info"
    assert entry["reason"] == "vip\narrived"
    assert abs(entry["monotonic"] - time.monotonic()) < 10
    assert entry["timestamp"].endswith("Z")


def test_a_time_that_was_given_is_kept() -> None:
    stream = io.StringIO()
    configure_logs(LogConfig(format=LogFormat.JSON), stream)
    structlog.get_logger().info("grade", monotonic=12.5)
    assert json.loads(stream.getvalue())["monotonic"] == 12.5


def test_what_is_less_important_is_left_out() -> None:
    stream = io.StringIO()
    configure_logs(LogConfig(level=LogLevel.WARNING, format=LogFormat.JSON), stream)
    structlog.get_logger().info("no")
    structlog.get_logger().warning("yes")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["yes"]


def test_for_the_eye() -> None:
    stream = io.StringIO()
    configure_logs(LogConfig(format=LogFormat.CONSOLE), stream)
    structlog.get_logger().info("started", node="a")
    assert "started" in stream.getvalue()
    assert "node=a" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_bytes_are_never_a_reason_to_fail() -> None:
    stream = io.StringIO()
    configure_logs(LogConfig(format=LogFormat.JSON), stream)
    structlog.get_logger().info("odd", value={1, 2}, data=b"\xff")
    assert json.loads(stream.getvalue())["event"] == "odd"


def test_in_the_journal_a_line_has_its_priority(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "journal").open("w+") as stream:
        status = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        for form in LogFormat:
            configure_logs(LogConfig(format=form), stream)
            structlog.get_logger().error("no VIP", reason="none")
            structlog.get_logger().info("calm")
        stream.seek(0)
        lines = stream.read().splitlines()
    assert [line[:3] for line in lines] == ["<3>", "<6>", "<3>", "<6>"]
    assert json.loads(lines[0][3:])["event"] == "no VIP"
    assert "timestamp" not in json.loads(lines[0][3:]), "the journal has its own"


def test_a_phrase_that_comes_too_often_is_left_out_and_counted() -> None:
    now = [0.0]
    restrain = Restraint(lambda: now[0])

    def say(event: str) -> dict[str, object] | None:
        try:
            return dict(restrain(None, "info", {"event": event}))
        except structlog.DropEvent:
            return None

    said = [say("refused") for _ in range(BURST + 7)]
    assert said.count(None) == 7
    assert say("another") == {"event": "another"}
    now[0] = PERIOD
    assert say("refused") == {"event": "refused", "left_out": 7}
    assert say("refused") == {"event": "refused"}


def test_a_traceback_shows_no_variables() -> None:
    stream = io.StringIO()
    configure_logs(LogConfig(format=LogFormat.CONSOLE), stream)
    secret = "c0ffee" * 3
    try:
        int(f"no number: {len(secret)}")
    except ValueError:
        structlog.get_logger().exception("failed")
    assert "no number: 18" in stream.getvalue()
    assert secret not in stream.getvalue()


def test_what_a_library_says_comes_the_same_way() -> None:
    stream = io.StringIO()
    configure_logs(LogConfig(format=LogFormat.JSON), stream)
    logging.getLogger("asyncio").error("socket.accept() out of system resource\nsocket: %s", 3)
    logging.getLogger("asyncio").info("not this")
    (line,) = stream.getvalue().splitlines()
    entry = json.loads(line)
    assert (entry["event"], entry["library"], entry["level"]) == (
        "a library says",
        "asyncio",
        "error",
    )
    assert entry["text"] == "socket.accept() out of system resource"
