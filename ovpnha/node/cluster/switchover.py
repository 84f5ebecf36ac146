"""A switchover as this node sees it: asked for here, carried out here, or going on around it.

One instance has one of these, whatever the node is to the switchover:

* where the command was given: it *wishes*, in its hellos, until the master has taken the wish;
* the master: it carries a wish out that is meant for it, in its epoch, once (``conductor``);
* the target: when the master is ready it counts the VIP as promised, and so promotes itself; or,
  where its OpenVPN, which is asked first, would speak before the VIP is there, it repeats the
  switchover in its hellos and waits for the VIP. It gives that up when the master calls it off, and
  by itself when the time is over;
* any other standby: it stands back, by its grade, until the VIP has moved.

Decides what of that this node does now. It acts by the VIP's wishes alone (``role.vip``): a role
still follows the VIP, or its promise, by the one table of ``succession``. Must never believe a node
that is not heard: what it said ends with it. Rules: docs/roles.md, "A switchover".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from ovpnha.model import (
    SWITCH_PHASES,
    InstanceState,
    NodeName,
    Role,
    SwitchPhase,
    SwitchReason,
    SwitchState,
)
from ovpnha.node.cluster.conductor import (
    FREEZE,
    PREPARE_MAX,
    READY_MAX,
    Run,
    SwitchFacts,
    advance,
    begin,
    refuse,
)
from ovpnha.node.cluster.obstacles import UNDER_WAY, SwitchPlan, make_plan
from ovpnha.node.openvpn.openvpn import Openvpn
from ovpnha.node.part import Part, first
from ovpnha.node.role.vip import Vip
from ovpnha.replication.sealing import node_tag

SHOWN = 10.0
"""Seconds for which a master says how a switchover ended."""

ANSWER_MAX = 2.0
"""Seconds within which the master must have taken a wish: a sidecar of an older version never does,
and four hellos in a row are seldom lost."""

GRACE = 3.0
"""Seconds beyond all limits until a node that asked gives up: more than a dead node is believed."""

REMEMBERED = 64  # ids of wishes that are not carried out again

AHEAD = frozenset({SwitchPhase.READY, SwitchPhase.MOVING})
OVER = frozenset({SwitchPhase.DONE, SwitchPhase.FAILED})


@dataclass(frozen=True)
class SwitchFigures:
    """How far a switchover is, or how the last one ended, as far as this node knows."""

    id: bytes
    phase: str  # the name of a SwitchPhase, in small letters
    reason: str  # of a SwitchReason, likewise; "" when there is none
    master: NodeName  # who carries it out; "" when it is not known by its name
    target: NodeName
    times: Mapping[str, float] = field(default_factory=dict)
    """Seconds from its begin to the end of each phase that is over."""


@dataclass(frozen=True)
class _Wish:
    """Asked for on this node."""

    said: SwitchState  # as wished, then as the master says
    plan: SwitchPlan
    asked: float
    taken: bool = False

    @property
    def number(self) -> bytes:
        """What names it."""
        return self.said.id

    @property
    def give_up_at(self) -> float:
        """When no word of the master can be waited for any more."""
        limit = PREPARE_MAX + READY_MAX + self.said.within + GRACE
        return self.asked + (limit if self.taken else ANSWER_MAX)


class Switchover(Part):
    """All of one instance."""

    def __init__(
        self, node: NodeName, openvpn: Openvpn, vip: Vip, doubt: Callable[[], bool]
    ) -> None:
        self._node = node
        self._doubt = doubt  # asks OpenVPN anew whether it may go ahead; False: that cannot change
        self._tag = node_tag(node)
        self._openvpn = openvpn
        self._vip = vip
        self._wish: _Wish | None = None
        self._run: Run | None = None
        self._done: deque[bytes] = deque(maxlen=REMEMBERED)  # ids that were taken up here
        self._offered = b""  # the one for which OpenVPN was asked
        self._along: SwitchState | None = None  # as target that waits for the VIP: gone along with
        self._promised: SwitchState | None = None
        self.stands_back = False  # as another standby: the VIP shall go to the target
        self._back: tuple[bytes, float] | None = None  # for which one, and until when at most
        self._heard: SwitchState | None = None  # what another node says of one
        self._names: dict[bytes, NodeName] = {self._tag: node}
        self._seen = 0.0

    # What is asked.

    def ask(self, number: bytes, plan: SwitchPlan, within: float, now: float) -> None:
        """An administrator wants this; nothing stands against it, as far as this node sees."""
        ends = (node_tag(plan.target), node_tag(plan.master))
        said = SwitchState(number, SwitchPhase.WISHED, *ends, plan.epoch.counter, within)
        self._wish = _Wish(said, plan, now)

    # What it is to the rest of this node.

    @property
    def said(self) -> SwitchState | None:
        """What hello says."""
        if self._wish is not None and self._wish.said.phase is SwitchPhase.WISHED:
            return self._wish.said
        if self._along is not None:
            return self._along
        return self._run.said if self._run is not None else None

    @property
    def freezes(self) -> bool:
        """As master: nothing is begun with clients that could wait."""
        return self._run is not None and self._run.under_way

    @property
    def waits_until(self) -> float | None:
        """As master: until when new clients and new keys wait; the target has gone ahead."""
        run = self._run
        waits = run is not None and not run.along and run.said.phase in AHEAD
        return run.ready_at + FREEZE if run is not None and waits else None

    @property
    def target(self) -> NodeName | None:
        """As master: who shall have everything."""
        return self._run.target if self._run is not None and self._run.under_way else None

    @property
    def active(self) -> bool:
        """Whether news of clients may change something."""
        return self.freezes or self._promised is not None or self._heard is not None

    # What happens.

    def concerns(self, states: Iterable[tuple[NodeName, InstanceState]]) -> bool:
        """Whether there is anything of a switchover to be looked at."""
        own = (self._wish, self._run, self._along, self._promised, self._heard, self._back)
        return any(one is not None for one in own) or any(
            state.switchover is not None for _, state in states
        )

    def observe(self, facts: SwitchFacts, now: float) -> None:
        """Look at the whole situation anew."""
        self._names.update((node_tag(name), name) for name in facts.states)
        said = {name: one.switchover for name, one in facts.states.items() if one.switchover}
        self._heard = next((one for one in said.values() if one.phase in AHEAD), None)
        self._take_wishes(said, facts, now)
        self._conduct(facts, now)
        self._follow(facts, said, now)
        self._stand_back(said, now)
        self._watch_wish(facts.states, now)

    def _take_wishes(
        self, said: Mapping[NodeName, SwitchState], facts: SwitchFacts, now: float
    ) -> None:
        """As master: begin what is wished, by this node or by another one that is believed."""
        if not facts.own.serves or self.freezes:
            return
        own = self._wish.said if self._wish is not None else None
        for by, wish in [(self._node, own), *said.items()]:
            if wish is not None and self._is_meant(wish, facts):
                self._done.append(wish.id)
                self._begin(wish, by, facts, now)
                return

    def _is_meant(self, wish: SwitchState, facts: SwitchFacts) -> bool:
        ours = wish.master == self._tag and wish.epoch == facts.own.epoch.counter
        return ours and wish.phase is SwitchPhase.WISHED and wish.id not in self._done

    def _begin(self, wish: SwitchState, by: NodeName, facts: SwitchFacts, now: float) -> None:
        target = self._names.get(wish.target, NodeName(""))
        log, place = self._openvpn.log, {"target": target, "by": by}
        plan = make_plan({**facts.states, self._node: facts.own}, target)
        reasons = [one.reason for one in plan.obstacles] if target else [SwitchReason.UNKNOWN]
        if reasons:
            self._run = refuse(wish, target, reasons[0], now)
            log("warning", "switchover refused", reason=reasons[0].name.lower(), **place)
        else:
            self._run = begin(wish, target, now)
            log("info", "switchover begun", **place)

    def _conduct(self, facts: SwitchFacts, now: float) -> None:
        run = self._run
        if run is None:
            return
        if run.under_way:
            self._run = after = advance(run, facts, now)
            self._carry_out(run.said.phase, after, now)
        elif now >= run.since + SHOWN:
            self._run = None

    def _carry_out(self, before: SwitchPhase, run: Run, now: float) -> None:
        """What the phase that was reached means for the VIP."""
        phase = run.said.phase
        if phase is before:
            return
        if phase is SwitchPhase.MOVING:
            self._vip.hand_over(now)
        elif phase is SwitchPhase.DONE:
            self._openvpn.counters["switchovers"] += 1
            seconds = {name: round(end, 6) for name, end in run.ends.items()}
            self._openvpn.log("info", "switchover done", target=run.target, **seconds)
        elif phase is SwitchPhase.FAILED:
            self._vip.keep()
            self._openvpn.counters["switchovers_failed"] += 1
            why = run.said.reason.name.lower()
            self._openvpn.log("error", "switchover failed", target=run.target, reason=why)

    def _follow(self, facts: SwitchFacts, said: Mapping[NodeName, SwitchState], now: float) -> None:
        """As target: be promised the VIP while the master says so, or go along with it."""
        self._along = None
        if self._promised is not None:
            if facts.own.vip or not self._vip.promised(now):
                self._promised = None
            elif self._is_called_off(facts.states, self._promised):
                self._promised = None
                self._vip.break_promise()
                self._openvpn.log("warning", "switchover called off by the master")
            return
        if facts.own.role is not Role.STANDBY or facts.own.vip:
            return
        for name, one in said.items():
            if self._is_for_us(name, one, facts.states[name]):
                self._take_offer(name, one, facts, now)
                return

    def _take_offer(
        self, master: NodeName, one: SwitchState, facts: SwitchFacts, now: float
    ) -> None:
        asked = one.id != self._offered and self._doubt()
        self._offered = one.id
        if asked or one.phase not in AHEAD or not (facts.whole and facts.able):
            return
        if not facts.ahead:
            self._along = one
            return
        self._done.append(one.id)
        self._promised = one
        self._vip.promise(now + READY_MAX + one.within)
        self._openvpn.log("info", "promoting ahead of the vip", master=master)

    def _is_for_us(self, name: NodeName, one: SwitchState, state: InstanceState) -> bool:
        serves = state.serves and one.master == node_tag(name)
        ours = one.target == self._tag and one.id not in self._done
        return serves and ours and one.phase in UNDER_WAY

    def _is_called_off(
        self, states: Mapping[NodeName, InstanceState], promised: SwitchState
    ) -> bool:
        """Whether its master is heard and does not say any more what it said."""
        master = states.get(self._names[promised.master])
        if master is None:
            return False
        one = master.switchover
        return one is None or one.id != promised.id or one.phase not in AHEAD

    def _stand_back(self, said: Mapping[NodeName, SwitchState], now: float) -> None:
        """As another standby; never for longer than the whole may take."""
        ahead = next(
            (
                one
                for name, one in said.items()
                if one.phase in AHEAD and one.master == node_tag(name) and one.target != self._tag
            ),
            None,
        )
        if ahead is None:
            self._back = None
        elif self._back is None or self._back[0] != ahead.id:
            self._back = ahead.id, now + READY_MAX + ahead.within + GRACE
        self.stands_back = self._back is not None and now < self._back[1]

    def _watch_wish(self, states: Mapping[NodeName, InstanceState], now: float) -> None:
        """Where the command was given: what has become of it."""
        wish = self._wish
        if wish is None or wish.said.phase in OVER:
            return
        master = states.get(wish.plan.master)
        told = master.switchover if master is not None else None
        if wish.plan.master == self._node:
            told = self._run.said if self._run is not None else None
        if told is not None and told.id == wish.said.id and told.phase is not SwitchPhase.WISHED:
            self._wish = replace(wish, said=told, taken=True)
            return
        reason = _judge_wish(wish, states, told, now)
        if reason is not None:
            phase = SwitchPhase.FAILED if reason is not SwitchReason.NONE else SwitchPhase.DONE
            self._wish = replace(wish, said=replace(wish.said, phase=phase, reason=reason))

    # Time, and those who look.

    def get_timer(self) -> float | None:
        """When time alone may change something."""
        return first(self._moments(), after=self._seen)

    def _moments(self) -> Iterator[float]:
        if self._run is not None:
            yield from self._run.moments()
            yield self._run.since + SHOWN
        if self._wish is not None and self._wish.said.phase not in OVER:
            yield self._wish.give_up_at
        if self._back is not None:
            yield self._back[1]

    def handle_timer(self, now: float) -> None:
        """What it means is seen in the step that follows."""
        self._seen = now

    def stop(self, now: float) -> None:
        """OpenVPN is gone, or not known: nothing is given to anybody, nor taken."""
        if self._run is not None and self._run.under_way:
            before = self._run.said.phase
            self._run = self._run.enter(SwitchPhase.FAILED, now, SwitchReason.SERVER_LOST)
            self._carry_out(before, self._run, now)
        if self._promised is not None:
            self._promised = None
            self._vip.break_promise()

    def statistics(self, _now: float) -> SwitchFigures | None:
        """The one that is under way, else the last one that was asked for or carried out here."""
        run = self._run.said if self._run is not None else None
        wish = self._wish.said if self._wish is not None else None
        known = (run if self.freezes else None, self._heard, wish, run)
        found = next((one for one in known if one is not None), None)
        return self._describe(found) if found is not None else None

    def wished(self, number: bytes) -> SwitchFigures | None:
        """What has become of the one that was asked for here; None when that is another one."""
        if self._wish is None or self._wish.number != number:
            return None
        return self._describe(self._wish.said)

    def _describe(self, one: SwitchState) -> SwitchFigures:
        times = dict(zip(SWITCH_PHASES, one.times, strict=False))
        master, target = (self._names.get(tag, NodeName("")) for tag in (one.master, one.target))
        reason = "" if one.reason is SwitchReason.NONE else one.reason.name.lower()
        return SwitchFigures(one.id, one.phase.name.lower(), reason, master, target, times)


def _judge_wish(
    wish: _Wish, states: Mapping[NodeName, InstanceState], told: SwitchState | None, now: float
) -> SwitchReason | None:
    """How it has ended though its master does not say so; None: that cannot be known yet."""
    if wish.taken:
        target = states.get(wish.plan.target)
        if target is not None and target.serves:
            return SwitchReason.NONE
        return SwitchReason.MASTER_LOST if now >= wish.give_up_at else None
    if told is not None and told.phase in UNDER_WAY:
        return SwitchReason.UNDER_WAY
    return SwitchReason.NO_ANSWER if now >= wish.give_up_at else None
