"""What the daemon answers to ``ovpnha switchover``: how far it is, and why it has failed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ovpnha.model import InstanceName, NodeName, SwitchReason
from ovpnha.node.cluster.obstacles import Obstacle, SwitchPlan
from ovpnha.node.cluster.switchover import SwitchFigures
from ovpnha.runtime.control import ControlError, SwitchoverRequest, SwitchoverWaitRequest
from ovpnha.runtime.driver import Driver
from ovpnha.runtime.switching import TEXTS, Switching, describe_steps

A, B, UDP = NodeName("a"), NodeName("b"), InstanceName("udp")
NUMBER = b"request!"
PLAN = SwitchPlan(A, B)


@pytest.fixture
def switching(core: Any, driver: Driver) -> Switching:
    core.plan = PLAN
    core.figures = SwitchFigures(NUMBER, "wished", "", A, B)
    core.plan_switchover = lambda _name, _target, _now: core.plan
    core.ask_switchover = lambda *asked: core.notes.append(asked[:-1])
    core.switchover = lambda _name, number: core.figures if number == NUMBER else None
    return Switching(driver, lambda size: NUMBER[:size])


def wait_for(phase: str, number: bytes = NUMBER) -> SwitchoverWaitRequest:
    return SwitchoverWaitRequest(id=number.hex(), phase=phase)


async def test_it_is_begun_and_told(switching: Switching, core: Any) -> None:
    answer = switching.begin(UDP, SwitchoverRequest(to="b", within=3.0))
    assert core.notes[-1] == (UDP, NUMBER, B, 3.0)
    assert (answer.id, answer.phase, answer.target) == (NUMBER, "wished", B)
    assert answer.obstacles == ()


async def test_a_dry_run_begins_nothing(switching: Switching, core: Any) -> None:
    answer = switching.begin(UDP, SwitchoverRequest(dry_run=True))
    assert core.notes == []
    assert (answer.id, len(answer.steps)) == (b"", 4)


async def test_what_stands_against_it_begins_nothing(switching: Switching, core: Any) -> None:
    why = Obstacle(SwitchReason.NOT_IN_SYNC, "b: is not in sync")
    core.plan = SwitchPlan(A, B, obstacles=(why,))
    answer = switching.begin(UDP, SwitchoverRequest())
    assert (core.notes, answer.obstacles) == ([], ("b: is not in sync",))


async def test_news_are_told_at_once(switching: Switching, core: Any, driver: Driver) -> None:
    waiting = asyncio.create_task(switching.wait(UDP, wait_for("wished")))
    await asyncio.sleep(0)
    core.figures = SwitchFigures(NUMBER, "done", "", A, B, {"frozen": 0.01})
    driver.step(lambda _core, _now: None)
    answer = await waiting
    assert (answer.phase, answer.times) == ("done", {"frozen": 0.01})


async def test_no_news_are_told_after_a_while(
    switching: Switching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ovpnha.runtime.switching.WAIT", 0.01)
    assert (await switching.wait(UDP, wait_for("wished"))).phase == "wished"


async def test_why_it_failed_is_told_in_words(switching: Switching, core: Any) -> None:
    core.figures = SwitchFigures(NUMBER, "failed", "not_moved", A, B)
    answer = await switching.wait(UDP, wait_for("moving"))
    assert "a serves on as before" in answer.text
    core.figures = SwitchFigures(NUMBER, "failed", "other", A, B)
    assert "does not know" in (await switching.wait(UDP, wait_for("moving"))).text


async def test_who_asks_for_another_is_told(switching: Switching) -> None:
    with pytest.raises(ControlError, match="another switchover was asked for"):
        await switching.wait(UDP, wait_for("moving", b"otherone"))


def test_every_reason_has_its_words() -> None:
    named = {one.name.lower() for one in SwitchReason} - {"none", "other"}
    assert set(TEXTS) == named
    assert not any("\n" in text.format(master="a", target="b") for text in TEXTS.values())


@pytest.mark.parametrize(
    "plan", [SwitchPlan(A, A), SwitchPlan(A, NodeName("")), SwitchPlan(NodeName(""), B)]
)
def test_what_cannot_be_done_has_no_steps(plan: SwitchPlan) -> None:
    assert describe_steps(plan, 10.0) == ()
