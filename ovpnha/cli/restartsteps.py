"""The steps of ``ovpnha restart-openvpn``, and what is left when it ends before the last one.

Decides the order, and what is started and stopped. Whichever process has the slot serves, so it may
end after any step, by an error or by a signal, and the same command goes on from there. Another
program is on trial until it has served for a while: when it has not, the units start the one from
before again, and a process that runs what was tried and does not serve is started anew, too. Each
move is the daemon's (``ovpnha.runtime.restarting``). Rules:
docs/adr/0070-either-process-may-serve.md.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import typer

from ovpnha.cli.common import ANSWER_TIMEOUT
from ovpnha.config import Config, InstanceSection
from ovpnha.machines import Process, SparePolicy
from ovpnha.model import Sync
from ovpnha.runtime.control import ControlError, ask
from ovpnha.runtime.restartlock import alone
from ovpnha.runtime.restartrequest import (
    ABSENT,
    CRITICAL,
    DONE,
    FAULT,
    MASTER,
    STANDBY,
    RestartAnswer,
    RestartRequest,
    is_done,
    is_master,
    is_over,
)
from ovpnha.runtime.restartunits import OtherUnits, UnitError

WATCH = 3.0
"""Seconds for which the process that was there before stays, in case the new one dies."""
FAILED_PHASE = "failed"
NOT_NEW = "the process that serves is one that was there before: nothing was started anew"
FORGOTTEN = "the sidecar was started anew meanwhile, and knows nothing of this move"
GONE = frozenset({ABSENT, FAULT})
COPIES = {Sync.PARTIAL.value: 1, Sync.IN_SYNC.value: 2}
"""How much of what is followed a process has; else nothing that counts."""


class Restart:
    """One restart, from its first step to its last.

    Args:
        config: Names the instance, its units and the control socket.
        instance: Which one, or its unit; None: the only one.
        within: Seconds that a move, or a process, may take.
        start: Whether it starts and stops units.
        binary: Another program than the installed one.

    Raises:
        ControlError: The daemon does not answer, or knows no second process.
    """

    def __init__(
        self,
        config: Config,
        instance: str | None,
        within: float,
        *,
        start: bool,
        binary: Path | None,
    ) -> None:
        self._control = config.control.socket
        self._within = within
        self._start = start
        self._binary = binary
        self._name = _find_instance(config, instance)
        self.first = self._look()
        self._name = self.first.instance
        self._units = OtherUnits(_find_section(config, self.first.instance))
        self._reloaded = _find_reloaded(self.first)
        self.first = replace(self.first, obstacles=(*self._find_vain(), *self.first.obstacles))
        self._tried: Process | None = None  # the last one that was started with what is on trial
        self._passed = False
        self.served = False  # a new process has served for a while

    def _find_vain(self) -> tuple[str, ...]:
        """Why a reload can start nothing anew; nothing when it can.

        The process that goes on must be started anew for it, which systemd does only after the
        reload of its own unit.
        """
        serving = self.first.serving
        if not is_master(self.first) or self._reloaded is not serving.other:
            return ()
        reload = f"systemctl reload {self._units.name(serving)}"
        other = f"the {serving} process serves, by another unit: {reload}"
        return (f"{other}, or ovpnha restart-openvpn {self._name}",)

    def alone(self) -> contextlib.AbstractContextManager[None]:
        """No other restart of this instance goes on meanwhile; ControlError when one does."""
        return alone(self._control, self.first.instance)

    def run(self, *, back: bool) -> RestartAnswer:
        """All of it; the outcome of the last move that was tried."""
        with self._trial():
            if not is_master(self.first):
                told = self._renew_both(self.first)
                self._passed = is_done(told)
                return told
            told = self._move(self.first)
            self.served = is_done(told) or self._has_come(told)
            told = self._watch(told)
            self._passed = is_done(told)
            if back and self._passed:
                told = self._move_back(told)
        if not self._passed:
            return told
        always = told.policy is SparePolicy.ALWAYS
        if not back and (always or not self._start or told.serving is Process.SPARE):
            self._renew(told, told.serving.other)
        if self._start and is_lent(told) and is_done(told):
            self._units.stop_spare()
        return told

    def force(self) -> RestartAnswer:
        """Stop and start it, so that clients reconnect; the outcome."""
        clients = ", its clients reconnect" if is_master(self.first) else ""
        self._say(f"OpenVPN is stopped and started{clients}")
        before = self._look()
        try:
            with self._trial():
                self._tried = Process.MAIN
                told = self._start_main(before)
                self._passed = is_done(told)
        finally:
            if before.policy is SparePolicy.ALWAYS:
                self._units.start(Process.SPARE)
        return replace(told, obstacles=())  # it was begun all the same

    def is_as_before(self) -> bool:
        """Whether the process that served goes on, and no move is under way: nothing has come."""
        told = self._look()
        return told.phase not in CRITICAL and not self._has_come(told)

    def tell(self) -> str:
        """Who serves now, in words."""
        try:
            return say_serving(self._look())
        except ControlError:
            return "who serves is not known: ovpnha status says it when it answers"

    # Another program.

    @contextlib.contextmanager
    def _trial(self) -> Iterator[None]:
        """The units start what is on trial; from the end on only if it has passed."""
        self._passed = False
        try:
            if self._start:  # before any process ends, which systemd starts anew at once
                if program := self._units.take_back_cut_off():
                    self._say(f"an earlier restart with {program} was cut off: it is taken back")
                self._units.use(self._binary)
            yield
        finally:
            if self._start and self._passed:
                self._units.keep()
            elif self._start:
                with _handling(signal.SIG_IGN, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                    self._call_off()

    def _call_off(self) -> None:
        """The programs are those from before, in the units, and where a process does not serve."""
        if not self._units.take_back() or self._tried is None:
            return
        try:
            answer = self._look()
            while answer.phase in CRITICAL:
                answer = self._wait(answer)
        except ControlError:  # to end one that may serve would be worse
            self._say(f"the {self._tried} process may run what was tried: start it anew")
            return
        if is_master(answer) and answer.serving is self._tried:
            self._say(f"the {self._tried} process runs what was tried, until it is started anew")
        elif self._tried is Process.SPARE and self._is_spare_lent():
            self._units.stop_spare(wait=False)
        else:
            self._units.renew(self._tried)

    def _is_spare_lent(self) -> bool:
        """Whether the spare is there because of this restart only."""
        was = self.first.places.get(Process.SPARE, ABSENT)
        return self.first.policy is not SparePolicy.ALWAYS and was == ABSENT

    def _has_come(self, told: RestartAnswer) -> bool:
        """Whether a new process serves, also where nobody knows of the move any more."""
        new = told.pids.get(told.serving, 0) not in _numbers(self.first)
        return is_master(told) and new and told.serving is not self.first.serving

    # Where clients are served.

    def _move(self, told: RestartAnswer) -> RestartAnswer:
        """To the other process, which is started anew for it."""
        other = told.serving.other
        self._begin(told, other)
        self._say(f"the {other} process gets every client")
        answer = self._ask(RestartRequest(instance=told.instance, step="move", within=self._within))
        said = ""
        while not is_over(answer):
            if not answer.phase:
                return replace(answer, phase=FAILED_PHASE, reason=FORGOTTEN)
            if answer.reason and answer.reason != said:
                self._say(answer.reason)
            said = answer.reason
            answer = self._wait(answer)
        if is_done(answer) and answer.pids.get(answer.serving, 0) in _numbers(told):
            return replace(answer, phase=FAILED_PHASE, reason=NOT_NEW)
        if is_done(answer):
            self._say(f"the {answer.serving} process serves, after {answer.seconds:.1f} s")
        return answer

    def _move_back(self, told: RestartAnswer) -> RestartAnswer:
        """Done without it, too, as long as the new process serves on: it has the role, then."""
        moved = self._move(told)
        if is_done(moved):
            moved = self._watch(moved)
            self._passed = is_done(moved)
        elif is_master(moved) and moved.serving is told.serving:
            return replace(moved, phase=DONE)
        return moved

    def _watch(self, told: RestartAnswer) -> RestartAnswer:
        """See the new process serve for a while; failed when it does not."""
        end, answer, process = time.monotonic() + WATCH, told, told.serving
        while is_done(told) and time.monotonic() < end:
            answer = self._wait(answer)
            same = answer.pids.get(process, 0) == told.pids.get(process, 0)
            gone = answer.places.get(process, ABSENT) in GONE
            if answer.serving is not process or gone or not same:
                reason = f"the {process} process has died, see the log of OpenVPN"
                return replace(answer, phase=FAILED_PHASE, reason=reason)
        return told

    # Where none is served.

    def _renew_both(self, told: RestartAnswer) -> RestartAnswer:
        """No client is served here: each is started anew where it is, the one beside first.

        By a reload, the one of another unit: that of its own is not there again before its end.
        """
        other, answer = told.serving.other, told
        if told.policy is not SparePolicy.ALWAYS and told.places.get(other, ABSENT) == ABSENT:
            return self._renew_one(answer, told.serving)
        last = self._reloaded or told.serving
        answer = self._renew_one(told, last.other)
        return self._renew_one(answer, last) if is_done(answer) else answer

    def _renew_one(self, told: RestartAnswer, process: Process) -> RestartAnswer:
        """Start one anew, and see that it is another one, which lacks nothing."""
        before = told.pids.get(process, 0)
        self._begin(told, process)
        if process is self._reloaded:  # it is started when that is over
            return replace(told, phase=DONE, reason="")
        return self._await_anew(told, process, before, {STANDBY})

    def _await_anew(
        self, told: RestartAnswer, process: Process, before: int, places: set[str]
    ) -> RestartAnswer:
        """See that it is another one than ``before``, and has what the one beside it has."""
        end, answer = time.monotonic() + self._within, told
        while True:
            answer = self._wait(answer)
            place, pid = answer.places.get(process, ABSENT), answer.pids.get(process, 0)
            anew = place in places and (pid != before or not before)
            if anew and _copy(answer, process) >= _copy(answer, process.other):
                return replace(answer, phase=DONE, reason="")
            if time.monotonic() >= end:
                lacks = "not come in sync" if anew else f"not come up anew: it is {place}"
                reason = f"the {process} process has {lacks}"
                return replace(answer, phase=FAILED_PHASE, reason=reason)

    # By force.

    def _start_main(self, told: RestartAnswer) -> RestartAnswer:
        """End both, start the usual one, and see that it is another one."""
        before = told.pids.get(Process.MAIN, 0)
        try:
            self._units.restart(told.serving if is_master(told) else Process.MAIN)
        except UnitError as error:
            return replace(self._look(), phase=FAILED_PHASE, reason=str(error))
        told = self._await_anew(told, Process.MAIN, before, {STANDBY, MASTER})
        end = time.monotonic() + WATCH
        serves = not is_master(self.first)
        while is_done(told) and not (serves or is_master(told)) and time.monotonic() < end:
            told = replace(self._wait(told), phase=DONE, reason="")
        return told

    # One step.

    def _begin(self, told: RestartAnswer, process: Process) -> None:
        """Have it end, and another one be started."""
        self._say(f"the {process} process is started anew")
        self._tried = process
        self._renew(told, process)
        if self._start:
            self._units.start(process)

    def _renew(self, told: RestartAnswer, process: Process) -> None:
        """Have a process end that does not serve, so that another one is started."""
        request = RestartRequest(instance=told.instance, step="renew", process=process)
        answer = self._ask(request)
        if answer.waiting:  # it has no client and no socket
            with contextlib.suppress(ProcessLookupError):
                os.kill(answer.waiting, signal.SIGTERM)

    def _look(self) -> RestartAnswer:
        return self._ask(RestartRequest(instance=self._name, step="look"))

    def _wait(self, known: RestartAnswer) -> RestartAnswer:
        """What there is when that changes, or after a second."""
        return self._ask(RestartRequest(instance=known.instance, step="wait", known=known.known))

    def _ask(self, request: RestartRequest) -> RestartAnswer:
        return ask(self._control, request, RestartAnswer, ANSWER_TIMEOUT)

    def _say(self, text: str) -> None:
        typer.echo(f"{self._name}: {text}", err=True)


def is_lent(told: RestartAnswer) -> bool:
    """Whether the main process serves, which lends its role to a spare for a restart only."""
    return told.policy is SparePolicy.RESTART and told.serving is Process.MAIN


def is_reload() -> bool:
    """Whether it is a unit's reload, before whose end systemd starts no process of it anew."""
    return "MAINPID" in os.environ


