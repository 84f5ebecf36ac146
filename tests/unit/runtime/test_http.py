from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import time
from collections.abc import MutableMapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ovpnha.config import HttpConfig
from ovpnha.coordinator.outputs import (
    NodeStatistics,
    PhaseTimes,
    ProtectTimes,
    ServerStatistics,
)
from ovpnha.model import Role
from ovpnha.runtime import definitions
from ovpnha.runtime.http import StatusApplication, serve_http


def application(statistics: NodeStatistics) -> StatusApplication:
    return StatusApplication(lambda: statistics, lambda: {"no_buffer": 7})


async def get(
    statistics: NodeStatistics, path: str, method: str = "GET"
) -> tuple[int, dict[bytes, bytes], bytes]:
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def receive() -> MutableMapping[str, Any]:
        raise AssertionError("the body is not read")

    scope = {"type": "http", "method": method, "path": path}
    await application(statistics)(scope, receive, send)
    start, body = sent
    return start["status"], dict(start["headers"]), body["body"]


async def test_metrics(statistics: NodeStatistics) -> None:
    one = replace(statistics.instances[0], last_promotion=time.monotonic() - 60)
    status, headers, body = await get(replace(statistics, instances=(one,)), "/metrics")
    assert status == 200
    assert headers[b"content-type"].startswith(b"text/plain")
    lines = body.decode().splitlines()
    for line in (
        'ovpnha_role{instance="udp",role="master"} 1.0',
        'ovpnha_role{instance="udp",role="standby"} 0.0',
        'ovpnha_clients{instance="udp"} 3.0',
        'ovpnha_protected_clients{instance="udp"} 2.0',
        'ovpnha_replicated_records{instance="udp"} 0.0',
        'ovpnha_promotions_total{instance="udp"} 1.0',
        'ovpnha_events_total{instance="udp",kind="exports"} 5.0',
        'ovpnha_datagrams_refused_total{reason="seal"} 6.0',
        'ovpnha_datagrams_unsent_total{reason="no_buffer"} 7.0',
        'ovpnha_link_up{link="bcn0"} 1.0',
    ):
        assert line in lines
    (last,) = [line for line in lines if line.startswith("ovpnha_last_promotion_timestamp")]
    assert float(last.split()[-1]) == pytest.approx(time.time() - 60, abs=5)


async def test_histograms_and_openvpn_s_own_figures(statistics: NodeStatistics) -> None:
    now = time.monotonic()
    one = replace(
        statistics.instances[0],
        protect_times=ProtectTimes({0.1: 3, float("inf"): 4}, 0.9, ()),
        promotion_times={"promoted": PhaseTimes({0.005: 1, float("inf"): 2}, 0.25)},
        server=ServerStatistics(3, 1000, 2000, now - 2.0),
    )
    _, _, body = await get(replace(statistics, instances=(one,)), "/metrics")
    lines = body.decode().splitlines()
    for line in (
        'ovpnha_protect_seconds_bucket{instance="udp",le="0.1"} 3.0',
        'ovpnha_protect_seconds_bucket{instance="udp",le="+Inf"} 4.0',
        'ovpnha_protect_seconds_sum{instance="udp"} 0.9',
        'ovpnha_promotion_seconds_count{instance="udp",phase="promoted"} 2.0',
        'openvpn_server_connected_clients{instance="udp"} 3.0',
        'openvpn_server_received_bytes_total{instance="udp"} 1000.0',
        'ovpnha_node_in_sync{instance="udp",other_node="b"} 1.0',
        'ovpnha_sync{instance="udp",sync="none"} 1.0',
        'ovpnha_grade_info{instance="udp",reason="master"} 1.0',
    ):
        assert line in lines, line


