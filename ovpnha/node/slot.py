"""The slot of one instance: whom the machine's VIP is for, and what the machine is meanwhile.

Carries out what ``arbiter`` and ``moving`` decide, looks at both processes after each event, and
keeps the little that no process can tell: whose the slot is, whether a process that is not
connected is dead, and what was last said of the machine. Rules: docs/roles.md, "A spare".
"""

from __future__ import annotations

from collections import deque

from ovpnha.machines import Process
from ovpnha.model import InstanceName, Role, Silence
from ovpnha.node.arbiter import ABLE, FIND, Choice, Place, Side, choose
from ovpnha.node.moving import (
    ANSWER_MAX,
    END_AFTER,
    GIVEN_UP,
    HANDSHAKES,
    NOBODY_SERVED,
    RETURN_MAX,
    Move,
    MovePhase,
    find_bustle,
    is_in_vain,
)
from ovpnha.node.node import Node
from ovpnha.node.outputs import EndProcess, LogEvent, Output
from ovpnha.node.pairproblems import Missed
from ovpnha.node.part import first
from ovpnha.node.role.reasons import BACK, BETTER, CRASHED, RESTARTED
from ovpnha.node.sides import (
    Loss,
    ProcessEnd,
    find_lack,
    pass_on,
    pass_wishes,
    place_of,
    set_silence,
    watch_other,
)
from ovpnha.node.slotview import SlotView, Wish
from ovpnha.node.voice import MachineVoice, OfMachine


