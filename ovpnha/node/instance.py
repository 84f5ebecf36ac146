"""One OpenVPN instance of this node: the steps of its role.

The only one who moves the role. Every event is taken by the parts that it concerns (``dispatch``);
then ``evaluate`` looks at the whole situation anew, so that no order of events can lead astray. It
does, in this order:

1. **Take up** the role that OpenVPN was found in. Until OpenVPN, its clients and the VIP are known
   nothing may be ordered: it may be serving clients at this very moment.
2. **Follow** the right node. Before the step, which depends on whose copy this is; and two nodes
   that must not replicate are in fault before anybody is promoted by what the other says.
3. **Switch**: this node's part in a switchover. Before the step, which may follow from a promise
   that is made or broken there.
4. **Step**: ask ``succession``, leave out what a pause or a fence forbids, carry the step out,
   follow anew, until it says stay. An order is written at once, before anything else of this list:
   a promotion must not wait, and OpenVPN answers in order, so that all that is written later can
   rely on it. The VIP manager hears of a new role within the step, too.
5. **The VIP has arrived** no longer, once a master's OpenVPN has answered. After the steps, which
   that word is for.
6. **Grant**: tell the exporter which standbys there are. After the role: only a master may grant,
   or a held node as long as no higher epoch exists. What is exported stands behind the order.
7. **Protect**: whether new clients wait. After the role: nobody waits for a node that serves no
   more.
8. **Answer** a node that has just been given the VIP: a source that lives can be fetched from.
9. **Watch** for a second master, which needs the role of now.
10. **Note** that a promotion is published: the last step may have been the one that completed it.
11. **Say** grade and state, which depend on everything above; the other nodes believe them.
12. **Flush**: all commands of this step leave in one write. Without the patch: ``stocksteps``, 11.

News of clients alone change no role of a master, nor of a standby that wants no VIP: for them
``evaluate_clients`` does 10 to 12 only, and looks at the grade only when the copy has changed.

Each may be interrupted, by the death of this process, after any of them: a new process finds
OpenVPN in the role that was ordered, and begins with 1. Must never wait. Rules: docs/roles.md.
"""

from __future__ import annotations

from ovpnha.management.codes import Code
from ovpnha.management.commands import Demote, Hold, ListInstances, Promote
from ovpnha.management.notices import EndNotice, RoleNotice
from ovpnha.management.replies import Refused
from ovpnha.model import NO_EPOCH, SOURCES, NodeName, OpenvpnStatus, Role, Sync, Unreachable
from ovpnha.node.change import RoleChange
from ovpnha.node.cluster.grading import CopyFigures
from ovpnha.node.openvpn.discovery import RETRY_AFTER, RETRY_ORDER_AFTER
from ovpnha.node.part import first
from ovpnha.node.parts import Parts
from ovpnha.node.role.machine import Trigger
from ovpnha.node.role.reasons import describe_held, describe_step
from ovpnha.node.role.succession import Situation, Step, decide, next_epoch
from ovpnha.node.steps import Steps
from ovpnha.node.stocksteps import StockSteps
from ovpnha.node.verbs import Verbs
from ovpnha.problems import Problem, ProblemKind

STARTS_ANEW = Problem(ProblemKind.SERVER_STARTING, "OpenVPN starts anew")
SILENT = Problem(
    ProblemKind.SERVER_SILENT,
    "OpenVPN does not answer",
    "see its log; does a script of it hang, or has another program its management socket (ss -xp)?",
)


