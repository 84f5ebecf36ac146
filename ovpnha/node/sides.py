"""The two processes of an instance: what each is, and what they share.

Decides who passes descriptors on, and who leaves what arrives to the other: see docs/roles.md, "A
spare". What else is done with the two is decided by ``arbiter`` and ``moving``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ovpnha.machines import Process
from ovpnha.model import InstanceName, Role, Silence, Sync
from ovpnha.node.arbiter import ABLE, SOURCES, Place, Side
from ovpnha.node.outputs import PassDescriptors
from ovpnha.node.part import first
from ovpnha.node.parts import Parts
from ovpnha.node.statistics import ProcessFigures
from ovpnha.problems import ProblemKind

DEATH_MAX = 1.0
"""Seconds for which it may stay open whether a process is dead whose connection has ended. So long
the last grade stands: to move the VIP away for a crash that the other process can make up for would
cost more than this wait."""
END_AGAIN = 0.25
"""Seconds from the end of a connection until the process behind it is to be ended, and until that
is said again: one that ends by itself needs no help."""
HEARD_FOR = 1.0
"""Seconds for which a process must have answered before the one beside it is ended for its silence:
what was wrong with both, a host that starves or was suspended, ends for one of them first."""
HEED_WITHIN = 3.0
"""Seconds within which a process that was told to end has ended; a person is told after five."""
PAUSE_MIN = 5.0
"""Seconds until a process that hangs is ended again; twice as long each time, up to ``PAUSE_MAX``.
Shorter would end one that has only just begun to start."""
PAUSE_MAX = 300.0


def place_of(parts: Parts) -> Place:
    """What is known of a process; before its role is taken up, what it has said itself."""
    role, discovery = parts.role.role, parts.discovery
    if not parts.openvpn.connected:
        return Place.ABSENT
    if parts.sharing.waiting:
        return Place.WAITING
    if role is Role.FAULT:
        return Place.FAULT
    if discovery.slow:
        return Place.SILENT
    if role is not Role.INIT:
        return Place(role.value)
    if discovery.status is not None and discovery.answered:
        return Place(discovery.status.role.value)
    return Place.SILENT


def is_hanging(parts: Parts) -> bool:
    """Whether it was found to say nothing though it was asked."""
    fault = parts.role.fault
    return fault is not None and fault.kind is ProblemKind.SERVER_SILENT


def find_grace(other: Parts, now: float) -> float:
    """From when on a process may be ended for its silence, as far as the one beside it is heard."""
    since = other.liveness.answers_since(now)
    return math.inf if since is None else since + HEARD_FOR


class EndOrder:
    """When a process without the slot that hangs, or heeds no order to end, is ended.

    When it hangs as soon as the other one has answered for ``HEARD_FOR``, after ``HEED_WITHIN``
    when it was told to end; again after pauses that grow until one is able to serve, so that one
    that systemd starts anew has its time.
    """

    def __init__(self) -> None:
        self._at: float | None = None  # when it is ended, if that lasts
        self._free = 0.0  # not before
        self._pause = PAUSE_MIN
        self._heeds_by: float | None = None

    def begin(self) -> None:
        """Another process may be there."""
        self._heeds_by = None

    def tell(self, now: float) -> None:
        """It was told to end; a person waits for it, so that no pause counts."""
        self._heeds_by = now + HEED_WITHIN
        self._free = now

    def watch(self, parts: Parts, other: Parts, now: float, *, lives: bool) -> str:
        """Why it is to be ended now; nothing: it is not.

        One that was told to end may have closed its connection, and ``lives`` all the same.
        """
        hangs = is_hanging(parts)
        told = self._heeds_by if lives else None
        if not (hangs and parts.openvpn.connected) and told is None:
            self._at = None
            if place_of(parts) in ABLE:
                self._free, self._pause = now, PAUSE_MIN
            return ""
        self._at = max(self._free, find_grace(other, now) if hangs or told is None else told)
        if now < self._at:
            return ""
        self._at = self._free = now + self._pause
        self._pause = min(2 * self._pause, PAUSE_MAX)
        return parts.role.why if hangs else "it was told to end and has not"

    def wait(self) -> None:
        """It is not to be ended now; that it was told to end holds."""
        self._at = None

    def rest(self) -> None:
        """It is not to be ended, whatever it does."""
        self._at = self._heeds_by = None

    def get_timer(self) -> float | None:
        """When it is to be ended."""
        return self._at if self._at is not None and math.isfinite(self._at) else None


@dataclass
class ProcessEnd:
    """Whether a process may live, as the kernel has said it: not the end of a connection.

    A process that was never connected may have served before this sidecar began, until it is known
    that nobody has its socket open. One that comes after a death is no master: nobody but this
    sidecar promotes it.
    """

    ended: bool = False  # it is certain that none is there that may serve
    seen: bool = False  # one was connected
    doubted: bool = False  # the process before the one of now may live
    order: EndOrder = field(default_factory=EndOrder)

    @property
    def lives(self) -> bool:
        """Whether one was there, and its end was not told."""
        return self.seen and not self.ended

    def begin(self) -> None:
        """It is connected."""
        self.doubted = self.seen and not self.ended
        self.ended, self.seen = False, True
        if not self.doubted:  # else it may be the one that was told to end
            self.order.begin()

    def miss(self, *, absent: bool) -> None:
        """It cannot be connected; ``absent``: nobody has its socket open."""
        if absent and not self.seen:
            self.ended = True

    def leave(self, *, waiting: bool) -> None:
        """The connection has ended: one that waited has nothing to serve with, if it lives."""
        if waiting:
            self.ended = not self.doubted

    def end(self) -> None:
        """It is dead."""
        self.ended, self.doubted = True, False
        self.order.begin()


class Loss:
    """Of the process that has the slot: whether it is open that it is dead, and when it is ended.

    One that hangs is ended as soon as the other one has answered for ``HEARD_FOR``, also if it is
    connected again and still says nothing. One whose connection has ended is ended no sooner than
    ``END_AGAIN`` later, and not when it is connected again: it says in a moment what it is.
    """

    def __init__(self) -> None:
        self._at: float | None = None  # since when it is open
        self._end_at: float | None = None  # when it is to be ended, if the other one answers
        self._due = math.inf
        self._hung = False

    def forget(self) -> None:
        """It is not open."""
        self._at = self._end_at = None
        self._due, self._hung = math.inf, False

    def is_open(self, now: float) -> bool:
        """Whether the last word of the machine stands for that."""
        return self._at is not None and now < self._at + DEATH_MAX

    def watch(
        self, sides: tuple[Side, Side], parts: tuple[Parts, Parts], end: ProcessEnd, now: float
    ) -> str:
        """Why it is to be ended now; nothing: it is not. Of both the one with the slot first."""
        (mine, other), role = sides, parts[0].role
        gone = mine.place in (Place.ABSENT, Place.FAULT) and role.role is Role.FAULT
        back = mine.place is Place.SILENT and self._at is not None
        if not ((gone or back) and other.able and not mine.ended):
            self.forget()
            return ""
        self._hung = is_hanging(parts[0]) if gone else self._hung
        if back and not self._hung:
            self._end_at, self._due = None, math.inf
            return ""
        if self._at is None:
            self._at = now
        if self._end_at is None and end.seen:  # else none is known to be there
            self._end_at = now if self._hung else now + END_AGAIN
        if self._end_at is None:
            return ""
        self._due = max(self._end_at, find_grace(parts[1], now))
        if now < self._due:
            return ""
        self._end_at = self._due = now + END_AGAIN
        return role.why

    def get_timer(self, after: float) -> float | None:
        """When time alone changes something."""
        late = None if self._at is None else self._at + DEATH_MAX
        return first((late, self._due if math.isfinite(self._due) else None), after=after)


def watch_other(
    ends: Mapping[Process, ProcessEnd],
    slot: Process,
    parts: Callable[[Process], Parts],
    now: float,
    *,
    calm: bool,
) -> str:
    """Why the process without the slot is to be ended; ``calm``: the other can do without it."""
    ends[slot].order.rest()
    end = ends[slot.other]
    if calm:
        return end.order.watch(parts(slot.other), parts(slot), now, lives=end.lives)
    end.order.wait()
    return ""


def look(parts: Parts, end: ProcessEnd, now: float) -> Side:
    """A process, as the arbiter sees it."""
    place, status = place_of(parts), parts.discovery.status
    return Side(
        place=place,
        epoch=max(parts.own.epoch, status.epoch) if status is not None else parts.own.epoch,
        own=not parts.sharing.is_taken,
        whole=parts.sync(now) is Sync.IN_SYNC,
        promised=parts.vip.promised(now),
        ended=not end.doubted if place is Place.WAITING else end.ended,
        told=parts.discovery.settled,
    )


LACKS = {
    Place.ABSENT: "does not run",
    Place.SILENT: "does not answer",
    Place.WAITING: "waits for link socket and tun",
    Place.HELD: "keeps clients that it served before, and follows nobody",
    Place.MASTER: "serves, too",
}


def find_lack(mine: Parts, other: Parts, now: float) -> str:
    """Why the other process could not go on in this one's place with all clients, or ""."""
    place = place_of(other)
    if is_hanging(other):
        return LACKS[Place.SILENT]
    if place is Place.FAULT:
        return f"could not serve: {other.role.why}"
    if place is not Place.STANDBY:
        return other.sharing.problem or LACKS[place]
    whole = mine.role.role is Role.MASTER or mine.sync(now) is Sync.IN_SYNC
    return "has no complete copy" if whole and other.sync(now) is not Sync.IN_SYNC else ""