def _find_reloaded(told: RestartAnswer) -> Process | None:
    """Whose unit's reload this is; None: it is none. Whoever is not known is the usual one."""
    if not is_reload():
        return None
    pid = os.environ["MAINPID"]
    known = {str(number): Process(name) for name, number in told.pids.items()}
    return known.get(pid, Process.MAIN)


def say_serving(answer: RestartAnswer, more: str = "") -> str:
    """Who serves, in words."""
    place = answer.places.get(answer.serving, ABSENT)
    moves = answer.phase and not is_over(answer)
    goes_on = ", and a move that is under way goes on" if moves else ""
    if place != MASTER:
        return f"no client is served here: the {answer.serving} process is {place}{goes_on}"
    return f"the {answer.serving} process serves{more and ' '}{more}{goes_on}"


def ended_by_signals() -> contextlib.AbstractContextManager[None]:
    """A lost terminal or SIGTERM ends it as Ctrl-C does, with all that is to be put right."""
    numbers = (signal.SIGTERM, signal.SIGHUP)
    ending = (one for one in numbers if signal.getsignal(one) is not signal.SIG_IGN)
    return _handling(signal.default_int_handler, *ending)


@contextlib.contextmanager
def _handling(
    handler: Callable[[int, FrameType | None], Any] | signal.Handlers, *numbers: signal.Signals
) -> Iterator[None]:
    before = {one: signal.signal(one, handler) for one in numbers}
    try:
        yield
    finally:
        for one, was in before.items():
            signal.signal(one, was)


def _copy(answer: RestartAnswer, process: Process) -> int:
    return COPIES.get(answer.copies.get(process, ""), 0)


def _numbers(told: RestartAnswer) -> set[int]:
    """Those of the processes that were there."""
    return {pid for pid in told.pids.values() if pid}


def _find_instance(config: Config, name: str | None) -> str | None:
    """The instance that is called so, or whose unit is."""
    units = {one.server_config.stem: one.name for one in config.instance if one.server_config}
    return name if any(one.name == name for one in config.instance) else units.get(name or "", name)


def _find_section(config: Config, name: str) -> InstanceSection:
    return next(one for one in config.instance if one.name == name)
