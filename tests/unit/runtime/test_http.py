from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import socket
import subprocess
import time
from collections.abc import AsyncIterator, MutableMapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ovpnha.config import HttpConfig
from ovpnha.machines import Process, SparePolicy
from ovpnha.model import InstanceName, Role, ServerClient, Sync
from ovpnha.node.master.protection import ProtectTimes
from ovpnha.node.openvpn.traffic import ServerStatistics
from ovpnha.node.role.promotion import PhaseTimes
from ovpnha.node.statistics import (
    NodeStatistics,
    ProcessFigures,
    SpareFigures,
    TrackingFigures,
)
from ovpnha.problems import Problem, ProblemKind
from ovpnha.runtime import definitions, eventkinds
from ovpnha.runtime.clientmetrics import ClientList, Pseudonyms
from ovpnha.runtime.codec import to_plain
from ovpnha.runtime.http import CONNECTIONS_LIMIT, Reused, StatusApplication, serve_http
from ovpnha.runtime.metricpage import render_metrics
from ovpnha.runtime.metrics import Scrape
from tests.unit.runtime.change import change


def application(
    statistics: NodeStatistics,
    clients: tuple[ClientList, ...] = (),
    scrape: Scrape | None = None,
) -> StatusApplication:
    told = scrape or Scrape(statistics, {"no_buffer": 7}, clients)
    return StatusApplication(lambda: statistics, lambda: told)


async def get(
    statistics: NodeStatistics,
    path: str,
    method: str = "GET",
    clients: tuple[ClientList, ...] = (),
    scrape: Scrape | None = None,
) -> tuple[int, dict[bytes, bytes], bytes]:
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def receive() -> MutableMapping[str, Any]:
        raise AssertionError("the body is not read")

    scope = {"type": "http", "method": method, "path": path}
    await application(statistics, clients, scrape)(scope, receive, send)
    start, body = sent
    return start["status"], dict(start["headers"]), body["body"]


