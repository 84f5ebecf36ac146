from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, MutableMapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ovpnha.config import HooksConfig
from ovpnha.model import Epoch, InstanceName, NodeName, Role
from ovpnha.node.outputs import RoleChanged
from ovpnha.runtime.hooks import WAITING_LIMIT, HookRunner
from tests.lab.processes import is_running

Until = Callable[[Callable[[], object]], Coroutine[Any, Any, None]]
CHANGE = RoleChanged(
    InstanceName("udp"), Role.STANDBY, Role.MASTER, Epoch(3, NodeName("a")), "vip $(arrived)"
)


def script(directory: Path, text: str) -> tuple[str, ...]:
    path = directory / "hook"
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return (str(path), str(directory))


@contextlib.asynccontextmanager
async def running(*command: str, limit: float = 5.0) -> AsyncIterator[HookRunner]:
    runner = HookRunner(HooksConfig(role_changed=command, timeout=limit), "a")
    task = asyncio.create_task(runner.run())
    try:
        yield runner
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_the_command_learns_what_happened(tmp_path: Path, until: Until) -> None:
    command = script(tmp_path, 'env | grep OVPNHA | sort > "$1/new"; mv "$1/new" "$1/out"')
    async with running(*command) as runner:
        runner.role_changed(CHANGE)
        await until((tmp_path / "out").exists)
    assert (tmp_path / "out").read_text().splitlines() == [
        "OVPNHA_EPOCH=3/a",
        "OVPNHA_INSTANCE=udp",
        "OVPNHA_NODE=a",
        "OVPNHA_OLD_ROLE=standby",
        "OVPNHA_REASON=vip $(arrived)",
        "OVPNHA_ROLE=master",
    ]


async def test_a_command_that_hangs_is_killed_with_its_children(
    tmp_path: Path, until: Until, logged: list[MutableMapping[str, Any]]
) -> None:
    command = script(tmp_path, 'sleep 600 & echo $! > "$1/new"; mv "$1/new" "$1/child"; wait')
    async with running(*command, limit=0.3) as runner:
        runner.role_changed(CHANGE)
        await until(lambda: logged)
    assert logged[0]["event"] == "hook killed"
    child = int((tmp_path / "child").read_text())
    await until(lambda: not is_running(child))


async def test_failures_are_told(
    tmp_path: Path, until: Until, logged: list[MutableMapping[str, Any]]
) -> None:
    async with running(*script(tmp_path, "exit 3")) as runner:
        runner.role_changed(CHANGE)
        await until(lambda: logged)
    assert (logged[0]["event"], logged[0]["exit_code"]) == ("hook failed", 3)
    async with running(str(tmp_path / "none")) as runner:
        runner.role_changed(CHANGE)
        await until(lambda: len(logged) == 2)
    assert logged[1]["reason"] == f"{tmp_path / 'none'}: No such file or directory"
    async with running(*script(tmp_path, "exit 0")) as runner:
        runner.role_changed(replace(CHANGE, reason="\0"))
        await until(lambda: len(logged) == 3)
    assert logged[2]["reason"] == "embedded null byte"


async def test_changes_are_told_in_order(tmp_path: Path, until: Until) -> None:
    command = script(tmp_path, 'echo "$OVPNHA_EPOCH" >> "$1/out"')
    epochs = [Epoch(counter, NodeName("a")) for counter in range(5)]
    async with running(*command) as runner:
        for epoch in epochs:
            runner.role_changed(
                RoleChanged(CHANGE.instance, CHANGE.old, CHANGE.new, epoch, "again")
            )
        out = tmp_path / "out"
        await until(lambda: out.exists() and len(out.read_text().split()) == 5)
    assert out.read_text().split() == [str(epoch) for epoch in epochs]


async def test_of_too_many_changes_the_oldest_is_left_out_and_told_of(
    logged: list[MutableMapping[str, Any]],
) -> None:
    runner = HookRunner(HooksConfig(role_changed=("/bin/true",)), "a")
    for _ in range(WAITING_LIMIT + 1):
        runner.role_changed(CHANGE)
    (told,) = logged
    assert (told["event"], told["left_out"]) == ("hook too slow", "master")
    assert len(runner._waiting) == WAITING_LIMIT


async def test_without_a_command_nothing_is_kept() -> None:
    async with running() as runner:
        runner.role_changed(CHANGE)
        assert not runner._waiting
