"""What the daemon answers to ``ovpnha restart-openvpn``, step by step."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from ovpnha.machines import Process, SparePolicy
from ovpnha.model import Descriptors, Grade, InstanceName, Role
from ovpnha.node import moving
from ovpnha.node.master.farewell import FarewellFigures
from ovpnha.node.moving import OVER, MovePhase, RestartFigures
from ovpnha.node.pair import Pair
from ovpnha.node.statistics import ProcessFigures, SpareFigures
from ovpnha.runtime import restarting, restartrequest
from ovpnha.runtime.control import ControlError
from ovpnha.runtime.driver import Driver, Ports
from ovpnha.runtime.restarting import Restarting
from ovpnha.runtime.restartrequest import ENDED, RestartRequest, is_done, is_over

UDP = InstanceName("udp")
MASTER = ProcessFigures("master", descriptors=Descriptors.OWN)
STANDBY = ProcessFigures("standby", descriptors=Descriptors.TAKEN)


class FakePair(Pair):
    """Says what it is told to say, and notes what it is asked."""

    def __init__(self) -> None:
        self.told: RestartFigures | None = RestartFigures(
            SpareFigures(Process.MAIN, MASTER, STANDBY), (), settled=True
        )
        self.asked: list[tuple[Any, ...]] = []
        self.retires = True
        self.whole = SimpleNamespace(name=UDP, nodes=())
        self.last: tuple[Any, ...] = ()

    def restart_figures(self, instance: InstanceName, now: float) -> RestartFigures | None:
        self.last = instance, now
        return self.told

    def ask_restart(self, instance: InstanceName, number: bytes, within: float, now: float) -> None:
        self.last = instance, now
        self.asked.append((number, within))

    def ask_cancel(self, instance: InstanceName, now: float) -> None:
        self.last = instance, now
        self.asked.append(("cancel",))

    def ask_retire(self, instance: InstanceName, process: Process, now: float) -> bool:
        self.last = instance, now
        self.asked.append((process,))
        return self.retires

    def ask_farewell(self, instance: InstanceName, now: float, *, on: bool) -> None:
        self.last = instance, now
        self.asked.append(("farewell", on))

    def next_output(self) -> None:
        return None

    def get_timer(self) -> None:
        return None

    def become(self, **other: Any) -> None:
        """The other process is another one."""
        assert self.told is not None
        figures = replace(self.told.figures, spare=replace(STANDBY, **other))
        self.told = replace(self.told, figures=figures)


@pytest.fixture
def pair() -> FakePair:
    return FakePair()


@pytest.fixture
def driven(pair: FakePair) -> Driver:
    def nothing(*_: Any) -> None:
        return None

    return Driver(pair, Ports(nothing, nothing, nothing, nothing, nothing, nothing))


@pytest.fixture
def steps(driven: Driver) -> Restarting:
    policies = {UDP: SparePolicy.ALWAYS}
    return Restarting(policies, driven, lambda _name, _which: 77, lambda size: b"r" * size)


async def test_it_says_what_there_is(steps: Restarting, pair: FakePair) -> None:
    told = await steps.answer(UDP, RestartRequest())
    assert (told.policy, told.serving, told.obstacles) == (SparePolicy.ALWAYS, Process.MAIN, ())
    assert told.places == {"main": "master", "spare": "standby"}
    assert told.copies == {"main": "none", "spare": "none"}
    assert (told.waiting, told.phase, is_over(told)) == (0, "", False)
    pair.become(place="waiting")
    assert (await steps.answer(UDP, RestartRequest())).waiting == 77


async def test_a_move_is_asked_for(steps: Restarting, pair: FakePair) -> None:
    await steps.answer(UDP, RestartRequest(step="move", within=3.0))
    assert pair.asked == [(b"r" * 8, 3.0)]


@pytest.mark.parametrize("done", [True, False])
async def test_clients_are_told_and_it_says_how_many(
    steps: Restarting, pair: FakePair, monkeypatch: pytest.MonkeyPatch, done: bool
) -> None:
    monkeypatch.setattr(restarting, "TELLING_WAIT", 0.01)
    monkeypatch.setattr(Driver, "statistics", lambda _: SimpleNamespace(instances=(pair.whole,)))
    assert pair.told is not None
    pair.told = replace(pair.told, farewell=FarewellFigures(True, 9, 4, done))
    answer = await steps.answer(UDP, RestartRequest(step="farewell"))
    assert (answer.clients, answer.told, answer.telling, answer.parted) == (9, 4, not done, done)
    await steps.answer(UDP, RestartRequest(step="stay"))
    assert pair.asked == [("farewell", True), ("farewell", False)]


async def test_nobody_is_told_whom_another_machine_goes_on_with(
    steps: Restarting, pair: FakePair, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = SimpleNamespace(
        believed=True, has_instance=True, role=Role.STANDBY, grade=Grade.IN_SYNC
    )
    pair.whole = SimpleNamespace(name=UDP, nodes=(other,))
    monkeypatch.setattr(Driver, "statistics", lambda _: SimpleNamespace(instances=(pair.whole,)))
    answer = await steps.answer(UDP, RestartRequest(step="farewell"))
    assert (answer.telling, answer.parted, pair.asked) == (False, True, [])


async def test_a_move_that_is_not_wanted_any_more_is_given_up(
    steps: Restarting, pair: FakePair
) -> None:
    told = await steps.answer(UDP, RestartRequest(step="cancel"))
    assert (pair.asked, told.serving) == ([("cancel",)], Process.MAIN)


async def test_who_has_one_process_only_is_told(steps: Restarting, pair: FakePair) -> None:
    pair.told = None
    with pytest.raises(ControlError, match="set spare = "):
        await steps.answer(UDP, RestartRequest())


async def test_nor_is_one_that_nobody_wants_moved_to(driven: Driver) -> None:
    steps = Restarting({UDP: SparePolicy.NEVER}, driven, lambda _name, _which: 77)
    with pytest.raises(ControlError, match="set spare = "):
        await steps.answer(UDP, RestartRequest())


async def test_the_one_that_is_named_is_ended(
    steps: Restarting, pair: FakePair, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pair.told is not None
    figures = replace(pair.told.figures, main=replace(MASTER, place="standby"))
    pair.told = replace(pair.told, figures=figures)
    monkeypatch.setattr(restarting, "GONE_WITHIN", 0.01)
    with pytest.raises(ControlError, match="the main process was told to end"):
        await steps.answer(UDP, RestartRequest(step="renew", process=Process.MAIN))
    assert pair.asked == [(Process.MAIN,)]
    assert (await steps.answer(UDP, RestartRequest())).pids == {"main": 77, "spare": 77}


async def test_clients_that_are_kept_stand_against_it(steps: Restarting, pair: FakePair) -> None:
    assert pair.told is not None
    figures = replace(pair.told.figures, main=replace(MASTER, place="held"))
    pair.told = replace(pair.told, figures=figures)
    (line,) = (await steps.answer(UDP, RestartRequest())).obstacles
    assert line.startswith("OpenVPN keeps clients")


@pytest.mark.parametrize("place", ["absent", "waiting", "silent"])
async def test_nobody_is_told_to_end_who_has_no_client(
    steps: Restarting, pair: FakePair, place: str
) -> None:
    pair.become(place=place)
    await steps.answer(UDP, RestartRequest(step="renew"))
    assert pair.asked == []


async def test_the_end_of_the_other_process_is_waited_for(
    steps: Restarting, pair: FakePair, driven: Driver
) -> None:
    renewing = asyncio.create_task(steps.answer(UDP, RestartRequest(step="renew")))
    await asyncio.sleep(0)
    assert pair.asked == [(Process.SPARE,)]
    driven.step(lambda _core, _now: None)
    await asyncio.sleep(0)
    assert not renewing.done()
    pair.become(place="absent")
    driven.step(lambda _core, _now: None)
    assert (await renewing).places["spare"] == "absent"


async def test_one_that_cannot_be_ended_or_does_not_end_is_told(
    steps: Restarting, pair: FakePair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.retires = False
    with pytest.raises(ControlError, match="cannot be ended now"):
        await steps.answer(UDP, RestartRequest(step="renew"))
    pair.retires = True
    monkeypatch.setattr(restarting, "GONE_WITHIN", 0.01)
    with pytest.raises(ControlError, match="was told to end and has not"):
        await steps.answer(UDP, RestartRequest(step="renew"))


async def test_news_are_waited_for(
    steps: Restarting, pair: FakePair, driven: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pair.told is not None
    known = (await steps.answer(UDP, RestartRequest())).known
    waiting = asyncio.create_task(steps.answer(UDP, RestartRequest(step="wait", known=known)))
    await asyncio.sleep(0)
    pair.told = replace(pair.told, phase=MovePhase.DONE, seconds=0.5)
    driven.step(lambda _core, _now: None)
    told = await waiting
    assert (is_over(told), is_done(told), told.seconds) == (True, True, 0.5)
    monkeypatch.setattr(restarting, "WAIT", 0.01)
    assert await steps.answer(UDP, RestartRequest(step="wait", known=told.known)) == told


async def test_what_no_start_does_away_with_is_told(steps: Restarting, pair: FakePair) -> None:
    assert pair.told is not None
    figures = pair.told.figures
    pair.told = replace(pair.told, phase=MovePhase.HOLDING)
    (line,) = (await steps.answer(UDP, RestartRequest())).obstacles
    assert "another restart is under way" in line
    stock = replace(MASTER, descriptors=None)
    pair.told = RestartFigures(replace(figures, main=stock), (), settled=True)
    (line,) = (await steps.answer(UDP, RestartRequest())).obstacles
    assert "does not say cluster-spare" in line
    gone = replace(MASTER, place="absent")
    pair.told = RestartFigures(replace(figures, main=gone), (), settled=True)
    (line,) = (await steps.answer(UDP, RestartRequest())).obstacles
    assert "OpenVPN is absent" in line


async def test_what_a_sidecar_says_that_has_just_begun_is_no_word_on_who_serves(
    steps: Restarting, pair: FakePair
) -> None:
    assert pair.told is not None
    idle = replace(MASTER, place="standby")
    away = replace(STANDBY, place="absent")
    figures = replace(pair.told.figures, main=idle, spare=away)
    pair.told = RestartFigures(figures, (), settled=False)
    told = await steps.answer(UDP, RestartRequest())
    assert (told.settled, told.obstacles) == (False, (restarting.UNSETTLED,))
    pair.told = RestartFigures(figures, (), settled=True)
    told = await steps.answer(UDP, RestartRequest())
    assert (told.settled, told.obstacles) == (True, ())


async def test_nor_does_it_end_one_of_which_nothing_is_known(
    steps: Restarting, pair: FakePair
) -> None:
    """One in fault may be the one that serves, and only say nothing any more."""
    pair.become(place="fault")
    assert pair.told is not None
    pair.told = replace(pair.told, settled=False)
    with pytest.raises(ControlError, match="not known yet which process serves"):
        await steps.answer(UDP, RestartRequest(step="renew"))
    assert pair.asked == []


def test_the_command_line_knows_when_a_move_is_over() -> None:
    assert {one.value for one in OVER} == ENDED
    assert {one.value for one in moving.CRITICAL} == restartrequest.CRITICAL