def pass_wishes(mine: Parts, other: Parts) -> None:
    """What was asked of the machine holds for the process that has the slot from now on."""
    mine.pause.pass_on(other.pause)
    mine.vip.pass_on(other.vip)


def pass_on(instance: InstanceName, pairs: Mapping[Process, Parts]) -> bool:
    """Let one that waits have the descriptors of the other; True: they are on their way.

    What has come and is not wanted any more, the shell closes: it does so with all that it is told
    nothing of.
    """
    for source, mine in pairs.items():
        other = pairs[source.other]
        if mine.sharing.offered:
            mine.sharing.offered = False
            data = other.sharing.begin_take() if other.sharing.needs else None
            if data is not None:
                other.openvpn.put(PassDescriptors(instance, source, source.other, data))
                return True
        elif other.sharing.needs and mine.sharing.gives and mine.discovery.settled:
            mine.sharing.ask()
            mine.openvpn.flush()
    return False


def set_silence(pairs: Mapping[Process, Parts], slot: Process) -> None:
    """Who has the slot drains what it does not serve; the other one leaves it."""
    for process, parts in pairs.items():
        if parts.discovery.settled and not parts.openvpn.unanswered:
            silence = Silence.DRAIN if process is slot else Silence.LEAVE
            parts.sharing.be_silent(silence)
            parts.openvpn.flush()


def describe_process(parts: Parts, now: float) -> ProcessFigures:
    """A process, for those who look."""
    place = place_of(parts)
    return ProcessFigures(
        place=place.value,
        sync=parts.own.sync if place in SOURCES else parts.sync(now),
        clients=parts.clients,
        openvpn=parts.discovery.version,
        descriptors=parts.sharing.descriptors,
        problem=parts.role.why if place is Place.FAULT else parts.sharing.problem,
    )
