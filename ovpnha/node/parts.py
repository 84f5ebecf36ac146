"""The parts of one instance, and what they are together at one moment.

Decides nothing: it describes, for the next step of the role (``situation``), for the VIP manager
(``grade_input``), for the other nodes (``state``) and for those who look (``statistics``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain

from ovpnha.model import (
    NO_EPOCH,
    SOURCES,
    Epoch,
    Grade,
    InstanceState,
    NodeName,
    Role,
    StockState,
    Sync,
)
from ovpnha.node.assembly import Assembly
from ovpnha.node.cluster.conductor import SwitchFacts
from ovpnha.node.cluster.difference import compare_patch, find_difference
from ovpnha.node.cluster.fence import FenceFacts
from ovpnha.node.cluster.grading import GradeInput
from ovpnha.node.cluster.picture import NO_HOLDER
from ovpnha.node.cluster.view import NodeView, Other
from ovpnha.node.memory import Remembered
from ovpnha.node.role.lineage import Kin
from ovpnha.node.role.succession import (
    FETCH_LONG,
    FETCH_MAX,
    KEEP,
    LISTEN,
    SAY_HELD,
    Heir,
    Situation,
    Sources,
)
from ovpnha.node.statistics import InstanceStatistics
from ovpnha.problems import Problem, ProblemKind
from ovpnha.replication.boots import NodeHeard

RENEWED = frozenset({"certificate", "issuer"})
"""What the two processes of one machine may differ in: clients see it at the next handshake."""


class Parts(Assembly):
    """All of one instance, and what they are together."""

    @property
    def clients(self) -> int:
        """How many clients our OpenVPN has."""
        if self.exporter.active:
            return len(self.exporter.table)
        told = self.discovery.stock_clients or 0
        return told if self.discovery.stock else self.importer.table.copies

    @property
    def epoch(self) -> Epoch:
        """A source's own epoch, or the highest that a standby has heard of."""
        return self.own.epoch if self.exporter.active else self.view.highest

    def sync(self, now: float) -> Sync:
        """How complete the copy of a standby is; nothing is claimed before others can be heard."""
        if self.stock.active:
            return Sync.NONE if self.stock.serves else self.stock.sync
        standby = self.role.role is Role.STANDBY and not self._is_unheard(now)
        return self.importer.sync(self.view.highest, now) if standby else Sync.NONE

    def is_settled_in(self) -> bool:
        """Whether news of clients lead to no step: a master, or a standby that wants no VIP."""
        if not self.discovery.settled or self.switchover.active:
            return False
        role = self.role.role
        return role is Role.MASTER or (role is Role.STANDBY and not self.vip.concerns)

    @property
    def is_whole(self) -> bool:
        """Whether this standby has everything that there was, as far as it was ever told."""
        highest, importer = self.view.highest, self.importer
        return highest == NO_EPOCH or (importer.is_complete(highest) and not len(importer.refusals))

    @property
    def remembered(self) -> Remembered | None:
        """What OpenVPN cannot tell of itself; None while it is not known."""
        holder, role, status = self.openvpn.holder, self.role.role, self.discovery.status
        if holder is None or not self.discovery.settled or self.openvpn.unanswered:
            return None
        own, importer, highest = self.own, self.importer, self.view.highest
        if role in SOURCES:
            return Remembered(holder, True, own.epoch, own.origin, highest, own.whole)
        if role is Role.STANDBY:
            return Remembered(holder, False, importer.epoch, NO_EPOCH, highest, self.is_whole)
        differs = role is Role.FAULT and status is not None and status.role is Role.STANDBY
        return Remembered(holder, False, importer.epoch, NO_EPOCH, highest) if differs else None

    # For the next step.

    def situation(self, now: float) -> Situation:
        """All that the next step depends on."""
        view, vip, held = self.view, self.vip, self.role.held_since
        return Situation(
            role=self.role.role,
            able=self.discovery.settled,
            vip=bool(vip.here),
            arrived=vip.arrived,
            promised=vip.promised(now) and not self.discovery.doubted,
            waited=now - max(vip.since, self.role.since),
            epoch=self.own.epoch,
            highest=view.highest,
            highest_claimed=view.highest_is_claimed(),
            rivalled=bool(view.rivals()),
            touched=self.exporter.touched,
            unanswered=bool(self.openvpn.unanswered),
            carried_out=now - self.openvpn.carried_out_at,
            changed_late=held is not None and vip.since <= held <= self.exporter.touched_at,
            planned=self.successor.planned,
            held_over=held is not None and now >= held + self.config.held_max,
            heir=self._heir(now),
            sources=self._sources(now),
        )

    def moments(self) -> Iterator[float]:
        """When time alone may make a step due: not while there is nothing to wait for."""
        yield self._listened()
        if self.is_settled_in():
            return
        begin = max(self.vip.since, self.role.since)
        yield from (begin + SAY_HELD, begin + FETCH_MAX, begin + FETCH_LONG)
        yield self.openvpn.carried_out_at + SAY_HELD
        yield from (self.importer.gained + FETCH_MAX, self._awaited_until())
        if self.role.held_since is not None:
            yield self.role.held_since + self.config.held_max
        yield from self.successor.moments(KEEP)

    def _heir(self, now: float) -> Heir:
        """The node that made the highest epoch, as this one sees it."""
        view = self.view
        kin, state = view.lineage.judge(self.own.epoch, view.highest), view.heir(self.own.epoch)
        spare = state is not None and self._is_needless(kin, state)
        alive = self._is_alive(view.highest.node)
        touched = view.lineage.has_changed(self.own.epoch, view.highest)
        proved = self.backchannel.last_proved(view.highest.node)
        return self.successor.describe(
            kin, now, spare=spare, alive=alive, touched=touched, proved=proved
        )

    def _is_alive(self, node: NodeName | None) -> bool:
        """Whether a node was heard since the VIP is here: it answers the hello that says so."""
        here = self.vip.since if self.vip.here else math.inf
        return node is not None and self.backchannel.last_heard(node) > here

    def _is_needless(self, kin: Kin, heir: InstanceState) -> bool:
        """Whether there is nothing here that the heir should have.

        The table is empty. Or the options differ: then the VIP was given to it without our clients
        on purpose. Or both began with a part, of different tables: who serves now is as good as we
        are, and two nodes that each claim to be better would move the VIP for ever.
        """
        if not len(self.exporter.table) or self.differs(self.view.highest.node, heir):
            return True
        return kin is Kin.UNKNOWN and self.own.sync is Sync.SYNCING

    def _sources(self, now: float) -> Sources:
        view, importer = self.view, self.importer
        followed = view.state(importer.following)
        return Sources(
            complete=importer.is_complete(view.highest),
            behind=importer.table.lacks() > len(importer.refusals),
            followed=None if followed is None else followed.role,
            alive=self._is_alive(importer.following),
            fetching=now < max(importer.gained + FETCH_MAX, self._awaited_until()),
            elsewhere=self._is_elsewhere(),
            begins=view.anyone_begins(now, FETCH_MAX),
            unheard=self._is_unheard(now),
        )

    def _awaited_until(self) -> float:
        """Until when a standby that has nothing waits for a node that has clients and was heard."""
        node = self.importer.following
        followed = self.view.state(node)
        if self.clients or node is None or followed is None or not followed.clients:
            return -math.inf
        return self.backchannel.last_heard(node) + FETCH_MAX

    def _is_unheard(self, now: float) -> bool:
        """Whether this sidecar has just started and has heard nobody yet."""
        return self.view.lone_since() is not None and now < self._listened()

    def _listened(self) -> float:
        """When all other nodes have been heard, if there are any: a sidecar may start slowly."""
        found_at = self.discovery.found_at
        return (self.view.started if found_at is None else found_at) + LISTEN

    def _is_elsewhere(self) -> bool:
        """Whether another standby, with the same options, has clients that this node lacks."""
        return any(
            self.view.knows_more(state, self.clients) and not self.differs(node, state)
            for node, state in self.view.states()
        )

    def _is_copied(self) -> bool:
        """Whether a standby keeps copies of clients that this master lacks."""
        lacks = self.role.role is Role.MASTER and self.own.sync is Sync.SYNCING
        return lacks and any(
            state.role is Role.STANDBY and state.clients > self.clients
            for _, state in self.view.states()
        )

    def _is_kept(self) -> bool:
        """Whether a held node, with the same options, keeps clients that this source lacks."""
        lacks = self.role.role in SOURCES and self.own.sync is Sync.SYNCING
        return lacks and any(
            state.role is Role.HELD
            and state.grade == Grade.MASTER
            and not self.differs(node, state)
            for node, state in self.view.states()
        )

    @property
    def heard_heir(self) -> NodeName | None:
        """The node of a higher epoch than ours, if it is heard as such and can be listened to."""
        heir, node = self.view.heir(self.own.epoch), self.view.highest.node
        return None if heir is None or self.differs(node, heir) else node

    def differs(self, node: NodeName, state: InstanceState) -> bool:
        """Whether a node must not replicate with this one, as far as is known."""
        return bool(self.find_difference(node, state))

    def find_difference(self, node: NodeName | None, state: InstanceState | None) -> str:
        """What keeps a node from replicating with this one, as far as is known.

        A process is started anew on its machine to have another certificate, too.
        """
        status, tolerated = self.discovery.status, self.config.tolerate
        if node == self.view.sibling:
            tolerated |= RENEWED
        if status is None or state is None:
            return ""
        return find_difference(status, state, tolerated)

    # For the VIP manager and the other nodes.

    def grade_input(self, now: float) -> GradeInput:
        """All that the grade depends on."""
        view, heir = self.view, self._heir(now)
        higher = self.role.role is Role.HELD and view.highest > self.own.epoch
        lone, silent, relinked = view.lone_since(), view.silent_since(), view.relinked
        return GradeInput(
            role=self.role.role,
            fault=self.role.why,
            seamless=self.discovery.seamless,
            vip=bool(self.vip.here),
            handing_over=self.vip.handing_over(now),
            handed_over=self.vip.handed_over and view.anyone_awaited(),
            complete=self.importer.is_complete(view.highest) and not self._is_unheard(now),
            master_heard=self.importer.following is not None,
            links_up=view.links_up,
            relinked=None if relinked is None else now - relinked,
            silent=None if silent is None else now - silent,
            outranked=view.is_outranked(self.own.epoch),
            lone=None if lone is None else now - lone,
            age=now - view.started,
            served=view.anyone_serves(),
            outdone=self._is_elsewhere(),
            lone_after=self.config.lone_after,
            vip_problem=self.vip_problems.first,
            lacking=self._is_kept(),
            superseded=higher,
            outlived=higher and heir.kin is Kin.ABOVE,
            wanting=higher and heir.role is not None and not heir.has,
            refused=len(self.importer.refusals.lasting(now)),
            rangeless=self.importer.rangeless(now),
            empty=not self.clients,
            bettered=view.anyone_in_sync(),
            unused=self.vip.unused,
            yields=self.switchover.stands_back,
            stands=self.pause.grade,
            acts=self.pause.serves,
            relieved=view.anyone_acts(),
            proved=self.importer.proved,
            failing=self.checks.failing,
            copied=self.stock.copied,
            unfenced=self.fence.most,
            guarded=self.fence.required and view.anyone_fit(),
        )

    def fence_facts(self) -> FenceFacts:
        """All that a fence depends on."""
        known = self.role.role is Role.HELD or self.view.knows_masters
        bcn = self.backchannel
        suspects = self.view.suspects(bcn.last_heard, bcn.last_proved)
        return FenceFacts(self.role.role, bool(self.vip.here), known, tuple(suspects))

    @property
    def goes_ahead(self) -> bool:
        """Whether OpenVPN may be promoted before the VIP is here; bound to IPv6 it would speak."""
        return not self.discovery.speaks_early(self.config.vips)

    def switch_facts(self, now: float) -> SwitchFacts:
        """All that a switchover depends on."""
        target, exporter = self.switchover.target, self.exporter
        able = self.discovery.sure and not self.openvpn.unanswered
        return SwitchFacts(
            *(self.state(self.announcer.grade[0], now), able, dict(self.view.states())),
            ahead=self.goes_ahead,
            whole=self.sync(now) is Sync.IN_SYNC and not self.importer.table.lacks(),
            busy=exporter.busy,
            shared=target is not None and exporter.complete and exporter.table.is_at(target),
            changed_at=exporter.changed_at,
        )

    def state(self, grade: Grade, now: float) -> InstanceState:
        """What hello says."""
        status, stock = self.discovery.status, self.stock.active
        source = self.exporter.active
        return InstanceState(
            role=Role.INIT if stock else self.role.role,
            epoch=self.epoch,
            vip=bool(self.vip.here),
            sync=Sync.NONE if stock else self.own.sync if source else self.sync(now),
            grade=int(grade),
            holder=self.openvpn.holder or NO_HOLDER,
            clients=self.clients,
            record_format=status.record_format if status else 0,
            openvpn=self.discovery.version,
            digest=status.digest if status else "",
            certificate=status.certificate if status else "",
            issuer=status.issuer if status else "",
            managed=self.announcer.managed and self.slot,
            origin=self.own.origin if source else NO_EPOCH,
            touched=source and self.exporter.touched,
            switchover=self.switchover.said,
            paused=self.pause.active,
            checks=self.checks.states,
            stock=StockState(self.role.role, self.stock.whole) if stock else None,
        )

    # For those who look.

    def statistics(self, heard: Mapping[NodeName, NodeHeard], now: float) -> InstanceStatistics:
        """The instance at one moment."""
        problems = chain(self._problems(), *(part.problems(now) for part in self))
        return InstanceStatistics(
            name=self.config.name,
            role=self.role.role,
            epoch=self.epoch,
            sync=self.sync(now),
            vip=bool(self.vip.here),
            clients=self.clients,
            openvpn=self.openvpn.statistics(now),
            discovery=self.discovery.statistics(now),
            announcer=self.announcer.statistics(now),
            own=self.own.statistics(now),
            promotion=self.promotion.statistics(now),
            exporter=self.exporter.statistics(now),
            importer=self.importer.statistics(now),
            traffic=self.traffic.statistics(now),
            checking=self.checks.statistics(now),
            rekey=self.rekey.statistics(now),
            stock=self.stock.statistics(now),
            switchover=self.switchover.statistics(now),
            pause=self.pause.statistics(now),
            fence=self.fence.statistics(now),
            apart=self.apart.statistics(now),
            nodes=tuple(
                self._describe_node(name, other, heard.get(name), now)
                for name, other in self.view.others(now)
            ),
            problems=tuple(replace(one, instance=self.config.name) for one in problems),
        )

    def _problems(self) -> Iterator[Problem]:
        """What no part knows alone."""
        missed, fault = self.discovery.unreachable, self.role.fault
        if self.role.role is Role.FAULT:
            yield from [fault] if fault is not None else []
        elif missed is not None:
            what = f"OpenVPN is not reached: {missed.reason}"
            yield Problem(ProblemKind.MANAGEMENT_UNREACHABLE, what, missed.fix)
        if self._is_kept() or self._is_copied():
            yield self.own.describe_lacked()

    def _describe_node(
        self, name: NodeName, other: Other, heard: NodeHeard | None, now: float
    ) -> NodeView:
        state, status = other.state, self.discovery.status
        problem = other.current_problem(now)
        if state is not None and not problem:
            problem = compare_patch(state, known=self.discovery.known, stock=self.discovery.stock)
        if state is not None and status is not None and state.record_format and not problem:
            difference = self.find_difference(name, state)
            problem = Problem(ProblemKind.NODE_DIFFERS, difference) if difference else None
        problem = problem and replace(problem, instance=self.config.name, node=name)
        return other.describe(name, heard, problem, now)
