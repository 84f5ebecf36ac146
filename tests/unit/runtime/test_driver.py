from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, MutableMapping
from typing import Any

from ovpnha.model import Epoch, InstanceName, NodeName, Role
from ovpnha.node.outputs import (
    CloseManagement,
    LogEvent,
    RoleChanged,
    SendDatagram,
    SetGrade,
    WriteManagement,
)
from ovpnha.runtime.driver import Driver

UDP = InstanceName("udp")
CHANGE = RoleChanged(UDP, Role.STANDBY, Role.MASTER, Epoch(3, NodeName("a")), "vip arrived")


async def test_the_bytes_that_promote_go_out_before_anything_is_told(
    driver: Driver, core: Any, ports: Any, logged: list[MutableMapping[str, Any]]
) -> None:
    grade = SetGrade(UDP, 120, "master")
    outputs = [
        LogEvent("info", "vip arrived", {"instance": "udp"}),
        CHANGE,
        grade,
        WriteManagement(UDP, b"cluster-promote 3/a\n"),
        SendDatagram(b"hello", "bcn0"),
        CloseManagement(UDP, "broken"),
    ]
    core.reactions["vip_changed"] = lambda: core.outputs.extend(outputs)
    begin = time.monotonic()
    driver.step(lambda core, now: core.vip_changed(UDP, True, now))
    assert ports.out == [
        ("management", "udp", b"cluster-promote 3/a\n"),
        ("datagram", b"hello", "bcn0"),
        ("close", "udp", "broken"),
        CHANGE,
        grade,
    ]
    assert [entry["event"] for entry in logged] == ["vip arrived", "role changed", "grade"]
    assert all(begin <= entry["monotonic"] <= time.monotonic() for entry in logged)
    assert begin <= logged[1].pop("written") <= time.monotonic()
    assert logged[1] == {
        "event": "role changed",
        "log_level": "info",
        "monotonic": logged[0]["monotonic"],
        "instance": "udp",
        "old": "standby",
        "new": "master",
        "epoch": "3/a",
        "reason": "vip arrived",
    }


async def test_the_timer_is_kept(
    driver: Driver, core: Any, until: Callable[[Callable[[], object]], Coroutine[Any, Any, None]]
) -> None:
    core.timer = time.monotonic() + 0.02
    driver.step(lambda _core, _now: None)
    await until(lambda: core.notes)
    assert core.notes == [("handle_timer",)]


async def test_a_timer_in_the_past_is_due_at_once(
    driver: Driver, core: Any, until: Callable[[Callable[[], object]], Coroutine[Any, Any, None]]
) -> None:
    core.timer = time.monotonic() - 100
    driver.step(lambda _core, _now: None)
    await until(lambda: core.notes)


async def test_after_the_stop_nothing_is_fed_any_more(driver: Driver, core: Any) -> None:
    core.reactions["stop"] = lambda: core.outputs.append(SendDatagram(b"bye"))
    core.timer = time.monotonic() + 1000
    driver.stop()
    driver.step(lambda core, now: core.management_down(UDP, "closing", now))
    assert core.notes == [("stop",)]
    assert not core.outputs
