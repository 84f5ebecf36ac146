"""Whether a node may be promoted before the last master, silent now, has been cut off.

The theory. A master that has fallen silent may be dead; it may as well serve on, unheard. No nonce
is in danger then, but its LAN has two servers. A fence ends that: a program that cuts the node off
(power, a switch, a hypervisor), and says by its exit code 0 that it has.

Who is fenced: every *suspect*, which is a node whose last word was that it is master and that is
silent. One that was heard since as anything else is none: it is held or standby, so its OpenVPN is
silent by order. A goodbye alone clears nobody, because it ends a sidecar and not its OpenVPN.

=======================  ============================  ===========================================
the last master          *required*                    *optional*
=======================  ============================  ===========================================
said that it is none     promoted at once              promoted at once
is heard, still master   promoted after ``QUIET``,     promoted at once
                         when it has answered since
is silent                fenced after ``QUIET``,       promoted at once; fenced after ``QUIET``
                         promoted once that succeeds
was never heard          waits, or not, as configured  promoted at once
=======================  ============================  ===========================================

What is heard may have been held back on its way by somebody who wants two masters. So a node is not
silent only when it has answered a challenge that was drawn after the promotion was due. One that is
heard and has not is neither cleared nor fenced: it answers soon, or falls silent, or is believed no
more (``proof_timeout``).

A node that was known to be silent for ``QUIET`` before is fenced at once. With ``QUIET`` one that
lives has said hello, and one from which the VIP was taken on purpose is not shot. Nor is one that a
node has not heard because it was stopped itself (a virtual machine that hangs, or was suspended):
its VIP manager, which heard nobody either, takes the VIP in the moment in which it goes on. So who
is lost in that moment is given ``QUIET``, once: from when it was lost, or from when the promotion
was due, whichever is over first. A timer that comes late begins it anew for everybody.

A program that fails is tried again, ever later. Until it succeeds a required fence caps the grade:
below a node that is in sync and may reach more, and above one without the clients, which would need
the same fence and cost them their connections; after ``TRIES`` below that as well. A person may
overrule it. Nothing here waits: a step is left out, and looked at again.

Must never let a promotion pass while a required fence has not succeeded and nobody has overruled
it. Rules: docs/operations.md, "Fencing"; docs/adr/0048-a-fence-is-for-silence.md.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from ovpnha.machines import machine_of
from ovpnha.model import Epoch, FencePolicy, Grade, InstanceName, NodeName, Role
from ovpnha.node.outputs import LogEvent, Output, RunFence
from ovpnha.node.part import Part, PartStatistics, first
from ovpnha.node.role.succession import Step
from ovpnha.problems import Problem, ProblemKind
from ovpnha.replication.events import HelloReceived, NodeUp

QUIET = 1.0
"""Seconds from a promotion that is due in which a node that lives is heard: two hellos."""
LOOK = 0.1
"""Seconds between looks at one that is heard, and has not yet proved that it lives."""
LATE = 0.5
"""Seconds after which a timer is late: this process was stopped, and has heard nobody meanwhile."""
STOPS = 5
"""Times that this puts off one fence: where every timer is late nobody would ever be fenced."""
RETRIES = (5.0, 10.0, 20.0, 40.0, 60.0)
"""Seconds until a fence that failed is tried again; the last of them from then on."""
TRIES = 3
"""Failures in a row after which nobody is kept waiting for this node's fence: clients that hear
nothing for a minute or two begin anew, and are better off with a node that serves without them."""
CAPPED_FOR = 60.0
"""Seconds for which a node whose fence failed stays a bad choice after the VIP has left it."""
TAKING = frozenset({Step.PROMOTE, Step.RESUME, Step.RETURN})
"""The steps that make a node serve."""

OVERRULE = "make sure that {node} is off or cut off, then: ovpnha promote --unfenced"
FIX_UNKNOWN = "start another node, or make sure that none serves, then: ovpnha promote --unfenced"


class FenceOutcome(StrEnum):
    """What became of the fence of one promotion; the history has these words as its figures."""

    ASKED = "fence_asked"
    FAILED = "fence_failed"
    FENCED = "fenced"
    OVERRULED = "fence_overruled"


@dataclass(frozen=True)
class Suspect:
    """A node whose last word was that it is master, or that made the highest epoch unheard."""

    node: NodeName  # its machine, which a spare shares with another
    epoch: Epoch
    believed: bool  # it counts as heard
    heard: float  # when it was last; long ago for one that is not believed
    proved: float  # when it was certainly alive, by a challenge of ours that it has answered
    lost: float  # when it was not believed any more, or first told of and not heard


@dataclass(frozen=True)
class FenceFacts:
    """All that a fence depends on."""

    role: Role
    vip: bool
    known: bool  # something is known of who was master before
    suspects: tuple[Suspect, ...]


@dataclass(frozen=True)
class FenceStatistics(PartStatistics):
    """What a fence does now, and has done."""

    fencing: str = ""  # the node that is being fenced for this instance
    fence_waits: bool = False  # a promotion waits for it
    fence_failures: int = 0  # tries in a row that did not succeed


class Fence(Part):
    """Of one instance. ``filter`` is asked before every step."""

    def __init__(
        self,
        instance: InstanceName,
        policy: FencePolicy,
        outputs: deque[Output],
        *,
        unknown_waits: bool,
    ) -> None:
        self._instance = instance
        self._policy = policy
        self._unknown_waits = unknown_waits
        self._outputs = outputs
        self._seen = 0.0
        self._since: float | None = None  # when the promotion became due that is being looked at
        self._stops = 0  # times that this process was stopped, each of which begins it anew
        self._began = 0.0  # when it became due in truth
        self._overruled_until = 0.0
        self._fenced: dict[NodeName, FenceOutcome] = {}  # or vouched for; and not heard since
        self._running: NodeName | None = None
        self._unknown = False
        self._suspected: NodeName | None = None  # whose fence the last failure was
        self._text = ""  # why it failed
        self._failures = 0
        self._failed_at = 0.0
        self._outcome: FenceOutcome | None = None  # of the promotion that was last due
        self._asked_at = 0.0  # when its first program was asked for
        self._took = 0.0
        self._look_at: float | None = None

    # What happens.

    def take(self, event: object, _now: float) -> None:
        """A node that is heard again has come back: what was done to it is history."""
        match event:
            case NodeUp(node=node) | HelloReceived(node=node):
                self._fenced.pop(machine_of(node), None)

    def done(self, node: NodeName, text: str, now: float) -> None:
        """A program has ended, for whichever instance; an empty text means that it succeeded."""
        if not text:
            self._fenced[node] = FenceOutcome.FENCED
            if node == self._suspected:
                self._forget()
        if node != self._running:
            return
        self._running = None
        if text:
            self._suspected, self._text, self._failed_at = node, text, now
            self._failures += 1
            if self._outcome is not FenceOutcome.OVERRULED:
                self._note(FenceOutcome.FAILED, now)
        self._log("error" if text else "warning", "fence failed" if text else "fenced", node, text)

    def overrule(self, until: float) -> None:
        """A person takes it upon himself: the next promotion until then needs no fence."""
        self._overruled_until = until
        self._outputs.append(
            LogEvent("warning", "fence overruled by hand", {"instance": self._instance})
        )

    # What follows.

    def filter(self, step: Step, read: Callable[[], FenceFacts], now: float) -> Step:
        """What is left of the step that the situation demands; without a fence nothing is read."""
        self._pass_until(now)
        if self._policy is FencePolicy.OFF:
            return step
        facts = read()
        required = self.required
        taking = step in TAKING
        if taking and self._since is None:
            self._since = self._began = self._asked_at = now
            self._stops = 0
            self._outcome = FenceOutcome.ASKED if self._running is not None else None
        elif not taking and (required or facts.role is not Role.MASTER):
            self._since, self._unknown = None, False
        if self._since is None or self._is_clear(facts, self._since, now):
            self._since, self._unknown = None, False
            return step
        return Step.STAY if taking and required else step

    def _pass_until(self, now: float) -> None:
        """A timer is late: this process was stopped, and who lives has time to be heard anew."""
        due, self._seen = self.get_timer(), now
        late = self._since is not None and due is not None and now > due + LATE
        if late and self._stops < STOPS:
            self._since, self._stops = now, self._stops + 1

    def _is_clear(self, facts: FenceFacts, since: float, now: float) -> bool:
        """Whether nobody is left who must be fenced; else do what can be done about it."""
        unknown = not facts.known and self._unknown_waits
        self._unknown = unknown and self.required
        left = [one for one in facts.suspects if not self._is_cleared(one, facts, since, now)]
        if now < self._overruled_until:
            self._overruled_until = 0.0
            vouched = {one.node: FenceOutcome.OVERRULED for one in facts.suspects}
            self._fenced = vouched | self._fenced
            if self._unknown or left:
                self._note(FenceOutcome.OVERRULED, now)
            self._forget()
            return True
        if self._unknown:
            return False
        quiet = now >= since + QUIET
        if not left:
            if found := {self._fenced.get(one.node) for one in facts.suspects} - {None}:
                by_hand = FenceOutcome.OVERRULED in found
                self._note(FenceOutcome.OVERRULED if by_hand else FenceOutcome.FENCED, now)
            self._forget()
            return True
        silent = [one for one in left if self._is_silent(one, quiet, now)]
        waiting = [one for one in left if one not in silent]
        moments = (now + LOOK if quiet else one.lost + QUIET for one in waiting)
        self._look_at = first(moments, after=now)
        if silent and self._running is None and now >= self._retry_at():
            self._run(max(silent, key=lambda one: one.epoch), now)
        return False

    def _is_cleared(self, one: Suspect, facts: FenceFacts, since: float, now: float) -> bool:
        """Fenced, or certainly alive since the promotion was due.

        Without the VIP the promotion is one that was promised: who served is heard as ever.
        """
        if one.node in self._fenced:
            return True
        if not facts.vip:
            return one.heard > now - QUIET
        return now >= since + QUIET and one.proved >= since

    def _is_silent(self, one: Suspect, quiet: bool, now: float) -> bool:
        """Whether it would have been heard by now, if it lived.

        Before ``quiet`` only of one that was lost for long; after a stop, only of one that was when
        all this began: this process may have run for a moment since.
        """
        if one.believed:
            return quiet and one.heard <= now - QUIET
        return quiet or (self._began if self._stops else now) >= one.lost + QUIET

    def _run(self, one: Suspect, now: float) -> None:
        self._running = one.node
        if self._outcome is None:
            self._asked_at = now
            self._note(FenceOutcome.ASKED, now)
        self._outputs.append(RunFence(self._instance, one.node, one.epoch, self.required))
        self._log("warning", "fencing a silent master", one.node, "")

    def _log(self, level: str, event: str, node: NodeName, reason: str) -> None:
        fields: dict[str, object] = {"instance": self._instance, "node": node}
        if reason:
            fields["reason"] = reason
        self._outputs.append(LogEvent(level, event, fields))

    def _note(self, outcome: FenceOutcome, now: float) -> None:
        self._outcome, self._took = outcome, now - self._asked_at

    def _forget(self) -> None:
        self._suspected, self._text, self._failures = None, "", 0

    def _retry_at(self) -> float:
        if not self._failures:
            return -math.inf
        return self._failed_at + RETRIES[min(self._failures, len(RETRIES)) - 1]

    @property
    def required(self) -> bool:
        """Whether nothing is promoted here over a silent master."""
        return self._policy is FencePolicy.REQUIRED

    @property
    def most(self) -> Grade | None:
        """The grade above which this node is not worth the VIP; None when nothing is the matter."""
        if not self.required or not (self._unknown or self._failures):
            return None
        return Grade.DEGRADED if self._unknown or self._failures >= TRIES else Grade.LONE

    @property
    def told(self) -> Mapping[str, float]:
        """What became of the fence of the promotion that was last due; empty: none was asked.

        Seconds from the first program that was asked for, through all tries; of one that was
        overruled before, from when the promotion was due.
        """
        return {} if self._outcome is None else {self._outcome.value: self._took}

    # Time, and who looks.

    def get_timer(self) -> float | None:
        """When silence means something, a failure is tried again, or forgotten."""
        forgotten = self._failed_at + CAPPED_FOR if self._failures and self._since is None else None
        if self._since is None:
            return forgotten
        retry = None if self._running is not None else self._retry_at()
        return first((self._since + QUIET, retry, self._look_at), after=self._seen)

    def handle_timer(self, now: float) -> None:
        """What silence means is seen in the step that follows."""
        self._pass_until(now)
        if self._since is None and self._failures and now >= self._failed_at + CAPPED_FOR:
            self._forget()

    def statistics(self, _now: float) -> FenceStatistics:
        """What it does now."""
        blocked = self.required and self._since is not None
        return FenceStatistics(self._running or "", blocked, self._failures)

    def problems(self, _now: float) -> Iterator[Problem]:
        """That nobody serves for want of a fence, or that a silent master was not cut off."""
        if self._unknown:
            what = "not promoted: a fence is required, and nobody knows who was master before"
            yield Problem(ProblemKind.FENCE_UNKNOWN, what, FIX_UNKNOWN)
        elif self._suspected is not None:
            what = f"{self._suspected} is silent and could not be fenced: {self._text}"
            if self.required:
                fix = OVERRULE.format(node=self._suspected)
                yield Problem(ProblemKind.FENCE_FAILED, f"not promoted: {what}", fix)
            else:
                fix = f"make sure that {self._suspected} is off or cut off"
                yield Problem(ProblemKind.NOT_FENCED, what, fix)
