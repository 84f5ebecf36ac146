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
CHANGE_FIX = (
    "take that change back, or ovpnha restart-openvpn --force, by which clients reconnect;"
    " restart-openvpn alone refuses it"
)


class Sharing(Part):
    """Of one process."""

    def __init__(self, openvpn: Openvpn) -> None:
        self._openvpn = openvpn
        self._forget()

    def _forget(self) -> None:
        self.waiting = False  # it has no descriptors
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
                self.waiting = True
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
        what = f"OpenVPN waits: {self.problem or 'another program has its port'}"
        fix = PORT_FIX if self.refused_at is None else CHANGE_FIX
        return Problem(ProblemKind.PORT_TAKEN, what, fix) if self.waiting else None

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
