"""What this node says of an instance: the grade for the VIP manager, the hello for other nodes.

Decides when something is said: at once when it has changed; only a changed number of clients waits,
so that a thousand connecting clients are not a thousand hellos, and so does a check that was made
again. Says nothing while the role is not
known: whatever was said before a restart of the sidecar may still be true.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ovpnha.model import CheckState, Grade, InstanceState, NodeName
from ovpnha.node.cluster.grading import GradeInput, grade
from ovpnha.node.openvpn.openvpn import Openvpn
from ovpnha.node.outputs import SetGrade
from ovpnha.node.part import Part, PartStatistics
from ovpnha.problems import Problem, ProblemKind
from ovpnha.replication.protocol import Replication

CLIENTS_GAP = 1.0
"""Least seconds between hellos whose only news is the number of clients, or that checks have been
made again with the same verdicts."""

UNMANAGED = Problem(
    ProblemKind.NO_VIP_MANAGER,
    "no VIP manager reads the grade, so this node cannot take the VIP",
    "does keepalived run, and is its track_file the one in ovpnha.toml? Another VIP manager: write "
    "vip_manager = other there",
)


@dataclass(frozen=True)
class AnnouncerStatistics(PartStatistics):
    """The grade last said."""

    grade: int
    grade_reason: str
    managed: bool = True  # a VIP manager reads it, as far as this node can tell


class Announcer(Part):
    """Says what has changed."""

    def __init__(self, openvpn: Openvpn, backchannel: Replication) -> None:
        self._openvpn = openvpn
        self._backchannel = backchannel
        self._said: InstanceState | None = None
        self._said_at = 0.0
        self._last: InstanceState | None = None  # said, or put off
        self._grade: tuple[Grade, str] | None = None
        self._bearers: frozenset[NodeName] = frozenset()
        self._due: float | None = None
        self.managed = True  # somebody reads the grade

    def answer(self, bearers: frozenset[NodeName], now: float) -> None:
        """As a source: a node that says it has been given the VIP waits for a word from here."""
        if bearers - self._bearers:
            self._backchannel.answer(now)
        self._bearers = bearers

    def note_reader(self, read: bool, *, tell: bool = True) -> None:
        """A VIP manager reads the grade, or none does: then this node cannot take the VIP."""
        if read is not self.managed:
            self.managed = read
            if not tell:
                return
            level, what = ("info", "found") if read else ("error", "missing")
            self._openvpn.log(level, f"vip manager {what}")

    def get_timer(self) -> float | None:
        """When a hello that was put off is due."""
        return self._due

    def handle_timer(self, now: float) -> None:
        """It is said in the step that follows."""
        if self._due is not None and now >= self._due:
            self._due = None

    def statistics(self, _now: float) -> AnnouncerStatistics:
        """The grade, and whether anybody reads it."""
        grade, reason = self.grade
        return AnnouncerStatistics(int(grade), reason, self.managed)

    def problems(self, _now: float) -> Iterator[Problem]:
        """A grade that nobody reads."""
        if not self.managed:
            yield UNMANAGED

    @property
    def grade(self) -> tuple[Grade, str]:
        """The grade last said, and its reason."""
        return self._grade or (Grade.FAULT, "not known yet")

    def say_grade(self, given: GradeInput) -> Grade:
        """Give the VIP manager its number."""
        news = grade(given)
        if news != self._grade:
            self._grade = news
            self._openvpn.put(SetGrade(self._openvpn.instance, int(news[0]), news[1]))
        return news[0]

    def say_clients(self, clients: int, now: float, *, touched: bool) -> None:
        """As master: only clients have come, changed or gone since the last state."""
        last = self._last
        if last is not None and (clients, touched) != (last.clients, last.touched):
            self.say_state(replace(last, clients=clients, touched=touched), now)

    def retract(self, now: float) -> None:
        """This node speaks of the instance no more: it has no process for it now."""
        if self._said is not None:
            self._said = self._last = self._due = None
            self._backchannel.announce(self._openvpn.instance, None, now)

    def say_state(self, state: InstanceState, now: float) -> None:
        """Give the other nodes this node's state."""
        self._due, self._last = None, state
        if state == self._said:
            return
        if self._said is not None and _is_small(state, self._said):
            due = self._said_at + CLIENTS_GAP
            if now < due:
                self._due = due
                return
        self._said, self._said_at = state, now
        self._backchannel.announce(self._openvpn.instance, state, now)


def _is_small(state: InstanceState, said: InstanceState) -> bool:
    """Whether the news can wait for a moment."""
    same = _verdicts(state) == _verdicts(said)
    return same and replace(state, clients=said.clients, checks=said.checks) == said


def _verdicts(state: InstanceState) -> tuple[CheckState, ...]:
    """Its checks, without what each said when."""
    return tuple(replace(one, checked=0, text="") for one in state.checks)
