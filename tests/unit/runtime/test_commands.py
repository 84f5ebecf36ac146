from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ovpnha.config import Config
from ovpnha.model import Grade, NodeName, Role, ServerClient, Sync, Uid
from ovpnha.node.cluster.obstacles import SwitchPlan
from ovpnha.node.outputs import ClientView, ConnectedClient, Roster
from ovpnha.problems import Problem, ProblemKind
from ovpnha.runtime import commands as commands_module
from ovpnha.runtime.codec import to_plain
from ovpnha.runtime.commands import Commands
from ovpnha.runtime.control import (
    ClientsRequest,
    ControlError,
    DemoteRequest,
    GuardRequest,
    PauseRequest,
    PromoteRequest,
    RenegotiateRequest,
    Request,
    ResumeRequest,
    ResyncRequest,
    StatusRequest,
    SwitchoverRequest,
    SwitchoverWaitRequest,
)
from ovpnha.runtime.driver import Driver
from tests.unit.runtime.change import change

AWAY = Problem(ProblemKind.SERVER_DOWN, "OpenVPN is away")


def config_of(*names: str) -> Config:
    instances = [{"name": name, "management": f"/run/{name}.sock"} for name in names]
    return Config.model_validate({"cluster": {"name": "x", "node": "a"}, "instance": instances})


@pytest.fixture
def make(driver: Driver) -> Callable[..., Commands]:
    def build(*names: str) -> Commands:
        return Commands(config_of(*names), driver)

    return build


@pytest.fixture
def driver_of() -> Callable[[Commands], Driver]:
    return lambda commands: commands._driver


async def say(commands: Commands, request: Request) -> Any:
    """The answer, as JSON."""
    return to_plain(await commands.answer(request))


def be(core: Any, role: Role, **changes: Any) -> None:
    changes = {f"last_promotion_{name}": value for name, value in changes.items()}
    one = change(core.snapshot.instances[0], role=role, **changes)
    core.snapshot = replace(core.snapshot, instances=(one,))


def know(core: Any, **changes: Any) -> None:
    one = change(core.snapshot.instances[0], **changes)
    core.snapshot = replace(core.snapshot, instances=(one,))


async def test_status(make: Callable[..., Commands]) -> None:
    assert (await say(make("udp"), StatusRequest()))["status"]["node"] == "a"


async def test_promote_waits_for_the_role(make: Callable[..., Commands], core: Any) -> None:
    be(core, Role.STANDBY)
    core.reactions["ask_promote"] = lambda: core.become(Role.MASTER)
    answer = await say(make("udp"), PromoteRequest(expect_vip=0.5))
    assert answer == {"instance": "udp", "role": "master", "epoch": "7/a"}
    assert core.notes == [("ask_promote", "udp", 0.5)]


async def test_who_promotes_may_overrule_the_fence(
    make: Callable[..., Commands], core: Any
) -> None:
    be(core, Role.STANDBY)
    core.reactions["ask_promote"] = lambda: core.become(Role.MASTER)
    await say(make("udp"), PromoteRequest(expect_vip=0.5, unfenced=True))
    assert core.notes == [("ask_promote", "udp", 0.5, "unfenced")]


async def test_a_node_in_fault_is_not_promoted(make: Callable[..., Commands], core: Any) -> None:
    one = change(core.snapshot.instances[0], role=Role.STANDBY, grade=Grade.FAULT)
    one = change(one, grade_reason="certificate differs from node b's")
    core.snapshot = replace(core.snapshot, instances=(one,))
    with pytest.raises(ControlError, match="certificate differs from node b's; fix that first"):
        await say(make("udp"), PromoteRequest(expect_vip=0.5))
    assert core.notes == []


async def test_no_promotion_before_a_vip_of_ipv6(make: Callable[..., Commands], core: Any) -> None:
    be(core, Role.STANDBY)
    core.promises = False
    with pytest.raises(ControlError, match="not before the VIP is here: it is of IPv6"):
        await say(make("udp"), PromoteRequest(expect_vip=0.5))


@pytest.mark.parametrize(
    ("role", "problems", "told"),
    [
        (Role.STANDBY, (), "udp: still standby after 0.05 s: master; see the log"),
        (Role.INIT, (AWAY,), "udp: still init after 0.05 s: OpenVPN is away; see"),
        (Role.MASTER, (), "udp: still master after 0.05 s: OpenVPN has not confirmed it"),
    ],
)
async def test_a_promotion_that_does_not_come(
    make: Callable[..., Commands],
    core: Any,
    monkeypatch: pytest.MonkeyPatch,
    role: Role,
    problems: tuple[Problem, ...],
    told: str,
) -> None:
    monkeypatch.setattr(commands_module, "PROMOTE_TIMEOUT", 0.05)
    be(core, Role.STANDBY, phases={})
    know(core, problems=problems)
    core.reactions["ask_promote"] = lambda: core.become(role)
    with pytest.raises(ControlError, match=told):
        await say(make("udp"), PromoteRequest())


