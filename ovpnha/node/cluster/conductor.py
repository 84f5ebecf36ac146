"""The master's side of a switchover: how far it is, and when it is called off.

::

                 the target has            it is promoted, all             the VIP has left,
                 every client              others stand back               the target has it
    PREPARING ──────────────────► READY ─────────────────────► MOVING ────────────────────► DONE
        │                           │                            │
        └───────────────────────────┴──── in any other way ──────┴────────────────────► FAILED

Nothing is given away before it is known that it will be taken: the VIP is let go only when the
target *is* master, in an epoch above ours, so that its OpenVPN is known to work and no packet waits
for a promotion. Until then, and when the VIP stays after all, this node serves as before. What can
go wrong, and the rule that answers it:

* A client changes after the target has promoted itself: it would not be known there. OpenVPN lets
  new clients and new keys wait for ``FREEZE``; if the VIP is still here then, all is called off.
* The target dies, or is not heard: called off. Who is promised the VIP gives that up by itself.
* The VIP goes to a third node, or to nobody: said so; the role follows the VIP as ever.
* This process dies: nothing of this is kept. The target's promise ends by itself, and the VIP
  manager has the last grade, as after any death of a sidecar.

Where the VIP is of IPv6 the target does not go ahead: its OpenVPN would ping all clients at once,
since the kernel lets it send from an address that it does not have, and clients that have heard it
refuse what this node sends. There it is promoted when the VIP comes, as after any move. Which of
the two it is, the target alone knows, by its own kernel: it is master, or it repeats in its hello
what it goes along with.

Decides nothing but that: it neither orders a role nor says a grade. Rules: docs/roles.md, "A
switchover"; why so: docs/adr/0040.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from ovpnha.model import (
    SWITCH_PHASES,
    Grade,
    InstanceState,
    NodeName,
    Role,
    SwitchPhase,
    SwitchReason,
    SwitchState,
    Sync,
)
from ovpnha.node.cluster.obstacles import UNDER_WAY

PREPARE_MAX = 2.0
"""Seconds within which the target must have acknowledged every client."""

QUIET_MAX = 1.0
"""Seconds for which handshakes that are under way are waited for: who is inside one when its server
changes may have to reconnect."""

READY_MAX = 2.0
"""Seconds within which the target must be heard as master."""

LOWER_MAX = 0.5
"""Seconds for which the other standbys may take to lower their grades. A sidecar of an older
version never does, and keepalived prefers the target all the same where priorities are close."""

FREEZE = 1.0
"""Seconds for which new clients and new keys wait once the target has gone ahead."""


@dataclass(frozen=True)
class SwitchFacts:
    """What a switchover depends on, as this node sees it."""

    own: InstanceState  # what this node would say of itself
    able: bool  # OpenVPN is known, and has carried out what it was ordered
    states: Mapping[NodeName, InstanceState]  # of the nodes that are heard, without this one
    ahead: bool = True  # as target: it may be promoted before it has the VIP
    whole: bool = False  # as standby: the copy is complete, and nothing is under way
    busy: bool = False  # as master: handshakes are under way
    shared: bool = False  # as master: every client is acknowledged by the target
    changed_at: float = -math.inf  # as master: when a client changed last


@dataclass(frozen=True)
class Run:
    """A switchover that this node carries out; each step makes another one."""

    said: SwitchState
    target: NodeName
    begun: float
    since: float  # since when it is in this phase
    ready_at: float = math.inf
    along: bool = False  # the target is promoted when the VIP comes, not before
    ends: Mapping[str, float] = field(default_factory=dict)

    @property
    def under_way(self) -> bool:
        """Whether it may still change."""
        return self.said.phase in UNDER_WAY

    @property
    def deadline(self) -> float:
        """When this phase must be over."""
        limits = {SwitchPhase.PREPARING: PREPARE_MAX, SwitchPhase.READY: READY_MAX}
        return self.since + limits.get(self.said.phase, self.said.within)

    def moments(self) -> Iterator[float]:
        """When time alone may change something."""
        if self.under_way:
            yield from (self.deadline, self.begun + QUIET_MAX)
            yield from (self.ready_at + LOWER_MAX, self.ready_at + FREEZE)

    def enter(
        self, phase: SwitchPhase, now: float, reason: SwitchReason = SwitchReason.NONE
    ) -> Run:
        """The same, in another phase."""
        said = replace(self.said, phase=phase, reason=reason, times=tuple(self.ends.values()))
        ready_at = now if phase is SwitchPhase.READY else self.ready_at
        return replace(self, said=said, since=now, ready_at=ready_at)

    def end(self, name: str, now: float) -> Run:
        """One of ``SWITCH_PHASES`` is over; they end in their order, each once."""
        if len(self.ends) >= len(SWITCH_PHASES) or SWITCH_PHASES[len(self.ends)] != name:
            return self
        return replace(self, ends={**self.ends, name: now - self.begun})


def begin(said: SwitchState, target: NodeName, now: float) -> Run:
    """It is asked for and nothing stands against it."""
    return Run(replace(said, phase=SwitchPhase.PREPARING), target, now, now)


def refuse(said: SwitchState, target: NodeName, reason: SwitchReason, now: float) -> Run:
    """It is asked for and cannot be done."""
    return begin(said, target, now).enter(SwitchPhase.FAILED, now, reason)


def advance(run: Run, facts: SwitchFacts, now: float) -> Run:
    """How far it is now; several phases may be over at once."""
    while run.under_way:
        after = _advance(run, facts, now)
        if after is run:
            break
        run = after
    return run


def _advance(run: Run, facts: SwitchFacts, now: float) -> Run:
    target = facts.states.get(run.target)
    if target is None:
        return run.enter(SwitchPhase.FAILED, now, SwitchReason.TARGET_LOST)
    if not facts.own.vip:
        return _without_vip(run.end("moved", now), target, facts, now)
    if now >= run.deadline:
        return run.enter(SwitchPhase.FAILED, now, _too_late(run.said.phase))
    if _is_thawed(run, facts, now):
        return run.enter(SwitchPhase.FAILED, now, SwitchReason.CHANGED)
    match run.said.phase:
        case SwitchPhase.PREPARING:
            return _prepare(run, target, facts, now)
        case SwitchPhase.READY:
            return _wait_for_target(run, target, facts, now)
        case _:
            gone = target.role is not (Role.STANDBY if run.along else Role.MASTER)
            gone &= not target.vip
            return run.enter(SwitchPhase.FAILED, now, SwitchReason.TARGET_LOST) if gone else run


def _too_late(phase: SwitchPhase) -> SwitchReason:
    reasons = {
        SwitchPhase.PREPARING: SwitchReason.BUSY,
        SwitchPhase.READY: SwitchReason.NOT_PROMOTED,
    }
    return reasons.get(phase, SwitchReason.NOT_MOVED)


def _is_thawed(run: Run, facts: SwitchFacts, now: float) -> bool:
    """Whether a client goes on that has changed since the target has all."""
    changed = not run.along and facts.changed_at > run.ready_at
    return changed and now >= run.ready_at + FREEZE


def _without_vip(run: Run, target: InstanceState, facts: SwitchFacts, now: float) -> Run:
    """The VIP has left: the target has it, or another node, or nobody yet."""
    if target.serves:
        return run.end("served", now).enter(SwitchPhase.DONE, now)
    if any(one.serves for one in facts.states.values()):
        return run.enter(SwitchPhase.FAILED, now, SwitchReason.ELSEWHERE)
    if now >= run.deadline:
        return run.enter(SwitchPhase.FAILED, now, SwitchReason.NOT_MOVED)
    return run


def _prepare(run: Run, target: InstanceState, facts: SwitchFacts, now: float) -> Run:
    if target.role is not Role.STANDBY:
        return run.enter(SwitchPhase.FAILED, now, SwitchReason.TARGET_LOST)
    quiet = not facts.busy or now >= run.begun + QUIET_MAX
    if not (facts.able and quiet and facts.shared and target.sync is Sync.IN_SYNC):
        return run
    return run.end("frozen", now).enter(SwitchPhase.READY, now)


def _goes_along(run: Run, target: InstanceState) -> bool:
    """Whether the target says that it takes the VIP, and will be promoted when that comes."""
    told = target.switchover
    return told is not None and (told.id, told.phase) == (run.said.id, SwitchPhase.READY)


def _wait_for_target(run: Run, target: InstanceState, facts: SwitchFacts, now: float) -> Run:
    ahead = target.role is Role.MASTER and target.epoch > facts.own.epoch
    if not ahead and target.role is not Role.STANDBY:
        return run.enter(SwitchPhase.FAILED, now, SwitchReason.TARGET_LOST)
    if not (ahead or _goes_along(run, target)):
        return run
    if run.along is ahead:
        return replace(run, along=not ahead)
    others = (one for name, one in facts.states.items() if name != run.target)
    lowered = all(one.grade <= Grade.DEGRADED for one in others)
    if not lowered and now < run.ready_at + LOWER_MAX:
        return run
    return run.end("promoted", now).enter(SwitchPhase.MOVING, now)
