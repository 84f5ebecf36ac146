from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ovpnha.config import Config
from ovpnha.model import Grade, InstanceName, Role, Sync
from ovpnha.runtime.codec import to_plain
from ovpnha.runtime.commands import Commands
from ovpnha.runtime.control import HandOverRequest
from ovpnha.runtime.driver import Driver

LONG, SHORT = 20.0, 0.05


@pytest.fixture
def leave(driver: Driver) -> Callable[..., Any]:
    """One hand-over by the process 77, which is OpenVPN of the only instance."""
    instances = [{"name": "udp", "management": "/run/udp.sock"}]
    config = Config.model_validate({"cluster": {"name": "x", "node": "a"}, "instance": instances})
    pids = {InstanceName("udp"): 77}
    commands = Commands(config, driver, pids.__getitem__)

    async def ask(within: float = LONG, pid: int | None = 77) -> Any:
        async with asyncio.timeout(LONG / 2):  # so that a wait for the whole limit fails
            answer = await commands.answer(HandOverRequest(pid=pid, within=within))
            return to_plain(answer)["left"]

    return ask


def be(core: Any, ours: Role, **other: Any) -> None:
    """This node's role, and what the other node says of itself."""
    one = core.snapshot.instances[0]
    nodes = tuple(replace(node, **other) for node in one.nodes)
    core.snapshot = replace(core.snapshot, instances=(replace(one, role=ours, nodes=nodes),))


def left(note: str, role: str = "standby", *, good: bool = True) -> list[dict[str, Any]]:
    return [{"instance": "udp", "role": role, "good": good, "note": note}]


@pytest.mark.parametrize("role", [Role.STANDBY, Role.INIT, Role.FAULT])
async def test_who_does_not_serve_has_nothing_to_give(
    leave: Callable[..., Any], core: Any, role: Role
) -> None:
    be(core, role, role=Role.MASTER)
    assert await leave() == left("b is master", role.value)
    be(core, role, role=Role.STANDBY)
    assert await leave() == left("has no role to hand over", role.value)
    assert core.notes == []


async def test_a_process_of_nobody_concerns_nobody(leave: Callable[..., Any], core: Any) -> None:
    assert await leave(pid=78) == []
    assert core.notes == []


async def test_a_master_goes_when_the_other_serves(leave: Callable[..., Any], core: Any) -> None:
    def move() -> None:
        core.become(Role.STANDBY)
        be(core, Role.STANDBY, role=Role.MASTER)

    core.reactions["ask_demote"] = move
    assert await leave() == left("b is master")
    assert core.notes == [("ask_demote", "udp")]


async def test_without_a_process_it_is_every_instance(leave: Callable[..., Any], core: Any) -> None:
    core.reactions["ask_demote"] = lambda: core.become(Role.STANDBY)
    assert await leave(pid=None) == left("has no role to hand over")


@pytest.mark.parametrize(
    "other",
    [
        {"believed": False},
        {"has_instance": False},
        {"grade": Grade.FAULT, "sync": Sync.NONE},
        {"role": Role.FAULT},
        {"role": Role.INIT},
    ],
)
async def test_a_master_that_is_alone_waits_for_nobody(
    leave: Callable[..., Any], core: Any, other: dict[str, Any]
) -> None:
    be(core, Role.MASTER, **other)
    note = "no other node is in sync: 3 clients must reconnect"
    assert await leave() == left(note, "master", good=False)
    assert core.notes == []


async def test_a_standby_that_syncs_is_waited_for(
    leave: Callable[..., Any], core: Any, driver: Driver
) -> None:
    be(core, Role.MASTER, sync=Sync.SYNCING, grade=30)
    core.reactions["ask_demote"] = lambda: core.become(Role.STANDBY)
    task = asyncio.ensure_future(leave())
    await asyncio.sleep(0)
    assert core.notes == []
    be(core, Role.MASTER, sync=Sync.IN_SYNC, grade=90)
    driver.step(lambda _core, _now: None)
    assert (await task)[0]["good"]
    assert core.notes == [("ask_demote", "udp")]


async def test_a_standby_that_never_comes_in_sync_is_not(
    leave: Callable[..., Any], core: Any
) -> None:
    be(core, Role.MASTER, sync=Sync.SYNCING, grade=30)
    (one,) = await leave(SHORT)
    assert (one["good"], core.notes) == (False, [])


async def test_a_vip_manager_that_does_nothing(leave: Callable[..., Any], core: Any) -> None:
    note = "the VIP manager has not moved the VIP within 0.05 s"
    assert await leave(SHORT) == left(note, "master", good=False)
    assert core.notes == [("ask_demote", "udp")]


async def test_who_is_held_goes_when_the_other_has_all(
    leave: Callable[..., Any], core: Any, driver: Driver
) -> None:
    be(core, Role.HELD, role=Role.MASTER, sync=Sync.NONE)
    task = asyncio.ensure_future(leave(LONG / 4))
    await asyncio.sleep(0)
    be(core, Role.STANDBY)
    driver.step(lambda _core, _now: None)
    assert await task == left("b is master")
    assert core.notes == []


async def test_who_is_held_and_alone_waits_for_nobody(leave: Callable[..., Any], core: Any) -> None:
    be(core, Role.HELD, believed=False)
    note = "the VIP is not here, and no other node is heard that could take it"
    assert await leave() == left(note, "held", good=False)