async def test_metrics(statistics: NodeStatistics) -> None:
    one = change(statistics.instances[0], last_promotion=time.monotonic() - 60)
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
    one = change(
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


async def test_figures_of_conntrackd(statistics: NodeStatistics) -> None:
    tracking = TrackingFigures("", 4, 9, {"created": 7}, {"lost": 2}, {"tell": 3}, {"tell": 0.25})
    _, _, body = await get(replace(statistics, tracking=tracking), "/metrics")
    lines = body.decode().splitlines()
    for line in (
        "ovpnha_conntrack_up 1.0",
        "ovpnha_conntrack_told_entries 4.0",
        "ovpnha_conntrack_kernel_entries 9.0",
        'ovpnha_conntrack_injected_total{kind="created"} 7.0',
        'ovpnha_conntrack_errors_total{kind="lost"} 2.0',
        'ovpnha_conntrack_orders_total{kind="tell"} 3.0',
        'ovpnha_conntrack_order_seconds{kind="tell"} 0.25',
    ):
        assert line in lines, line


@pytest.mark.parametrize(
    ("place", "sync", "ready"),
    [("standby", Sync.IN_SYNC, 1), ("standby", Sync.SYNCING, 0), ("absent", Sync.NONE, 0)],
)
async def test_figures_of_a_spare(
    statistics: NodeStatistics, place: str, sync: Sync, ready: int
) -> None:
    other = ProcessFigures(place, sync)
    spare = SpareFigures(Process.MAIN, ProcessFigures("master"), other, restarts=2, crashes=3)
    told = replace(statistics, instances=(change(statistics.instances[0], spare=spare),))
    scrape = Scrape(told, {}, spares={InstanceName("udp"): SparePolicy.ALWAYS}, alone=True)
    _, _, body = await get(told, "/metrics", scrape=scrape)
    lines = body.decode().splitlines()
    assert f'ovpnha_spare_ready{{instance="udp",policy="always"}} {ready}.0' in lines
    assert 'ovpnha_spare_restarts_total{instance="udp"} 2.0' in lines
    assert 'ovpnha_spare_crashes_total{instance="udp"} 3.0' in lines
    assert "ovpnha_alone 1.0" in lines


async def test_without_a_spare_there_are_no_figures_of_one(statistics: NodeStatistics) -> None:
    _, _, body = await get(statistics, "/metrics")
    assert b"ovpnha_spare_ready{" not in body
    assert b"ovpnha_spare_crashes_total{" not in body
    assert b"ovpnha_alone 0.0\n" in body


async def test_a_conntrackd_that_is_down_is_a_problem_of_the_node(
    statistics: NodeStatistics,
) -> None:
    broken = replace(statistics, tracking=TrackingFigures("conntrackd does not run"))
    _, _, body = await get(broken, "/metrics")
    assert b"\novpnha_conntrack_up 0.0" in body
    status, _, body = await get(broken, "/health")
    assert status == 503
    assert b"conntrackd does not run" in body


@pytest.mark.parametrize(("wrong", "value"), [("", "1.0"), ("the table was not set", "0.0")])
async def test_the_firewall_that_we_keep(
    statistics: NodeStatistics, wrong: str, value: str
) -> None:
    kept = replace(statistics, firewall=wrong)
    _, _, body = await get(kept, "/metrics")
    assert f"\novpnha_firewall_set {value}".encode() in body
    status, _, body = await get(kept, "/health")
    assert (status == 503) is bool(wrong)
    assert wrong.encode() in body


@pytest.mark.parametrize(("newer", "value"), [("", "0.0"), ("2.6.15-1", "1.0")])
async def test_a_patched_openvpn_that_is_older_than_debian_s(
    statistics: NodeStatistics, newer: str, value: str
) -> None:
    _, _, body = await get(replace(statistics, newer_source=newer), "/metrics")
    assert f"\novpnha_openvpn_source_outdated {value}".encode() in body
    _, _, body = await get(statistics, "/metrics")
    assert b"\novpnha_openvpn_source_outdated" not in body


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
    one = change(
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
    assert document.read_text() == render_metrics(), made


async def test_a_node_that_never_was_master_has_no_time_of_it(statistics: NodeStatistics) -> None:
    one = change(statistics.instances[0], promotions=0, last_promotion=0.0)
    _, _, body = await get(replace(statistics, instances=(one,)), "/metrics")
    assert b"\novpnha_last_promotion_timestamp_seconds{" not in body


CLIENTS = (
    ServerClient("alice", "", "192.0.2.1:5000", "10.8.0.2", "1790000000", 100, 200),
    ServerClient("UNDEF", "", "192.0.2.1:5000", "", "1790000000", 1, 2),
    ServerClient("UNDEF", "", "192.0.2.1:5000", "", "1790000000", 10, 20),
    ServerClient('b"\\\n', "bob", "192.0.2.2:5000", "10.8.0.3", "1790000001", 5, 6),
)


async def test_metrics_of_each_client(statistics: NodeStatistics) -> None:
    """Two clients that cannot be told apart are one sample; a name may have any character."""
    _, _, body = await get(statistics, "/metrics", clients=(ClientList("udp", CLIENTS, None),))
    lines = [
        line for line in body.decode().splitlines() if line.startswith("openvpn_server_client")
    ]
    place = 'connection_time="1790000000",instance="udp",real_address="192.0.2.1:5000"'
    received = "openvpn_server_client_received_bytes_total"
    assert (
        f'{received}{{common_name="alice",{place},username="",virtual_address="10.8.0.2"}} 100.0'
        in lines
    )
    assert f'{received}{{common_name="UNDEF",{place},username="",virtual_address=""}} 11.0' in lines
    assert any('common_name="b\\"\\\\\\n"' in line and line.endswith(" 6.0") for line in lines)
    assert len(lines) == 6
    done = subprocess.run(["promtool", "check", "metrics"], input=body, capture_output=True)  # noqa: ASYNC221
    assert done.returncode == 0, done.stderr


async def test_hashed_names_are_the_same_on_every_node(statistics: NodeStatistics) -> None:
    pages = [
        await get(statistics, "/metrics", clients=(ClientList("udp", CLIENTS, Pseudonyms(key)),))
        for key in (b"k" * 32, b"k" * 32, b"l" * 32)
    ]
    first, second, other = (
        [line for line in page[2].splitlines() if line.startswith(b"openvpn_server_client")]
        for page in pages
    )
    assert first == second != other
    assert not [
        word for word in (b"alice", b"bob", b"192.0.2", b"10.8.") if word in b"".join(first)
    ]
    assert b'username=""' in first[0]


async def test_what_is_counted_later_is_there_from_the_start(statistics: NodeStatistics) -> None:
    one = change(statistics.instances[0], counters={})
    quiet = replace(statistics, instances=(one,), received={}, sent={}, refused={})
    _, _, body = await get(quiet, "/metrics")
    lines = body.decode().splitlines()
    for line in (
        'ovpnha_events_total{instance="udp",kind="capped"} 0.0',
        'ovpnha_datagrams_refused_total{reason="unauthentic"} 0.0',
        'ovpnha_datagrams_received_total{kind="hello"} 0.0',
        'ovpnha_bytes_received_total{kind="refused"} 0.0',
    ):
        assert line in lines, line


async def test_distance_and_room(statistics: NodeStatistics) -> None:
    one = statistics.instances[0]
    near = replace(one.nodes[0], round_trip=0.0005, clock_offset=-2.5)
    _, _, body = await get(
        replace(statistics, instances=(change(one, nodes=(near,), room=7),)), "/metrics"
    )
    lines = body.decode().splitlines()
    for line in (
        'ovpnha_node_round_trip_seconds{instance="udp",other_node="b"} 0.0005',
        'ovpnha_node_clock_offset_seconds{instance="udp",other_node="b"} -2.5',
        'ovpnha_packet_id_room_lowest{instance="udp"} 7.0',
        'ovpnha_last_promotion_phase_seconds{instance="udp",phase="promoted"} 0.0042',
    ):
        assert line in lines, line


def test_every_event_that_is_counted_is_documented() -> None:
    """In the core of a node a counter's kind is written where it is counted."""
    package = Path(definitions.__file__).parents[1] / "node"
    text = "".join(file.read_text() for file in package.rglob("*.py"))
    counted = set(re.findall(r'counters\["(\w+)"\]', text))
    counted |= set(re.findall(r'_release\(uid, "(\w+)"\)', text))
    assert counted == set(eventkinds.EVENTS)


def kinds(body: bytes) -> list[str]:
    return [problem["kind"] for problem in json.loads(body)["problems"]]


async def test_health(statistics: NodeStatistics) -> None:
    assert (await get(statistics, "/health"))[0] == 200
    one = change(statistics.instances[0], management_up=False, role=Role.FAULT, grade=-254)
    status, _, body = await get(
        replace(statistics, instances=(one,), links={"bcn0": False}), "/health"
    )
    assert status == 503
    assert kinds(body) == ["link_down", "not_connected"]
    _, _, body = await get(
        replace(statistics, instances=(change(one, management_up=True),)), "/health"
    )
    assert kinds(body) == ["refuses_vip"]
    for role, healthy in ((Role.STANDBY, False), (Role.INIT, True)):
        lost = change(one, management_up=True, role=role, grade=-254)
        assert (await get(replace(statistics, instances=(lost,)), "/health"))[0] == (
            200 if healthy else 503
        )
    missed = Problem(ProblemKind.MANAGEMENT_UNREACHABLE, "no socket", "start it", "udp")
    told = change(one, problems=(missed,))
    _, _, body = await get(replace(statistics, instances=(told,)), "/health")
    assert json.loads(body)["problems"] == [
        {
            "kind": "management_unreachable",
            "text": "no socket",
            "fix": "start it",
            "instance": "udp",
            "node": "",
        }
    ]


async def test_status(statistics: NodeStatistics) -> None:
    status, _, body = await get(statistics, "/status")
    shown = json.loads(body)
    assert status == 200
    assert shown["instances"][0]["role"] == "master"
    assert shown["instances"][0]["epoch"] == "7/a"
    assert shown["instances"][0]["nodes"][0]["sync"] == "in_sync"
    assert shown["problems"] == []


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


HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@contextlib.asynccontextmanager
async def serving(statistics: NodeStatistics) -> AsyncIterator[int]:
    port = free_port()
    config = HttpConfig(listen=f"127.0.0.1:{port}")
    task = asyncio.create_task(serve_http(config, application(statistics)))
    try:
        yield port
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_it_is_served(statistics: NodeStatistics) -> None:
    async with serving(statistics) as port:
        answer = await fetch(port, HEALTH)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b'"healthy": true' in answer
        assert (await fetch(port, b"\x16\x03\x01 junk\r\n\r\n")).startswith(b"HTTP/1.1 400")
        assert (await fetch(port, HEALTH)).startswith(b"HTTP/1.1 200")


async def test_however_many_wait_idle_one_that_asks_is_answered(
    statistics: NodeStatistics,
) -> None:
    async with serving(statistics) as port:
        await fetch(port, HEALTH)
        before = len(os.listdir("/proc/self/fd"))
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(300)]
        for _, writer in idle[::3]:
            writer.write(b"GET /health HTTP/1.1\r\n")  # and never the rest
        assert (await fetch(port, HEALTH)).startswith(b"HTTP/1.1 200")
        ours = len(os.listdir("/proc/self/fd")) - before - len(idle)
        assert ours <= CONNECTIONS_LIMIT
        for _, writer in idle:
            writer.close()


async def test_a_request_has_its_time(
    statistics: NodeStatistics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ovpnha.runtime.http.REQUEST_WITHIN", 0.05)
    async with serving(statistics) as port:
        for start in (b"", b"GET /health HTTP/1.1\r\nHost: x\r\n"):
            with contextlib.suppress(ConnectionResetError):
                assert await fetch(port, start) == b""


async def test_an_answer_is_made_again_only_when_it_may_take_the_time() -> None:
    now = [0.0]
    made: list[float] = []

    async def make() -> tuple[int, str, bytes]:
        made.append(now[0])
        now[0] += 0.1
        return 200, "text/plain", str(len(made)).encode()

    answer = Reused(make, lambda: now[0])
    bodies = [(await answer.get())[2] for _ in range(3)]
    assert bodies == [b"1"] * 3
    now[0] += 10 * 0.1
    assert (await answer.get())[2] == b"2"
    assert made == [0.0, pytest.approx(1.1)]


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


SHOWN_TEXT = """
    name role epoch sync grade grade_reason vip management_up openvpn seamless clients protected
    oldest_unprotected records stale lacking refused following promotions last_promotion
    last_promotion_phases counters nodes protect_times promotion_times server room rekey problems
    managed stock meant_stock leases leases_remembered leases_from addresses_kept
    addresses_changed apart checks switchover paused_for fence_failures fence_waits fencing spare
"""
SHOWN = set(SHOWN_TEXT.split())


def test_status_shows_the_figures_of_all_parts_among_those_of_the_instance(
    statistics: NodeStatistics,
) -> None:
    """Scripts read these names."""
    (shown,) = to_plain(statistics)["instances"]
    assert set(shown) == SHOWN
    assert shown["openvpn"] == "2.6.14"
    assert shown["counters"] == {"exports": 5}
    assert set(shown["rekey"]) == {"pending", "done", "left"}
