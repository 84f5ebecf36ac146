from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ovpnha.config import Config
from ovpnha.machines import Process
from ovpnha.model import Grade, Role, Sync
from ovpnha.node.statistics import ProcessFigures, SpareFigures
from ovpnha.runtime import handover
from ovpnha.runtime.codec import to_plain
from ovpnha.runtime.commands import Commands
from ovpnha.runtime.control import HandOverRequest
from ovpnha.runtime.driver import Driver

LONG, SHORT = 20.0, 0.05


PIDS = {Process.MAIN: 77, Process.SPARE: 79}


@pytest.fixture
def leave(driver: Driver) -> Callable[..., Any]:
    """One hand-over by the process 77, which is OpenVPN of the only instance."""
    instances = [{"name": "udp", "management": "/run/udp.sock"}]
    config = Config.model_validate({"cluster": {"name": "x", "node": "a"}, "instance": instances})
    commands = Commands(config, driver, lambda _name, process: PIDS[process])

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


# Two processes on this machine.

HERE = "no other node is in sync: 3 clients must reconnect"


def accompany(core: Any, place: str, sync: Sync = Sync.IN_SYNC) -> None:
    """The main process serves, on a lone server, and the spare one is so."""
    be(core, Role.MASTER, believed=False)
    one = core.snapshot.instances[0]
    spare = SpareFigures(Process.MAIN, ProcessFigures("master"), ProcessFigures(place, sync))
    core.snapshot = replace(core.snapshot, instances=(replace(one, spare=spare),))


async def expect_last(task: asyncio.Future[Any], core: Any, driver: Driver) -> None:
    """The process that serves waits for the end of the other one, and then leaves."""
    for _ in range(5):
        await asyncio.sleep(0)
    assert not task.done()
    accompany(core, "absent")
    driver.step(lambda _core, _now: None)
    assert await task == left(HERE, "master", good=False)


async def test_the_other_process_goes_on(
    leave: Callable[..., Any], core: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "COMPANION", SHORT)
    accompany(core, "standby")
    assert await leave() == left("the other process goes on", "master")
    assert core.notes == []


@pytest.mark.parametrize("spare_first", [True, False])
async def test_who_serves_ends_last_when_both_are_stopped(
    leave: Callable[..., Any], core: Any, driver: Driver, spare_first: bool
) -> None:
    """Only who knows nobody that goes on says goodbye to the clients."""
    accompany(core, "standby")
    if spare_first:
        assert await leave(pid=79) == []
    task = asyncio.ensure_future(leave(SHORT * 100))
    await asyncio.sleep(0)
    if not spare_first:
        assert await leave(pid=79) == []
    await expect_last(task, core, driver)


async def test_one_that_was_stopped_before_is_another_process_by_now(
    leave: Callable[..., Any], core: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "COMPANION", SHORT)
    accompany(core, "standby")
    await leave(pid=79)
    monkeypatch.setitem(PIDS, Process.SPARE, 80)
    assert await leave() == left("the other process goes on", "master")


@pytest.mark.parametrize(
    ("place", "sync"), [("standby", Sync.SYNCING), ("held", Sync.IN_SYNC), ("waiting", Sync.NONE)]
)
async def test_one_without_every_client_does_not_go_on(
    leave: Callable[..., Any], core: Any, place: str, sync: Sync
) -> None:
    accompany(core, place, sync)
    assert await leave(SHORT) == left(HERE, "master", good=False)


async def test_one_that_lacks_a_client_is_not_waited_for(
    leave: Callable[..., Any], core: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may lack it for good, and does not end either."""
    monkeypatch.setattr(handover, "COMPANION", SHORT)
    accompany(core, "standby", Sync.PARTIAL)
    assert await leave() == left(HERE, "master", good=False)


async def test_one_that_lacks_a_client_and_is_stopped_as_well_ends_first(
    leave: Callable[..., Any], core: Any, driver: Driver
) -> None:
    accompany(core, "standby", Sync.PARTIAL)
    task = asyncio.ensure_future(leave())
    await asyncio.sleep(0)
    assert await leave(pid=79) == []
    await expect_last(task, core, driver)


async def test_who_serves_beside_a_main_process_is_the_one_that_leaves(
    leave: Callable[..., Any], core: Any
) -> None:
    accompany(core, "absent")
    one = core.snapshot.instances[0]
    spare = replace(one.spare, serving=Process.SPARE, main=ProcessFigures("absent"))
    core.snapshot = replace(core.snapshot, instances=(replace(one, spare=spare),))
    assert await leave(pid=77) == []
    assert await leave(pid=79) == left(HERE, "master", good=False)