class VipSlot(SlotView):
    """Of one instance."""

    def __init__(
        self,
        name: InstanceName,
        main: Node,
        spare: Node,
        outputs: deque[Output],
        now: float,
        *,
        wanted: bool = True,
        always: bool = False,
    ) -> None:
        self._wanted = wanted
        self._always = always
        self._missed = Missed()
        self._name = name
        self._cores = {Process.MAIN: main, Process.SPARE: spare}
        self._outputs = outputs
        self._started = now
        self._vip: bool | None = None
        self._slot: Process | None = None
        self._ends = {one: ProcessEnd() for one in Process}
        self._loss = Loss()
        self._move: Move | None = None
        self._wish: Wish | None = None  # asked when nobody knew of whom
        self._owed: str | None = None  # why the process that has the slot is to be told of the VIP
        self._worked = False  # the process that has the slot was able to serve
        self._seen = now
        self._voice = MachineVoice(outputs)
        self._counts = {RESTARTED: 0, CRASHED: 0}
        self._retired: set[Process] = set()  # was told to end
        spare.slot_changed(name, False, now)  # the main one speaks for both until there is another

    # What happens.

    def begin(self, process: Process, now: float) -> None:
        """A process is there."""
        self._ends[process].begin()
        if self._slot is None and process is Process.SPARE:
            self._cores[Process.MAIN].slot_changed(self._name, False, now)
        self._retired.discard(process)

    def miss(self, process: Process, *, absent: bool) -> None:
        """It cannot be connected; ``absent``: nobody has its socket open."""
        self._ends[process].miss(absent=absent)

    def leave(self, process: Process) -> None:
        """Its connection has ended."""
        self._ends[process].leave(waiting=place_of(self.parts(process)) is Place.WAITING)

    def end(self, process: Process) -> None:
        """It is dead."""
        self._ends[process].end()

    def vip_changed(self, present: bool, now: float) -> None:
        """The VIP of the machine."""
        self._vip = present
        if self._slot is not None and not self._moves:
            self._cores[self._slot].vip_changed(self._name, present, now)

    def take(self, process: Process, output: OfMachine) -> None:
        """One of the two says something that it would say of a machine."""
        if not self.used:
            self._voice.pass_on(process, output)
            return
        serving = process is self.serving or self._vip is None  # which either may tell
        self._voice.take(process, output, serving=serving)

    def ask(self, number: bytes, within: float, now: float) -> None:
        """A planned move is wanted; one that is under way goes on."""
        if self._move is None or self._move.over:
            self._move = Move(number, now, now + within)

    def cancel(self, now: float) -> None:
        """The planned move is not wanted any more; one that has begun goes on to its end."""
        if self._move is not None:
            self._move.cancel(self.parts(self.serving), now)

    def wish(self, wish: Wish, now: float) -> bool:
        """What is asked of the process that has the slot; it waits until one has it.

        Returns what ``wish`` does: the wish is taken.
        """
        if self._slot is None or self._moves or self._owed is not None:
            self._wish = wish
            return True
        return wish(self._cores[self._slot], now)

    def forget_wish(self) -> None:
        """What waits is not wanted any more."""
        self._wish = None

    def retire(self, process: Process, now: float) -> bool:
        """Have it end, unless it serves or is about to, or has clients that may still be wanted."""
        side = self._look(process)
        may = side.place in (Place.STANDBY, Place.HELD, Place.WAITING, Place.FAULT)
        if process is self.serving:
            may = may and not (self._vip or side.engaged)
        if may and not self._moves:
            self._retired.add(process)
            self._ends[process].order.tell(now)
            self.parts(process).sharing.retire()
            self.parts(process).openvpn.flush()
        return may and not self._moves

    # What follows.

    def advance(self, now: float) -> bool:
        """One thing that the situation demands; False: there is none."""
        self._seen = now
        if self._vip is None:
            return False
        if self._owed is not None and self._slot is not None:
            why, self._owed = self._owed, None
            core = self._cores[self._slot]
            core.vip_changed(self._name, self._vip, now, why)
            self._miss_again(core, now)
            core.greet(now)  # other machines may lose this one in the next moment
            return True
        if self._wish is not None and self._slot is not None and not self._moves:
            wish, self._wish = self._wish, None
            wish(self._cores[self._slot], now)
            return True
        if self._slot is Process.MAIN and not self.used:
            return False
        if self._moves or (self._move is not None and not self._move.over):
            return self._go_on(self._move, now) or self._arbitrate(now)
        return self._arbitrate(now)

    def _arbitrate(self, now: float) -> bool:
        sides = {one: self._look(one) for one in Process}
        if self._slot is not None:
            self._watch(self._slot, sides, now)
            calm = sides[self._slot].able and not self._moves
            if why := watch_other(self._ends, self._slot, self.parts, now, calm=calm):
                self._outputs.append(EndProcess(self._name, self._slot.other, why))
        choice = choose(self._slot, sides, vip=bool(self._vip), waited=now - self._started)
        if choice.why == CRASHED and self._slot in self._retired:
            choice = Choice(choice.slot, RESTARTED)
        if self._slot is not None and sides[self._slot].able:
            self._worked = True
        if choice.slot is self._slot or choice.slot is None:
            return self._share()
        move = self._move
        if move is not None and not move.over and self._slot is not None:
            if choice.why not in (CRASHED, RESTARTED):
                return self._share()
            move.enter(MovePhase.FAILED, now, "a process has ended meanwhile")
        if choice.why == CRASHED and not self._has_died():
            choice = Choice(choice.slot, BETTER)
        self._give(choice, now)
        return True

    def _has_died(self) -> bool:
        """Whether the process that has the slot was there, rather than never had the port."""
        assert self._slot is not None  # noqa: S101 - the caller has looked
        waits = place_of(self.parts(self._slot)) is Place.WAITING
        return self._ends[self._slot].seen and (self._worked or not waits)

    def _give(self, choice: Choice, now: float) -> None:
        """The slot is this process's, and with it the VIP where it is here."""
        before, self._slot = self._slot, choice.slot
        assert choice.slot is not None  # noqa: S101 - the caller has looked
        if choice.why in self._counts:
            self._counts[choice.why] += 1
        self._loss.forget()
        self._worked = False
        pass_wishes(self.parts(choice.slot.other), self.parts(choice.slot))
        loser = self._cores[choice.slot.other]
        loser.slot_changed(self._name, False, now)
        loser.vip_changed(self._name, False, now, choice.why)
        self._hand_over(choice.slot, choice.why, now)
        level = "warning" if choice.why == CRASHED else "info"
        if before is not None:
            self._log(level, "slot moved", process=choice.slot.value, reason=choice.why)
        self._voice.repeat(choice.slot)

    def _hand_over(self, process: Process, why: str, now: float) -> None:
        """The VIP goes from one to the other, which hears first what the one has to say."""
        self._cores[process].slot_changed(self._name, True, now)
        self._cores[process.other].greet(now)
        self._owed = why

    def _miss_again(self, core: Node, now: float) -> None:
        """That its process is not there counts for more, now that the VIP is its own."""
        parts = core.instance(self._name).parts
        missed = parts.discovery.unreachable
        if missed is not None and not parts.openvpn.connected:
            core.management_unreachable(self._name, missed, now)

    def _watch(self, slot: Process, sides: dict[Process, Side], now: float) -> None:
        """Whether the process that has the slot is to be ended."""
        both, parts = (sides[slot], sides[slot.other]), (self.parts(slot), self.parts(slot.other))
        if why := self._loss.watch(both, parts, self._ends[slot], now):
            self._outputs.append(EndProcess(self._name, slot, why))

    def _share(self) -> bool:
        """Descriptors, and who drains what arrives."""
        pairs = {one: self.parts(one) for one in Process}
        if pass_on(self._name, pairs):
            return True
        if self._slot is not None and not self._moves:
            set_silence(pairs, self._slot)
        return False

    # A planned move.

    @property
    def _moves(self) -> bool:
        return self._move is not None and self._move.critical

    def _go_on(self, move: Move | None, now: float) -> bool:
        """How far the move is now; True: it has gone further."""
        assert move is not None  # noqa: S101 - the caller has looked
        if self._slot is None:
            if now >= move.until:
                move.enter(MovePhase.FAILED, now, next(iter(self.obstacles(now))))
            return False
        match move.phase:
            case MovePhase.WAITING:
                return self._prepare(move, self._slot, now)
            case MovePhase.HOLDING:
                return self._await_hold(move, self._slot, now)
            case MovePhase.PROMOTING:
                return self._await_promotion(move, self._slot, now)
            case _:
                return self._await_return(move, self._slot, now)

    def _prepare(self, move: Move, slot: Process, now: float) -> bool:
        mine, other = self.parts(slot), self.parts(slot.other)
        serves = mine.role.role is Role.MASTER
        place = place_of(other)
        lasting = move.find_lasting(mine, other, place, now)
        move.reason = lasting or next(find_bustle(mine, other), "")
        if not move.reason and serves and move.is_calm(mine, now):
            for parts in (mine, other):
                parts.sharing.be_silent(Silence.LEAVE)
            move.enter(MovePhase.HOLDING, now)
            mine.sharing.count_handshakes(behind=True)  # one may have begun since it was asked
            self._cores[slot].vip_changed(self._name, False, now, RESTARTED)
            return True
        if move.reason or not serves:
            move.ask_at = 0.0  # what is said meanwhile is old when nothing stands against it
        if not (move.reason or serves or self._vip):
            move.give_up(mine, now, NOBODY_SERVED)
        elif now >= move.until or is_in_vain(other, place, move.begun):
            move.give_up(mine, now, move.reason or HANDSHAKES)
        elif serves and not lasting:
            move.make_calm(mine, now)
        return False

    def _await_hold(self, move: Move, slot: Process, now: float) -> bool:
        mine = self.parts(slot)
        begun = mine.sharing.handshakes
        silent = mine.role.role is Role.HELD and not mine.openvpn.unanswered
        if silent and begun:
            move.enter(MovePhase.WAITING, now)
            self._cores[slot].vip_changed(self._name, bool(self._vip), now, BACK)
            return True
        if silent and begun is not None:
            move.enter(MovePhase.PROMOTING, now)
            pass_wishes(mine, self.parts(slot.other))
            self._slot = slot.other
            self._cores[slot].slot_changed(self._name, False, now)
            self._hand_over(slot.other, RESTARTED, now)
            return True
        if now >= move.since + ANSWER_MAX or mine.role.role is not Role.HELD:
            move.enter(MovePhase.FAILED, now, "the process that serves has not answered the hold")
            mine.sharing.forget_handshakes()
            self._cores[slot].vip_changed(self._name, bool(self._vip), now, BACK)
            return True
        return False

    def _await_promotion(self, move: Move, slot: Process, now: float) -> bool:
        mine = self.parts(slot)
        if mine.role.role is Role.MASTER and not mine.openvpn.unanswered:
            move.enter(MovePhase.DONE, now)
            self._counts[RESTARTED] += 1
            self._log("info", "slot moved", process=slot.value, reason=RESTARTED)
            self._voice.repeat(slot)
            return True
        if now >= move.since + ANSWER_MAX or not mine.openvpn.connected or not self._vip:
            reason = "the other process has not answered the promotion"
            move.enter(MovePhase.RETURNING, now, reason)
            self._cores[slot].vip_changed(self._name, False, now, BACK)
            return True
        return False

    def _await_return(self, move: Move, slot: Process, now: float) -> bool:
        """The slot goes back when it is certain that the process that has it does not serve."""
        side, parts = self._look(slot), self.parts(slot)
        silent = side.place in (Place.STANDBY, Place.HELD) and not parts.openvpn.unanswered
        if silent or (side.place not in ABLE and side.ended):
            move.enter(MovePhase.FAILED, now, move.reason)
            self._give(Choice(slot.other, BACK), now)
            return True
        if now >= move.since + RETURN_MAX:
            move.enter(MovePhase.FAILED, now, f"{move.reason}{GIVEN_UP}")
            self._log("error", "move given up", process=slot.value, reason=move.reason)
            self._cores[slot].vip_changed(self._name, bool(self._vip), now, BACK)
            return True
        if now >= move.end_at:
            move.end_at = now + END_AFTER
            self._outputs.append(EndProcess(self._name, slot, move.reason))
        return False

    # What is said of the machine.

    def say(self, now: float) -> None:
        """Grade and role of the process that has the slot, unless it is just changing hands."""
        if self._always:
            mine, other = self.parts(self.serving), self.parts(self.serving.other)
            self._missed.look(find_lack(mine, other, now), now)
        if self._moves or self._loss.is_open(now):
            return
        role = self.parts(self.serving).role.role
        if self._slot is not None or role is Role.FAULT:
            self._voice.say(self.serving, role)

    def _log(self, level: str, event: str, **fields: object) -> None:
        self._outputs.append(LogEvent(level, event, {"instance": self._name, **fields}))

    # Time.

    def get_timer(self) -> float | None:
        """When time alone takes something further."""
        lost = self._loss.get_timer(self._seen)
        moves = self._move.get_timer(self._seen) if self._move is not None else None
        find = self._started + FIND if self._slot is None else None
        hung = (one.order.get_timer() for one in self._ends.values())
        return first((lost, moves, find, *hung), after=self._seen)

    def handle_timer(self, now: float) -> None:
        """It is seen in the step that follows."""
        self._seen = now
