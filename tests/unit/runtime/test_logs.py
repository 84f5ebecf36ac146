from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator

import pytest
import structlog

from ovpnha.config import LogConfig, LogFormat, LogLevel
from ovpnha.runtime.logs import configure_logs


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def test_a_line_is_an_object_with_both_clocks() -> None:
    stream = io.StringIO()
    configure_logs(LogConfig(), stream)
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
    configure_logs(LogConfig(), stream)
    structlog.get_logger().info("grade", monotonic=12.5)
    assert json.loads(stream.getvalue())["monotonic"] == 12.5


def test_what_is_less_important_is_left_out() -> None:
    stream = io.StringIO()
    configure_logs(LogConfig(level=LogLevel.WARNING), stream)
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
    configure_logs(LogConfig(), stream)
    structlog.get_logger().info("odd", value={1, 2}, data=b"\xff")
    assert json.loads(stream.getvalue())["event"] == "odd"
