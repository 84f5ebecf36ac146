"""Answers the control socket: hands each wish to the core and waits, bounded, for what it leads to.

Decides when a command counts as carried out: promote when OpenVPN has said so, demote when the
core is standby. Never changes a role itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

from ovpnha.config import Config
from ovpnha.machines import Process
from ovpnha.model import Grade, InstanceName, NodeName, Role, Uid
from ovpnha.node.outputs import ConnectedClient
from ovpnha.node.statistics import InstanceStatistics
from ovpnha.runtime.answers import (
    ChecksAnswer,
    ClientsAnswer,
    DemoteAnswer,
    GuardAnswer,
    HandOverAnswer,
    HistoryAnswer,
    ListedClient,
    PauseAnswer,
    PromoteAnswer,
    RenegotiateAnswer,
    ResetAnswer,
    ResumeAnswer,
    ResyncAnswer,
    SwitchoverAnswer,
    SwitchoverWaitAnswer,
)
from ovpnha.runtime.checklist import list_checks
from ovpnha.runtime.checks import CheckRunner
from ovpnha.runtime.control import (
    ChecksRequest,
    ClientsRequest,
    ControlError,
    DemoteRequest,
    EventsRequest,
    GuardRequest,
    HandOverRequest,
    HistoryRequest,
    PauseRequest,
    PromoteRequest,
    RenegotiateRequest,
    Request,
    ResetRequest,
    ResumeRequest,
    ResyncRequest,
    StatusRequest,
    SwitchoverRequest,
    SwitchoverWaitRequest,
)
from ovpnha.runtime.driver import Core, Driver
from ovpnha.runtime.events import EventsAnswer, NodeEvent
from ovpnha.runtime.explaining import (
    is_copied,
    is_promoted,
    is_standby,
    note_of_standby,
    why_not_copied,
    why_not_demoted,
    why_not_promoted,
    why_not_resynced,
)
from ovpnha.runtime.guard import judge, judge_leaving
from ovpnha.runtime.handover import HandOver
from ovpnha.runtime.historypage import select_history
from ovpnha.runtime.restarting import Restarting
from ovpnha.runtime.restartrequest import RestartAnswer, RestartRequest
from ovpnha.runtime.status import StatusAnswer
from ovpnha.runtime.switching import Switching

PROMOTE_TIMEOUT = 5.0
CLIENTS_TIMEOUT = 10.0
RESYNC_TIMEOUT = 10.0
DEMOTE_TIMEOUT = 10.0  # a master waits until the VIP manager has moved the VIP
UNDEFINED = "UNDEF"

Answer = (
    StatusAnswer
    | PromoteAnswer
    | DemoteAnswer
    | HandOverAnswer
    | GuardAnswer
    | RenegotiateAnswer
    | ClientsAnswer
    | HistoryAnswer
    | PauseAnswer
    | ResumeAnswer
    | ResyncAnswer
    | SwitchoverAnswer
    | SwitchoverWaitAnswer
    | EventsAnswer
    | ChecksAnswer
    | ResetAnswer
    | RestartAnswer
)


class Commands:
    """``answer`` serves one request. ``find_process`` tells an OpenVPN's process id, or 0."""

    def __init__(
        self,
        config: Config,
        driver: Driver,
        find_process: Callable[[InstanceName, Process], int] = lambda _name, _which: 0,
        history_problem: Callable[[], str] = lambda: "",
        events: Callable[[float], tuple[NodeEvent, ...]] = lambda _since: (),
        checks: CheckRunner | None = None,
        restarting: Restarting | None = None,
    ) -> None:
        self._checks = checks
        self._events = events
        self._node = NodeName(config.cluster.node)
        self._history_file = str(config.history.file)
        self._history_problem = history_problem
        self._names = tuple(InstanceName(one.name) for one in config.instance)
        self._driver = driver
        self._find_process = find_process
        self._hand_over = HandOver(driver, find_process)
        self._switching = Switching(driver)
        self._restarting = restarting or Restarting({}, driver, lambda _name, _which: 0)

    async def answer(self, request: Request) -> Answer:
        """Carry the request out.

        Raises:
            ControlError: It cannot be carried out; the text is for the user.
        """
        match request:
            case StatusRequest():
                return StatusAnswer(self._driver.statistics())
            case PromoteRequest():
                return await self._promote(request)
            case DemoteRequest():
                return await self._demote(request)
            case HandOverRequest():
                leaving, alone = self._choose(request), request.pid is not None
                return await self._hand_over.leave(leaving, request.within, one_process=alone)
            case GuardRequest():
                return self._guard(request)
            case RenegotiateRequest():
                return self._renegotiate(request)
            case ClientsRequest():
                return await self._list(request)
            case EventsRequest():
                return EventsAnswer(self._events(request.since or 0.0))
            case HistoryRequest():
                name = None if request.instance is None else self._pick(request.instance)
                answer = select_history(self._node, self._driver.history(), request, name)
                return replace(answer, file=self._history_file, problem=self._history_problem())
            case PauseRequest():
                return self._pause(request)
            case ResumeRequest():
                return self._resume(request)
            case ResyncRequest():
                return await self._resync(self._pick(request.instance))
            case SwitchoverRequest():
                return self._switching.begin(self._pick(request.instance), request)
            case SwitchoverWaitRequest():
                return await self._switching.wait(self._pick(request.instance), request)
            case ChecksRequest():
                return list_checks(self._driver.statistics(), time.time())
            case ResetRequest():
                return self._reset(request)
            case RestartRequest():
                return await self._restarting.answer(self._pick(request.instance), request)

    async def _promote(self, request: PromoteRequest) -> PromoteAnswer:
        name = self._pick(request.instance)
        one = self._find(name)
        if one.role is Role.MASTER:
            return self._say(name)
        self._refuse_paused(name)
        if one.announcer.grade == Grade.FAULT:
            reason = one.announcer.grade_reason
            raise ControlError(
                f"{name}: not promoted, clients would lose their connections: {reason};"
                " fix that first, or move the VIP here: the node that has it serves"
            )
        within, taken = request.expect_vip, list[bool]()
        unfenced = request.unfenced
        self._driver.step(
            lambda core, now: taken.append(core.ask_promote(name, within, now, unfenced=unfenced))
        )
        if not all(taken):
            raise ControlError(
                f"{name}: not before the VIP is here: it is of IPv6, and clients would refuse the"
                " node that serves; move the VIP, this node is promoted when it comes, or use"
                " ovpnha switchover"
            )
        await self._until(name, is_promoted, PROMOTE_TIMEOUT, why_not_promoted)
        return self._say(name)

    async def _demote(self, request: DemoteRequest) -> DemoteAnswer:
        name = self._pick(request.instance)
        one = self._find(name)
        if one.role in {Role.FAULT, Role.INIT}:
            raise ControlError(f"{name}: has no role to give up, it is {one.role.value}")
        self._refuse_paused(name)
        self._driver.step(lambda core, now: core.ask_demote(name, now))
        await self._until(name, is_standby, DEMOTE_TIMEOUT, why_not_demoted)
        now = self._find(name)
        return DemoteAnswer(name, now.role, now.epoch, note_of_standby(one, now))

    def _guard(self, request: GuardRequest) -> GuardAnswer:
        one = self._find(self._pick(request.instance))
        if request.leave:
            return judge_leaving(one, None if request.to is None else NodeName(request.to))
        return judge(one)

    def _pause(self, request: PauseRequest) -> PauseAnswer:
        names, seconds = self._concerned(request.instance), request.seconds

        def pause(core: Core, now: float) -> None:
            for name in names:
                core.ask_pause(name, seconds, now)

        self._driver.step(pause)
        return PauseAnswer(names, seconds)

    def _resume(self, request: ResumeRequest) -> ResumeAnswer:
        names = self._concerned(request.instance)
        paused = tuple(name for name in names if self._find(name).pause.paused_for)

        def resume(core: Core, now: float) -> None:
            for name in names:
                core.ask_resume(name, now)

        self._driver.step(resume)
        return ResumeAnswer(names, paused)

    async def _resync(self, name: InstanceName) -> ResyncAnswer:
        taken: list[bool] = []
        self._driver.step(lambda core, now: taken.append(core.ask_resync(name, now)))
        if not all(taken):
            raise ControlError(f"{name}: {why_not_resynced(self._find(name))}")
        await self._until(name, is_copied, RESYNC_TIMEOUT, why_not_copied)
        one = self._find(name)
        if one.role is not Role.STANDBY:
            told = f"is {one.role.value} now, and was not in sync again before; see ovpnha status"
            raise ControlError(f"{name}: {told}")
        return ResyncAnswer(name, one.clients, one.importer.following or NodeName(""))

    def _concerned(self, instance: str | None) -> tuple[InstanceName, ...]:
        return self._names if instance is None else (self._pick(instance),)

    def _refuse_paused(self, name: InstanceName) -> None:
        """What would be forgotten by a pause is not begun in one."""
        if self._find(name).pause.paused_for:
            raise ControlError(f"{name}: this node is paused and does not act; ovpnha resume first")

    def _renegotiate(self, request: RenegotiateRequest) -> RenegotiateAnswer:
        name = self._pick(request.instance)
        if self._find(name).role is not Role.MASTER:
            raise ControlError(f"{name}: not master here; give the command on the master")
        uid = None if request.uid is None else Uid(bytes.fromhex(request.uid))
        clients = [one for one in self._driver.table(name) if uid in (None, one.uid)]
        if uid is not None and not clients:
            raise ControlError(f"{name}: no client has the uid {uid.hex()}; see: ovpnha clients")
        self._driver.step(lambda core, now: core.ask_renegotiate(name, uid, request.rate, now))
        return RenegotiateAnswer(name, len(clients))

    def _reset(self, request: ResetRequest) -> ResetAnswer:
        checks = self._checks
        known = () if checks is None else checks.names()
        if request.check is not None and request.check not in known:
            there = f"there are: {', '.join(known)}" if known else "this node has none"
            raise ControlError(f"there is no check {request.check!r}; {there}")
        return ResetAnswer(() if checks is None else checks.reset(request.check))

    async def _list(self, request: ClientsRequest) -> ClientsAnswer:
        name = self._pick(request.instance)
        before = self._driver.roster(name).answers
        self._driver.step(lambda core, now: core.ask_clients(name, now))
        await self._until(
            name,
            lambda one: not one.openvpn.management_up or self._driver.roster(name).answers > before,
            CLIENTS_TIMEOUT,
            lambda _: "OpenVPN does not answer; does a script of it hang? See its log",
        )
        one = self._find(name)
        if not one.openvpn.management_up:
            raise ControlError(f"{name}: OpenVPN is down: nobody is connected here")
        clients = tuple(map(_describe, self._driver.roster(name).clients))
        return ClientsAnswer(name, one.role, clients)

    def _choose(self, request: HandOverRequest) -> list[InstanceName]:
        """Whom a hand-over concerns; nobody, when the process is none of ours."""
        if request.instance is not None:
            return [self._pick(request.instance)]
        if request.pid is None:
            return list(self._names)
        return [name for name in self._names if self._ends(name, request.pid)]

    def _ends(self, name: InstanceName, pid: int) -> bool:
        """Whether the process that serves is about to end; of another one that is noted."""
        spare = self._find(name).spare
        for process in Process:
            if self._find_process(name, process) == pid:
                self._hand_over.note_stop(name, process)
                return process is (Process.MAIN if spare is None else spare.serving)
        return False

    def _pick(self, wanted: str | None) -> InstanceName:
        known = ", ".join(self._names)
        if wanted is None and len(self._names) == 1:
            return self._names[0]
        if wanted is None:
            raise ControlError(f"there are several instances; name one with --instance: {known}")
        if wanted not in self._names:
            raise ControlError(f"there is no instance {wanted}; there are: {known}")
        return InstanceName(wanted)

    def _find(self, name: InstanceName) -> InstanceStatistics:
        return next(one for one in self._driver.statistics().instances if one.name == name)

    def _say(self, name: InstanceName) -> PromoteAnswer:
        one = self._find(name)
        return PromoteAnswer(name, one.role, one.epoch)

    async def _until(
        self,
        name: InstanceName,
        holds: Callable[[InstanceStatistics], bool],
        seconds: float,
        explain: Callable[[InstanceStatistics], str],
    ) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not holds(self._find(name)):
                    await self._driver.next_step()
        except TimeoutError:
            one = self._find(name)
            raise ControlError(
                f"{name}: still {one.role.value} after {seconds:g} s: {explain(one)}"
            ) from None


def _describe(one: ConnectedClient) -> ListedClient:
    """One client, for the command line."""
    client = one.client
    return ListedClient(
        uid=one.uid,
        name=client.name,
        user="" if client.user == UNDEFINED else client.user,
        address=client.address,
        virtual=tuple(address for address in (client.virtual, client.virtual6) if address),
        since=int(client.since) if client.since.isdigit() else None,
        received=client.received,
        sent=client.sent,
        unprotected=one.unprotected,
        moved=one.moved,
        origin=one.origin,
    )