class Instance:
    """The role of one OpenVPN. Every event is followed by ``evaluate``."""

    def __init__(self, parts: Parts, now: float) -> None:
        self.parts = parts
        self._change = RoleChange(parts)
        self._steps = Steps(parts, self._change)
        self._stock = StockSteps(parts, self._change)
        self.verbs = Verbs(parts, self._steps)
        self._seen = now  # the last step
        self._copy: CopyFigures | None = None  # what the grade was made from, as far as records go

    @property
    def role(self) -> Role:
        """The role now."""
        return self.parts.role.role

    # The connection to OpenVPN.

    def connect(self, now: float) -> None:
        """The shell has connected to OpenVPN."""
        parts = self.parts
        parts.discovery.unreachable = None
        fault = parts.role.fault
        if fault is not None and fault.kind is ProblemKind.MANAGEMENT_PASSWORD:
            self._change.forget(now, wait=True)  # it may ask for it again
        else:
            self._change.unlearn(now)
        parts.openvpn.open()
        parts.discovery.ask()

    def miss(self, unreachable: Unreachable, now: float) -> None:
        """The shell cannot connect to OpenVPN, and knows why."""
        discovery = self.parts.discovery
        discovery.unreachable = unreachable
        if unreachable.absent and self._refuse_vip(discovery.down, now):
            discovery.forget(now, wait=False)
        if self.role is Role.FAULT and not self.parts.openvpn.connected:
            self.parts.role.fault = discovery.down

    def disconnect(self, reason: str, now: float) -> None:
        """The connection is gone. One that we had closed is not OpenVPN's end."""
        openvpn = self.parts.openvpn
        if openvpn.closing:
            openvpn.closing = False
            return
        if openvpn.unfinished:
            openvpn.log("warning", "management socket closed in mid-line")
        what = f"OpenVPN is down: {reason}"
        self._change.lose(Problem(ProblemKind.SERVER_DOWN, what), now)
        self.parts.own.forget()
        self._change.forget(now, wait=False)
        openvpn.close()

    def reset(self, problem: str, now: float) -> None:
        """OpenVPN broke the contract of the channel: connect again. It may serve all the while."""
        openvpn = self.parts.openvpn
        openvpn.log("error", "management channel broken", problem=problem)
        openvpn.counters["management_errors"] += 1
        openvpn.hang_up(problem)
        self._change.unlearn(now)
        openvpn.close()

    def give_up(self, fault: Problem, now: float) -> None:
        """Nothing can be ordered: another node must serve. The next connection may be better."""
        self._change.fail(fault, now)
        self.parts.openvpn.hang_up(fault.text)
        self._change.forget(now, wait=False)
        self.parts.openvpn.close()

    def set_slot(self, slot: bool, now: float) -> None:
        """The VIP of this machine is for this process, or for the other one."""
        self.parts.vip.set_slot(slot)
        if not (slot or self.parts.openvpn.connected):
            self._change.miss_no_more(now)

    # What OpenVPN says of its role.

    def take(self, event: object, now: float) -> None:
        """A notice of its role, the end of its clients, or an order that it refuses."""
        match event:
            case RoleNotice():
                self._take_role_notice(event, now)
            case EndNotice():
                self._end(now)
            case Refused(command=Promote() | Hold() | Demote() as order, reason=reason):
                self._order_refused(order.name, reason, now)
            case Refused(code=code):
                self._status_refused(code, now)

    def _take_role_notice(self, notice: RoleNotice, now: float) -> None:
        """Unless an order is under way, it must be the role that we know."""
        openvpn, discovery = self.parts.openvpn, self.parts.discovery
        known = Role.STANDBY if self.role is Role.FAULT else self.role
        expected = notice.role is known and notice.holder == openvpn.holder
        if discovery.settled and not openvpn.unanswered and not expected:
            openvpn.log("warning", "openvpn changed its role by itself")
            self._change.unlearn(now)
            discovery.ask()

    def _end(self, now: float) -> None:
        """OpenVPN has given up its clients. It exits, or starts anew and answers in a moment."""
        self._change.lose(STARTS_ANEW, now)
        self.parts.own.forget()
        self._change.forget(now, wait=True)
        self.parts.discovery.ask_later(now + RETRY_AFTER)

    def _order_refused(self, order: str, reason: str, now: float) -> None:
        """Find out anew what it is."""
        openvpn = self.parts.openvpn
        openvpn.log("error", "openvpn refused an order", order=order, reason=reason)
        openvpn.counters["orders_refused"] += 1
        self._change.unlearn(now)
        self.parts.discovery.ask_later(now + RETRY_ORDER_AFTER)

    def _status_refused(self, code: Code, now: float) -> None:
        """OpenVPN does not say what it is: it lacks the patch, or it is starting."""
        self.parts.discovery.take_refusal(code, now)
        if not self.parts.discovery.stock:
            self._refuse_vip(STARTS_ANEW, now)

    def _refuse_vip(self, fault: Problem, now: float) -> bool:
        """At the start of a sidecar: the VIP is with an OpenVPN that cannot serve."""
        refuses = self.role is Role.INIT and bool(self.parts.vip.here)
        if refuses:
            self._change.fail(fault, now)
        return refuses

    # Time.

    def get_timer(self) -> float | None:
        """When time alone will change something."""
        return first((self.parts.get_timer(), first(self.parts.moments(), after=self._seen)))

    def handle_timer(self, now: float) -> None:
        """Let what depends on time happen; ``evaluate`` must follow."""
        discovery, liveness, *others = self.parts
        discovery.handle_timer(now)
        if self.parts.discovery.overdue:
            if self.parts.openvpn.connected and not self.parts.discovery.waiting:
                self._change.fail(SILENT, now)
            else:
                self._change.lose(self.parts.sharing.waits or self.parts.discovery.down, now)
        liveness.handle_timer(now)
        if self.parts.liveness.hangs and self.parts.discovery.known:
            self.give_up(SILENT, now)
        for part in others:
            part.handle_timer(now)

    # The whole situation.

    def evaluate(self, now: float) -> None:
        """Do what the situation demands now, in the order that stands above."""
        parts = self.parts
        self._seen = now
        if self._stock.evaluate(now):
            self._say(now)
            return
        self._settle(now)
        self._choose(now)
        self.verbs.repeat(now)
        self._switch(now)
        while (step := self._decide(situation := parts.situation(now))) is not Step.STAY:
            parts.role.reason = describe_step(step, situation, parts.vip.why)
            self._steps.take(step, now)
            self._choose(now)
        master = self.role is Role.MASTER
        if master and not parts.openvpn.unanswered:
            parts.vip.arrived = False
        latest = self.role in SOURCES and parts.view.highest <= parts.own.epoch
        parts.exporter.set_holders(parts.view.holders(), now, granting=master or latest)
        parts.exporter.table.ignore(parts.view.sibling if parts.view.has_machines else None, now)
        if master:
            waits_until = parts.switchover.waits_until
            parts.exporter.protection.freeze(waits_until, now)
            ready = waits_until is not None or parts.view.anyone_whole()
            parts.exporter.protection.set_ready(ready, now)
        else:
            parts.exporter.protection.stop()
        if latest or master:
            parts.announcer.answer(parts.view.bearers(), now)
        parts.two_masters.watch(parts.view.serving() if master and parts.vip.here else [], now)
        if parts.exporter.complete:
            parts.promotion.reach("published", now)
        self._say(now)
        parts.openvpn.flush()

    def _decide(self, situation: Situation) -> Step:
        step = self.parts.pause.filter(decide(situation), situation)
        return self.parts.fence.filter(step, self.parts.fence_facts, self._seen)

    def evaluate_clients(self, now: float) -> None:
        """Do what follows from news of clients alone, when nothing is waited for."""
        parts = self.parts
        if parts.exporter.complete:
            parts.promotion.reach("published", now)
        if self.role is Role.MASTER:
            parts.announcer.say_clients(parts.clients, now, touched=parts.exporter.touched)
        elif (copy := self._describe_copy(now)) != self._copy:
            served = self.role is Role.STANDBY and self._change.known and parts.view.anyone_serves()
            if served and copy.weighs_like(self._copy):
                self._copy = copy
                parts.announcer.say_clients(parts.clients, now, touched=False)
            else:
                self._say(now)
        parts.openvpn.flush()

    def _describe_copy(self, now: float) -> CopyFigures:
        importer, highest = self.parts.importer, self.parts.view.highest
        whole = importer.is_complete(highest), importer.proved
        lacks = len(importer.refusals.lasting(now)), importer.rangeless(now)
        return CopyFigures(importer.table.copies, *whole, *lacks)

    def _choose(self, now: float) -> None:
        """Follow the right node, unless this node must not replicate with it."""
        parts, importer = self.parts, self.parts.importer
        status = parts.discovery.status
        if self.role in SOURCES:
            self._watch_successor(now)
        if self.role not in (Role.STANDBY, Role.FAULT) or not parts.discovery.settled:
            return
        assert status is not None  # noqa: S101 - settled means answered
        latest = max(importer.epoch, parts.own.epoch)
        if parts.view.anyone_may_have_more(parts.clients):
            importer.completeness.doubt()
        master = parts.view.choose_master(importer.following, latest)
        state = parts.view.state(master)
        difference = parts.find_difference(master, state)
        if difference:
            self._differ(difference, master, now)
            return
        if self.role is Role.FAULT:
            self._change.move(Trigger.AGREES, now)
        importer.follow(master, state.epoch if state else NO_EPOCH, now)
        if state is not None:
            importer.keep(state.sync is Sync.SYNCING, now)

    def _switch(self, now: float) -> None:
        """Do this node's part in a switchover; the master begins no handshakes meanwhile."""
        parts = self.parts
        if not parts.switchover.concerns(parts.view.states()):
            return
        before = parts.switchover.freezes
        parts.switchover.observe(parts.switch_facts(now), now)
        if self.role is Role.MASTER and parts.switchover.freezes is not before:
            parts.rekey.freeze(now, on=not before)

    def _watch_successor(self, now: float) -> None:
        """Held: listen to the node that was promoted after this one."""
        parts = self.parts
        parts.successor.observe(parts.view.heir(parts.own.epoch), now)
        heir = parts.heard_heir if self.role is Role.HELD else None
        if heir is not None:
            parts.predecessor.give_way()
        parts.successor.follow(heir, now)

    def _differ(self, difference: str, master: NodeName | None, now: float) -> None:
        parts = self.parts
        parts.importer.follow(None, NO_EPOCH, now)
        fault = Problem(ProblemKind.DIFFERS_FROM_MASTER, difference)
        if fault != parts.role.fault:
            parts.openvpn.log("error", "must not replicate", problem=difference, node=master)
        parts.role.fault = fault
        if self.role is Role.STANDBY:
            self._change.move(Trigger.DIFFERS, now)

    # What was found, and what was lost.

    def _settle(self, now: float) -> None:
        """Take up the role that OpenVPN was found in, once the VIP is known too."""
        parts, discovery = self.parts, self.parts.discovery
        status, clients = discovery.status, discovery.clients
        if discovery.settled or status is None or clients is None or parts.vip.here is None:
            return
        discovery.settle(now)
        parts.traffic.start(now)
        parts.view.note_epoch(status.epoch)
        if status.role is Role.STANDBY:
            self._recall_copy(status, now)
            parts.own.forget()
            parts.importer.find(clients)
            parts.reconnecting.clear()
            self._change.move(Trigger.FOUND_STANDBY, now)
        else:
            self._take_up(status, now)
            parts.exporter.take_list(clients, now)

    def _recall_copy(self, status: OpenvpnStatus, now: float) -> None:
        """What is known of this standby's copy from before, if it is the same process."""
        view, known = self.parts.view, self.parts.memory.recall(status.holder, now)
        if known is None or known.source:
            return
        if self.parts.own.epoch == view.highest:  # the order to begin it was lost with the channel
            view.forget_ours(known.highest)
        view.note_epoch(known.highest)
        if known.epoch != NO_EPOCH:
            self.parts.importer.recall(known.epoch, whole=bool(known.whole))

    def _recall_epoch(self, status: OpenvpnStatus, now: float) -> None:
        """How this source came to its epoch; a memory of its copy is of just before that."""
        own, known = self.parts.own, self.parts.memory.recall(status.holder, now)
        if known is None:
            return
        self.parts.view.note_epoch(known.highest)
        if not known.source or known.epoch == own.epoch:
            own.recall(known.origin if known.source else known.epoch, known.whole, now)
            self._change.note_epoch()

    def _take_up(self, status: OpenvpnStatus, now: float) -> None:
        """OpenVPN was found master or held: its clients are untouched, the source is rebuilt."""
        parts, own = self.parts, self.parts.own
        if status.epoch > own.epoch:
            own.take_up(status.epoch)
            self._recall_epoch(status, now)
        if status.role is Role.MASTER and parts.vip.wanted(now):
            if own.epoch == NO_EPOCH:
                own.take_up(next_epoch(parts.view.highest, parts.node))
                self._change.note_epoch()
            elif own.epoch > status.epoch:
                self._change.order(Promote(own.epoch))  # it was lost with the channel
            self._change.move(Trigger.FOUND_MASTER, now)
            parts.reconnecting.resume(now)
            parts.openvpn.send(ListInstances())
        else:
            if status.role is Role.MASTER:
                self._change.order(Hold())
            parts.role.held_since, parts.role.reason = now, describe_held(status)
            self._change.move(Trigger.FOUND_HELD, now)
        parts.exporter.start(now, touched=True)

    def _say(self, now: float) -> None:
        parts = self.parts
        self._copy = self._describe_copy(now)
        if self._change.known:
            parts.announcer.say_state(parts.state(self._change.say_grade(now), now), now)
        elif not (parts.slot or parts.openvpn.connected):
            parts.announcer.retract(now)
