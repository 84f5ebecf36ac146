"""What one OpenVPN process shares with the other one of its machine: link socket and tun.

Knows of one process only: whether it waits for descriptors or has some, which it was asked for or
given, and what it does with what arrives while it does not serve. Decides nothing but what must not
be asked twice; who passes on to whom, and when, is decided above (``arbiter``). The descriptors
themselves never come here: they are the shell's, for a moment. Rules: docs/roles.md, "A spare".
"""

from __future__ import annotations

from ovpnha.management.codes import Code
from ovpnha.management.commands import Handshakes, PassOn, Retire, SetSilence, Take
from ovpnha.management.notices import WaitingNotice
from ovpnha.management.replies import Done, HandshakesReply, Refused, StatusReply
from ovpnha.model import Descriptors, Silence
from ovpnha.node.openvpn.openvpn import Openvpn
from ovpnha.node.part import Part
from ovpnha.problems import Problem, ProblemKind

RETRY_AFTER = 5.0
"""Seconds until a process that found the descriptors unsuitable is given some again: somebody has
to change a configuration before that."""

UNSUITABLE = "what the other process has open does not suit it: {}"


PORT_FIX = (
    "see who has it (ss -ulpn) and end that program; OpenVPN opens the port within two seconds"
)
OTHER_SERVER_FIX = (
    "if that is one of an earlier start, end it; OpenVPN goes on within two seconds. Two servers"
    " need other configurations: two of one file, told apart by options of the command line, are"
    " taken for one"
)
CHANGE_FIX = (
    "take that change back, and then ovpnha restart-openvpn, which starts the waiting process anew;"
    " or make it with restart-openvpn --force, by which clients reconnect"
)


def describe_rival(notice: WaitingNotice) -> str:
    """Who has what a process waits for, as it tells it."""
    if not notice.by_configuration:
        return "another program has its port"
    who = f"process {notice.pid}" if notice.pid else "another process"
    return f"{who} serves, or is about to, from the same configuration files"


class Sharing(Part):
    """Of one process."""

    def __init__(self, openvpn: Openvpn) -> None:
        self._openvpn = openvpn
        self._forget()

    def _forget(self) -> None:
        self.waiting = False  # it has no descriptors
        self.notice = WaitingNotice()  # whom it waits for, if it does
        self.taking = False  # it is being given some
        self.asked = self.offered = False  # to pass on its own; they are here
        self.descriptors: Descriptors | None = None  # None: not known, or it knows of no spares
        self.silence: Silence | None = None
        self.problem = ""  # why it cannot share
        self.refused_at: float | None = None  # when what it was given did not suit it; None: it did
        self.forget_handshakes()
        self._retry_at: float | None = None

    def forget_handshakes(self) -> None:
        """What was asked of them answers nothing any more, even if the answer is yet to come."""
        self.handshakes: int | None = None  # under way, as it told last; None: not asked, or open
        self._question: Handshakes | None = None  # the newest, as long as it is open

    def take(self, event: object, now: float) -> None:
        """What the process says of it."""
        match event:
            case WaitingNotice():
                self.waiting, self.notice = True, event
            case StatusReply(status=status):
                self.waiting = self.taking = False
                self.refused_at = None
                self.descriptors, self.silence = status.descriptors, status.silence
            case HandshakesReply(command=command, handshakes=number) if command is self._question:
                self.handshakes, self._question = number, None
            case Refused(command=Handshakes() as command) if command is self._question:
                self._question = None
            case Done(command=PassOn()):
                self.asked, self.offered = False, True
            case Refused(command=PassOn(), reason=reason):
                self.asked, self.problem, self._retry_at = False, reason, now + RETRY_AFTER
            case Refused(command=Take(), code=code, reason=reason):
                self.taking, self.problem = False, UNSUITABLE.format(reason)
                self.refused_at = now if code is Code.UNSUITABLE else None
                self._retry_at = now + RETRY_AFTER
            case _:
                pass

    def get_timer(self) -> float | None:
        """When descriptors that did not suit are tried again."""
        return self._retry_at

    def handle_timer(self, now: float) -> None:
        """They may suit now."""
        if self._retry_at is not None and now >= self._retry_at:
            self._retry_at = None

    def stop(self, _now: float) -> None:
        """It may be another process now."""
        self._forget()

    @property
    def is_taken(self) -> bool:
        """Whether it has what the other process has opened."""
        return self.descriptors is Descriptors.TAKEN

    @property
    def needs(self) -> bool:
        """Whether it waits, and nothing is under way to it."""
        return self.waiting and not self.taking and self._retry_at is None

    @property
    def gives(self) -> bool:
        """Whether it can be asked to pass on what it has."""
        shares = self.descriptors is not None and not self.waiting
        return shares and not (self.asked or self.offered) and self._retry_at is None

    @property
    def waits(self) -> Problem | None:
        """Why it has no link socket and tun; None: it has, or has said nothing of that."""
        if not self.waiting:
            return None
        what = f"OpenVPN waits: {self.problem or describe_rival(self.notice)}"
        fix = OTHER_SERVER_FIX if self.notice.by_configuration else PORT_FIX
        fix = fix if self.refused_at is None else CHANGE_FIX
        return Problem(ProblemKind.PORT_TAKEN, what, fix)

    def ask(self) -> None:
        """Have it pass on its descriptors."""
        self.asked = True
        self._openvpn.send(PassOn())

    def begin_take(self) -> bytes | None:
        """What is to be written to it with the descriptors; None: there is no connection."""
        self.taking = True
        return self._openvpn.compose(Take())

    def be_silent(self, silence: Silence) -> None:
        """What to do with what arrives, unless it knows that already."""
        if self.descriptors is not None and silence is not self.silence:
            self.silence = silence
            self._openvpn.send(SetSilence(silence))

    @property
    def counting(self) -> bool:
        """Whether it has been asked how many handshakes are under way, and has not answered."""
        return self._question is not None

    def count_handshakes(self, *, behind: bool = False) -> None:
        """Ask how many are under way; ``behind``: the next order. No older answer counts then."""
        self.handshakes, self._question = None, Handshakes()
        if behind:
            self._openvpn.follow(self._question)
        else:
            self._openvpn.send(self._question)

    def retire(self) -> None:
        """Have it end at once."""
        self._openvpn.send(Retire())