async def test_promote_waits_for_openvpn(
    make: Callable[..., Commands], core: Any, driver_of: Callable[[Commands], Driver]
) -> None:
    be(core, Role.STANDBY, phases={})
    core.reactions["ask_promote"] = lambda: core.become(Role.MASTER)
    commands = make("udp")
    task = asyncio.ensure_future(say(commands, PromoteRequest()))
    await asyncio.sleep(0)
    assert not task.done()
    be(core, Role.MASTER, phases={"promoted": 0.002})
    driver_of(commands).step(lambda _core, _now: None)
    assert (await task)["role"] == "master"


async def test_demote_waits_for_the_role(make: Callable[..., Commands], core: Any) -> None:
    be(core, Role.HELD)
    core.reactions["ask_demote"] = lambda: core.become(Role.STANDBY)
    answer = await say(make("udp"), DemoteRequest())
    assert answer["role"] == "standby"
    assert "nobody serves until one has the VIP" in answer["note"]
    (other,) = core.snapshot.instances[0].nodes
    know(core, nodes=(replace(other, role=Role.MASTER),))
    assert (await say(make("udp"), DemoteRequest()))["note"] == "as before; b is master"
    be(core, Role.HELD)
    assert (await say(make("udp"), DemoteRequest()))["note"] == "b is master"


@pytest.mark.parametrize(
    ("before", "after", "other", "told"),
    [
        (Role.MASTER, Role.MASTER, {}, "the VIP is still here. The grade has fallen"),
        (Role.MASTER, Role.MASTER, {"believed": False}, "no other node is heard that could"),
        (Role.MASTER, Role.MASTER, {"grade": -254}, "no other node is heard that could"),
        (Role.MASTER, Role.HELD, {}, "no other node is known to serve with this one.s clients"),
        (Role.MASTER, Role.FAULT, {}, "still fault after 0.05 s: master; see the log"),
    ],
)
async def test_a_demote_that_nobody_follows_says_what_to_do(
    make: Callable[..., Commands],
    core: Any,
    monkeypatch: pytest.MonkeyPatch,
    before: Role,
    after: Role,
    other: dict[str, Any],
    told: str,
) -> None:
    monkeypatch.setattr(commands_module, "DEMOTE_TIMEOUT", 0.05)
    be(core, before)
    know(core, nodes=tuple(replace(one, **other) for one in core.snapshot.instances[0].nodes))
    core.reactions["ask_demote"] = lambda: core.become(after)
    with pytest.raises(ControlError, match=told):
        await say(make("udp"), DemoteRequest())


@pytest.mark.parametrize("role", [Role.FAULT, Role.INIT])
async def test_who_has_no_role_cannot_give_it_up(
    make: Callable[..., Commands], core: Any, role: Role
) -> None:
    be(core, role)
    with pytest.raises(ControlError, match=f"udp: has no role to give up, it is {role.value}"):
        await say(make("udp"), DemoteRequest())
    assert not core.notes


UIDS = (Uid(bytes.fromhex("00112233445566ff")), Uid(bytes.fromhex("ff112233445566ff")))


async def test_guard_asks_about_this_node_or_the_others(
    make: Callable[..., Commands], core: Any
) -> None:
    be(core, Role.STANDBY)
    free = await say(make("udp"), GuardRequest())
    assert (free["instance"], free["code"]) == ("udp", 0)
    for to in (None, "c"):
        stay = await say(make("udp"), GuardRequest(leave=True, to=to))
        assert (stay["code"], stay["text"]) == (3, "stay: no better node is heard")


async def test_renegotiate(make: Callable[..., Commands], core: Any) -> None:
    core.tabled = (ClientView(UIDS[0], None), ClientView(UIDS[1], 2.5))
    request = RenegotiateRequest(uid="00112233445566ff", rate=5.0)
    assert (await say(make("udp"), request)) == {"instance": "udp", "clients": 1}
    assert (await say(make("udp"), RenegotiateRequest()))["clients"] == 2
    assert core.notes == [
        ("ask_renegotiate", "udp", UIDS[0], 5.0),
        ("ask_renegotiate", "udp", None, 50.0),
    ]
    be(core, Role.STANDBY)
    with pytest.raises(ControlError, match="not master here"):
        await say(make("udp"), RenegotiateRequest())


async def test_renegotiate_of_nobody(make: Callable[..., Commands], core: Any) -> None:
    told = "udp: no client has the uid 00112233445566ff; see: ovpnha clients"
    with pytest.raises(ControlError, match=told):
        await say(make("udp"), RenegotiateRequest(uid="00112233445566ff"))
    assert not core.notes


ALICE = ServerClient(
    "alice", "UNDEF", "192.0.2.1:5000", "10.8.0.2", "1790000000", 10, 20, "2001:db8::2", 0
)