async def test_every_metric_is_defined_and_every_definition_served(
    statistics: NodeStatistics,
) -> None:
    _, _, body = await get(statistics, "/metrics")
    served = [line.split()[2] for line in body.decode().splitlines() if line.startswith("# TYPE")]
    expected = [
        f"{one.name}_total" if one.kind == "counter" else one.name for one in definitions.TABLE
    ]
    assert served == expected


async def test_promtool_finds_nothing(statistics: NodeStatistics) -> None:
    one = replace(
        statistics.instances[0],
        protect_times=ProtectTimes({0.1: 3, float("inf"): 4}, 0.9, ()),
        server=ServerStatistics(3, 1000, 2000, time.monotonic()),
    )
    _, _, body = await get(replace(statistics, instances=(one,)), "/metrics")
    done = subprocess.run(["promtool", "check", "metrics"], input=body, capture_output=True)  # noqa: ASYNC221
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_the_document_is_made_from_the_definitions() -> None:
    document = Path(__file__).parents[3] / "docs" / "metrics.md"
    made = "ovpnha reference --metrics > docs/metrics.md"
    assert document.read_text() == definitions.render_metrics(), made


async def test_a_node_that_never_was_master_has_no_time_of_it(statistics: NodeStatistics) -> None:
    one = replace(statistics.instances[0], promotions=0, last_promotion=0.0)
    _, _, body = await get(replace(statistics, instances=(one,)), "/metrics")
    assert b"\novpnha_last_promotion_timestamp_seconds{" not in body


async def test_health(statistics: NodeStatistics) -> None:
    assert (await get(statistics, "/health"))[0] == 200
    one = replace(statistics.instances[0], management_up=False, role=Role.FAULT)
    status, _, body = await get(
        replace(statistics, instances=(one,), links={"bcn0": False}), "/health"
    )
    assert status == 503
    assert json.loads(body)["problems"] == [
        "link bcn0 is down",
        "instance udp: openvpn does not answer",
    ]
    _, _, body = await get(
        replace(statistics, instances=(replace(one, management_up=True),)), "/health"
    )
    assert json.loads(body)["problems"] == ["instance udp: fault: master"]


async def test_status(statistics: NodeStatistics) -> None:
    status, _, body = await get(statistics, "/status")
    shown = json.loads(body)
    assert status == 200
    assert shown["instances"][0]["role"] == "master"
    assert shown["instances"][0]["epoch"] == "7/a"
    assert shown["instances"][0]["nodes"][0]["sync"] == "in_sync"


async def test_other_paths_and_methods(statistics: NodeStatistics) -> None:
    assert (await get(statistics, "/"))[0] == 404
    assert (await get(statistics, "/status", "POST"))[0] == 405
    status, headers, body = await get(statistics, "/status", "HEAD")
    assert (status, body) == (200, b"")
    assert int(headers[b"content-length"]) > 100


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def fetch(port: int, request: bytes) -> bytes:
    async with asyncio.timeout(10):
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.01)
                continue
            writer.write(request)
            answer = await reader.read()
            writer.close()
            return answer


async def test_it_is_served(statistics: NodeStatistics) -> None:
    port = free_port()
    config = HttpConfig(listen=f"127.0.0.1:{port}")
    serving = serve_http(config, application(statistics))
    task = asyncio.create_task(serving)
    try:
        request = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        answer = await fetch(port, request)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b'"healthy": true' in answer
        assert (await fetch(port, b"\x16\x03\x01 junk\r\n\r\n")).startswith(b"HTTP/1.1 400")
        assert (await fetch(port, request)).startswith(b"HTTP/1.1 200")
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_a_port_in_use_is_one_error_and_no_end(
    statistics: NodeStatistics, logged: list[MutableMapping[str, Any]]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        await serve_http(HttpConfig(listen=listen), application(statistics))
    (entry,) = logged
    assert entry["event"] == "http endpoint off"
    assert "in use" in entry["reason"]


async def test_switched_off(statistics: NodeStatistics) -> None:
    await serve_http(HttpConfig(listen=""), application(statistics))
