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
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import typer

from ovpnha.cli.common import ANSWER_TIMEOUT
from ovpnha.cli.restartcancel import cancel, cancelled
from ovpnha.cli.restartfarewell import ForcedRestart
from ovpnha.cli.restartlook import (
    GONE,
    copy_of,
    end_waiting,
    find_instance,
    find_reloaded,
    find_section,
    find_vain,
    goes_on,
    has_come,
    is_heard,
    is_lent,
    is_moving,
    is_new,
    is_spare_lent,
    is_unreached,
    may_serve,
    place_of,
    say_left,
    say_serving,
)
from ovpnha.cli.signals import handling
from ovpnha.config import Config
from ovpnha.machines import Process, SparePolicy
from ovpnha.runtime.control import ControlError, ask
from ovpnha.runtime.restartlock import alone
from ovpnha.runtime.restartrequest import (
    ABSENT,
    CRITICAL,
    DONE,
    MASTER,
    STANDBY,
    RestartAnswer,
    RestartRequest,
    Step,
    is_done,
    is_master,
    is_over,
)
from ovpnha.runtime.restartunits import OtherUnits, UnitError

WATCH = 3.0
"""Seconds for which the process that was there before stays, in case the new one dies."""
FOUND_WITHIN = 3.0
"""Seconds in which a sidecar that has just begun has found a process that answers."""
FAILED_PHASE = "failed"
NOT_NEW = "the process that serves is one that was there before: nothing was started anew"
CHANGED = "another process serves than before, or a move is under way: nothing is forced"
FORGOTTEN = "the sidecar was started anew meanwhile, and knows nothing of this move"


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
        self._name = find_instance(config, instance)
        self.first = self._await_settled()
        self._name = self.first.instance
        self._units = OtherUnits(find_section(config, self.first.instance))
        self._note(self.first)
        self._tried: Process | None = None  # the last one that was started with what is on trial
        self._passed, self._failure = False, ""  # what is on trial; why not, as far as it is known
        self.served = False  # a new process has served for a while

    def _note(self, told: RestartAnswer) -> None:
        """What there is before anything is begun."""
        self.first, self._reloaded = told, find_reloaded(told)
        self.strangers = self._find_strangers() if self._start else ()
        vain = find_vain(told, self._reloaded, self._units.name(told.serving))
        obstacles = (*self.strangers, *vain, *told.obstacles)
        self.first = replace(told, obstacles=obstacles)

    def _find_strangers(self) -> tuple[str, ...]:
        """Processes that are not their units', which would be stopped, or started beside them."""
        first = self.first
        there = [one for one in Process if place_of(first, one) != ABSENT]
        try:
            return self._units.find_strangers({one: first.pids.get(one, 0) for one in there})
        except UnitError as error:
            return (str(error),)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """No other restart of this instance goes on meanwhile; ControlError when one does.

        One that went on until now has changed what there is, so that is looked at again.
        """
        with alone(self._control, self.first.instance, self._say) as known:
            if known and is_moving(self.first):  # who has asked for it was killed
                cancel(self._control, self._name)
            self._note(self._await_settled())
            yield

    def run(self, *, back: bool) -> RestartAnswer:
        """All of it; the outcome of the last move that was tried."""
        with self._trial(), cancelled(self._control, self._name):
            if not is_master(self.first):
                return self._judge(self._renew_both(self.first))
            told = self._move(self.first)
            self.served = is_done(told) or has_come(self.first, told, starts=self._start)
            told = self._judge(self._watch(told))
            if back and self._passed:
                if self._start:
                    self._units.keep()  # whatever becomes of the way back
                told = self._move_back(told)
        if not self._passed:
            return told
        always = told.policy is SparePolicy.ALWAYS
        if not back and (always or not self._start or told.serving is Process.SPARE):
            self._renew(told.serving.other)
        if self._start and is_lent(told) and is_done(told):
            self._units.stop_spare()
        return told

    def force(self) -> RestartAnswer:
        """Stop and start it, so that clients reconnect; the outcome.

        Raises:
            ControlError: Another process serves than before, or a move is under way.
        """
        before = self._await_word() if is_master(self.first) else self._look()
        if is_moving(before) or (is_master(before) and not goes_on(self.first, before)):
            raise ControlError(CHANGED)
        try:
            with self._trial():
                self._tried = Process.MAIN
                told = self._judge(self._start_main(before))
        finally:
            if before.policy is SparePolicy.ALWAYS:
                with self._telling_both():
                    self._units.start(Process.SPARE)
        return replace(told, obstacles=())  # it was begun all the same

    def is_as_before(self) -> bool:
        """Whether the process that served goes on, and no move is under way: nothing has come."""
        return goes_on(self.first, self._look())

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
        self._passed, self._failure = False, ""
        try:
            if self._start:  # before any process ends, which systemd starts anew at once
                if program := self._units.take_back_cut_off():
                    self._say(f"an earlier restart with {program} was cut off: it is taken back")
                self._units.use(self._binary)
            yield
        except (UnitError, ControlError, KeyboardInterrupt) as error:
            self._failure = str(error) or "was ended"
            raise
        finally:
            if self._start and self._passed:
                self._units.keep()
            elif self._start:
                ignored = handling(signal.SIG_IGN, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
                with ignored, self._telling_both():
                    self._call_off()

    def _judge(self, told: RestartAnswer) -> RestartAnswer:
        """Whether what is on trial has passed, and why not."""
        self._passed, self._failure = is_done(told), "" if is_done(told) else told.reason
        return told

    @contextlib.contextmanager
    def _telling_both(self) -> Iterator[None]:
        """What goes wrong on the way back does not hide what went wrong before."""
        try:
            yield
        except UnitError as error:
            known = self._failure in str(error)
            self._failure = str(error) if known else f"{self._failure}; {error}"
            raise type(error)(self._failure) from None

    def _call_off(self) -> None:
        """The programs are those from before, in the units, and where a process does not serve.

        A spare that is there for this restart only is stopped, whatever it runs.
        """
        tried, changed = self._tried, self._units.take_back()
        lent = tried is Process.SPARE and is_spare_lent(self.first)
        if tried is None or not (changed or lent):
            return
        try:
            answer = self._settle(tried)
            may, serves = may_serve(answer, tried), is_master(answer)
        except ControlError:  # to end one that may serve would be worse
            may, serves = True, False
        if may:
            unit = self._units.name(tried)
            self._say(say_left(tried, unit, changed=changed, serves=serves))
        else:
            (self._units.stop_spare(wait=False) if lent else self._units.renew(tried))

    def _settle(self, process: Process) -> RestartAnswer:
        """What there is when no move makes this process serve in the next moment."""
        answer = self._await_word()
        if is_moving(answer) and answer.serving is not process:
            self._renew(process)  # which is refused when it is about to serve
            answer = self._await_word()
        return answer

    def _await_word(self) -> RestartAnswer:
        """What there is, of a sidecar that has had time to find who serves."""
        end, answer = time.monotonic() + FOUND_WITHIN, self._look()
        while answer.phase in CRITICAL or (not is_heard(answer) and time.monotonic() < end):
            answer = self._wait(answer)
        return answer

    def _await_settled(self) -> RestartAnswer:
        """What there is, once the sidecar knows which process serves."""
        end, answer = time.monotonic() + FOUND_WITHIN, self._look()
        while not answer.settled and time.monotonic() < end:
            answer = self._wait(answer)
        return answer

    # Where clients are served.

    def _move(self, told: RestartAnswer) -> RestartAnswer:
        """To the other process, which is started anew for it."""
        other = told.serving.other
        self._begin(told, other)
        self._say(f"the {other} process gets every client")
        answer = self._step("move")
        said = ""
        while not is_over(answer):
            if not answer.phase:
                return replace(answer, phase=FAILED_PHASE, reason=FORGOTTEN)
            if answer.reason and answer.reason != said:
                self._say(answer.reason)
            said = answer.reason
            answer = self._wait(answer)
        if is_done(answer) and not is_new(answer, told, answer.serving, starts=self._start):
            return replace(answer, phase=FAILED_PHASE, reason=NOT_NEW)
        if is_done(answer):
            self._say(f"the {answer.serving} process serves, after {answer.seconds:.1f} s")
        return answer

    def _move_back(self, told: RestartAnswer) -> RestartAnswer:
        """Done without it, too, as long as the new process serves on: it has the role, then."""
        moved = self._move(told)
        if is_done(moved):
            moved = self._judge(self._watch(moved))
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
        self._begin(told, process)
        if process is self._reloaded:  # it is started when that is over
            return replace(told, phase=DONE, reason="")
        return self._await_anew(told, process, {STANDBY})

    def _await_anew(self, told: RestartAnswer, process: Process, places: set[str]) -> RestartAnswer:
        """See that it is another one than before, and has what the one beside it has."""
        end, answer = time.monotonic() + self._within, told
        while True:
            answer = self._wait(answer)
            place = answer.places.get(process, ABSENT)
            anew = place in places and is_new(answer, told, process, starts=self._start)
            if anew and copy_of(answer, process) >= copy_of(answer, process.other):
                return replace(answer, phase=DONE, reason="")
            if time.monotonic() >= end:
                why = f"come up anew: {answer.problems.get(process) or f'it is {place}'}"
                reason = f"the {process} process has not {'come in sync' if anew else why}"
                return replace(answer, phase=FAILED_PHASE, reason=reason)

    # By force.

    def _start_main(self, told: RestartAnswer) -> RestartAnswer:
        """End both, start the usual one, and see that it is another one."""
        try:
            ForcedRestart(self._step, self._say).restart(self._units, told)
        except UnitError as error:
            return replace(self._look(), phase=FAILED_PHASE, reason=str(error))
        told = self._await_anew(told, Process.MAIN, {STANDBY, MASTER})
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
        unreached = is_unreached(told, self._renew(process), process)
        if self._start and unreached and process is not self._reloaded:
            self._units.renew(process)  # it may run, for all that
        elif self._start:
            self._units.start(process)

    def _renew(self, process: Process) -> RestartAnswer:
        """Have a process end that does not serve, for another one to be started; what there is."""
        answer = self._step("renew", one=process)
        if answer.waiting:
            end_waiting(answer.waiting)
        return answer

    def _look(self) -> RestartAnswer:
        return self._step("look")

    def _wait(self, known: RestartAnswer) -> RestartAnswer:
        """What there is when that changes, or after a second."""
        return self._step("wait", known.known)

    def _step(self, step: Step, known: str = "", one: Process | None = None) -> RestartAnswer:
        request = RestartRequest(
            instance=self._name, step=step, process=one, within=self._within, known=known
        )
        return ask(self._control, request, RestartAnswer, ANSWER_TIMEOUT)

    def _say(self, text: str) -> None:
        typer.echo(f"{self._name}: {text}", err=True)