async def test_clients(make: Callable[..., Commands], core: Any) -> None:
    told = Roster(
        1,
        (
            ConnectedClient(UIDS[0], ALICE, 2.5, moved=True, origin=NodeName("b")),
            ConnectedClient(None, replace(ALICE, since="?"), None, moved=False, origin=None),
        ),
    )
    core.reactions["ask_clients"] = lambda: setattr(core, "told", told)
    answer = await say(make("udp"), ClientsRequest())
    assert (answer["instance"], answer["role"]) == ("udp", "master")
    first, second = answer["clients"]
    assert first == {
        "uid": "00112233445566ff",
        "name": "alice",
        "user": "",
        "address": "192.0.2.1:5000",
        "virtual": ["10.8.0.2", "2001:db8::2"],
        "since": 1790000000,
        "received": 10,
        "sent": 20,
        "unprotected": 2.5,
        "moved": True,
        "origin": "b",
    }
    assert (second["uid"], second["since"], second["origin"]) == (None, None, None)


async def test_clients_of_an_openvpn_that_is_down_or_mute(
    make: Callable[..., Commands], core: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ovpnha.runtime.commands.CLIENTS_TIMEOUT", 0.01)
    with pytest.raises(ControlError, match="OpenVPN does not answer"):
        await say(make("udp"), ClientsRequest())
    one = core.snapshot.instances[0]
    core.snapshot = replace(core.snapshot, instances=(change(one, management_up=False),))
    with pytest.raises(ControlError, match="OpenVPN is down"):
        await say(make("udp"), ClientsRequest())


async def test_the_instance_is_named_when_there_are_several(
    make: Callable[..., Commands],
) -> None:
    commands = make("udp", "udp6")
    with pytest.raises(ControlError, match="name one with --instance: udp, udp6"):
        await commands.answer(DemoteRequest())
    with pytest.raises(ControlError, match="there is no instance tcp; there are: udp, udp6"):
        await commands.answer(DemoteRequest(instance="tcp"))


async def test_a_pause_concerns_all_or_one(make: Callable[..., Commands], core: Any) -> None:
    core.ask_pause = lambda *asked: core.notes.append(("pause", *asked[:-1]))
    core.ask_resume = lambda *asked: core.notes.append(("resume", *asked[:-1]))
    answer = await say(make("udp"), PauseRequest(seconds=90.0))
    assert answer == {"instances": ["udp"], "seconds": 90.0}
    know(core, paused_for=80.0)
    answer = await say(make("udp"), ResumeRequest(instance="udp"))
    assert answer == {"instances": ["udp"], "paused": ["udp"]}
    assert core.notes == [("pause", "udp", 90.0), ("resume", "udp")]


@pytest.mark.parametrize("request_", [PromoteRequest(), DemoteRequest()])
async def test_a_paused_node_is_not_asked_to_act(
    make: Callable[..., Commands], core: Any, request_: Any
) -> None:
    be(core, Role.STANDBY)
    know(core, paused_for=80.0)
    with pytest.raises(ControlError, match="paused and does not act; ovpnha resume first"):
        await say(make("udp"), request_)
    assert core.notes == []


async def test_a_switchover_is_asked_of_the_core(make: Callable[..., Commands], core: Any) -> None:
    core.plan_switchover = lambda *_: SwitchPlan(NodeName("a"), NodeName("b"))
    answer = await say(make("udp"), SwitchoverRequest(dry_run=True))
    assert (answer["master"], answer["target"], len(answer["steps"])) == ("a", "b", 4)
    core.switchover = lambda *_: None
    with pytest.raises(ControlError, match="another switchover"):
        await say(make("udp"), SwitchoverWaitRequest(id="00" * 8, phase="wished"))


async def test_a_copy_is_fetched_anew(make: Callable[..., Commands], core: Any) -> None:
    be(core, Role.STANDBY)
    know(core, sync=Sync.IN_SYNC, following=NodeName("b"))
    core.ask_resync = lambda *_: True
    answer = await say(make("udp"), ResyncRequest())
    assert answer == {"instance": "udp", "clients": 3, "master": "b"}


@pytest.mark.parametrize(
    ("role", "why"), [(Role.MASTER, "is master, no standby"), (Role.STANDBY, "may be needed")]
)
async def test_a_copy_that_may_be_needed_is_kept(
    make: Callable[..., Commands], core: Any, role: Role, why: str
) -> None:
    be(core, role)
    core.ask_resync = lambda *_: False
    with pytest.raises(ControlError, match=why):
        await say(make("udp"), ResyncRequest())


async def test_a_node_that_is_promoted_meanwhile_fetches_nothing(
    make: Callable[..., Commands], core: Any
) -> None:
    be(core, Role.STANDBY)
    know(core, sync=Sync.SYNCING)

    def promote(*_: object) -> bool:
        be(core, Role.MASTER)
        know(core, sync=Sync.NONE)
        return True

    core.ask_resync = promote
    with pytest.raises(ControlError, match="is master now, and was not in sync again before"):
        await say(make("udp"), ResyncRequest())


async def test_a_copy_that_takes_long_is_told(
    make: Callable[..., Commands], core: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands_module, "RESYNC_TIMEOUT", 0.05)
    be(core, Role.STANDBY)
    know(core, sync=Sync.SYNCING)
    core.ask_resync = lambda *_: True
    with pytest.raises(ControlError, match="0 clients are copied so far"):
        await say(make("udp"), ResyncRequest())
