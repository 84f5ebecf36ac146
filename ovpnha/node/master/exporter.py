"""A source's duties: what OpenVPN has becomes records on the back channel, granted to each standby.

Decides when a client is exported, for which holders, and what is told to OpenVPN of the ranges that
standbys have stored. Never asks for a range for anyone but a standby's OpenVPN that is heard now;
which ids it gets, OpenVPN alone decides (rules R1 and R2). A new client overtakes the exports of
all others that a new holder causes. Rules: docs/architecture.md, "Packet ids are owned".
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ovpnha.machines import is_spare
from ovpnha.management.codes import Code
from ovpnha.management.commands import HOLDERS_LIMIT, Export, Stored
from ovpnha.management.notices import (
    ChangedNotice,
    CountersNotice,
    DownNotice,
    RenegotiationNotice,
    StaleNotice,
)
from ovpnha.management.replies import ExportReply, ListReply, Refused
from ovpnha.model import ClientRecord, HolderId, NodeName, StoredRange, Uid
from ovpnha.node.master.protection import Protection, ProtectTimes
from ovpnha.node.master.table import SourceTable
from ovpnha.node.openvpn.openvpn import Openvpn
from ovpnha.node.openvpn.pipeline import Pipeline
from ovpnha.node.openvpn.refusals import REFUSED_FIX, Refusals, describe_refused
from ovpnha.node.part import Part, PartStatistics, first
from ovpnha.problems import Problem, ProblemKind
from ovpnha.replication.events import Acknowledged, Rejected
from ovpnha.replication.protocol import Replication

WAITING = ("connect", "pending")
"""Reasons of a change for which OpenVPN may hold something back: what completes a connection, or
the last message of a renegotiation."""

NEWS = (*WAITING, "keys", "token")
"""Reasons of a change that a node with an older record cannot make up for: a client that moved or
wants packet ids needs nothing that such a node does not have."""

RETRY_AFTER = 2.0
"""Seconds until a client that OpenVPN could not export is tried again."""


@dataclass(frozen=True)
class ExporterStatistics(PartStatistics):
    """How well the clients of a master are protected."""

    protected: int = 0  # clients current on at least one other node
    oldest_unprotected: float = 0.0  # seconds; 0.0 when all are protected
    protect_times: ProtectTimes = field(default_factory=ProtectTimes)


class Exporter(Part):
    """Publishes one OpenVPN's clients while it is master or held."""

    def __init__(
        self, openvpn: Openvpn, backchannel: Replication, protect_wait: float = 0.0
    ) -> None:
        self._openvpn = openvpn
        self.protection = Protection(openvpn, protect_wait)
        self._backchannel = backchannel
        self._jobs: Pipeline[Uid] = Pipeline()
        self._nodes: dict[NodeName, HolderId] = {}
        self._holders: frozenset[HolderId] = frozenset()
        self._early: dict[tuple[NodeName, Uid], Acknowledged | Rejected] = {}
        self._refused: set[Uid] = set()
        self._renegotiating: dict[Uid, RenegotiationNotice] = {}
        self._retry_at: float | None = None
        self._renewing = False  # all clients are exported once more, for a new holder
        self.active = False
        self.complete = False
        self.touched = False  # a client came, changed or went since the start of the epoch
        self.touched_at = -math.inf  # when that was told last
        self.changed_at = -math.inf  # when a client came or changed last
        self.table = SourceTable()
        self.refusals: dict[NodeName, Refusals] = {}

    def start(self, now: float, *, touched: bool = False) -> None:
        """Be the source of a new epoch; ``touched``: clients may have changed in it already.

        ``take_list`` follows.
        """
        self.active, self.complete, self.touched = True, False, touched
        self.touched_at = self.changed_at = -math.inf
        self.table = SourceTable()
        self._clear()
        self._backchannel.begin_source(self._openvpn.instance, now)

    def take(self, event: object, now: float) -> None:
        """OpenVPN has news of a client, or a standby has answered.

        A standby that is heard again may answer in the very batch of datagrams that says so, before
        the situation has been looked at. Its answer comes once, and waits for its holder.
        """
        match event:
            case Acknowledged() | Rejected() if event.node not in self._nodes:
                self._early[event.node, event.uid] = event
            case ChangedNotice():
                self.take_changed(event, now)
            case ExportReply():
                self.exported(event, now)
            case Acknowledged(node=node, uid=uid, generation=generation, stored=stored):
                self.acknowledged(node, uid, generation, stored, now)
            case CountersNotice():
                self.take_counters(event, now)
            case _:
                self._take_rest(event, now)

    def _take_rest(self, event: object, now: float) -> None:
        match event:
            case DownNotice(uid=uid):
                self.take_down(uid, now)
            case RenegotiationNotice():
                self.take_renegotiation(event, now)
            case StaleNotice():
                self.take_stale(event, now)
            case ListReply(clients=clients):
                self.take_list(clients, now)
            case Refused(command=Export() as command):
                self.refused(command, event, now)
            case Rejected(node=node, uid=uid, generation=generation, reason=reason):
                self.rejected(node, uid, generation, reason, now)

    @property
    def busy(self) -> bool:
        """Whether handshakes are under way, as far as OpenVPN has told."""
        return bool(self._renegotiating)

    def stop(self, now: float) -> None:
        """Be no source any more; what was told until now leaves first."""
        if self.active:
            self.active = self.complete = False
            self.table = SourceTable()
            self._clear()
            self._backchannel.end_source(self._openvpn.instance, now)

    def _clear(self) -> None:
        self._jobs.clear()
        self._early.clear()
        self._refused.clear()
        self.refusals.clear()
        self._renegotiating.clear()
        self._retry_at = None
        self._renewing = False

    def set_holders(
        self, nodes: Mapping[NodeName, HolderId], now: float, *, granting: bool
    ) -> None:
        """The standbys heard now, and whether our OpenVPN is to grant at all.

        A new holder makes every client be exported again, for it too.
        """
        for node, holder in self._nodes.items():
            if nodes.get(node) != holder:
                self.table.lose_node(node, now)
                self.refusals.pop(node, None)
        if len(nodes) > max(HOLDERS_LIMIT, len(self._nodes)):
            self._openvpn.log(
                "error", "more standbys than can be granted packet ids", most=HOLDERS_LIMIT
            )
        self._nodes = dict(nodes)
        self._hear_early(now)
        first = sorted(nodes, key=lambda node: (is_spare(node), nodes[node]))[:HOLDERS_LIMIT]
        holders = frozenset(nodes[node] for node in first if granting)
        if holders == self._holders:
            return
        self._holders = holders
        outdated = self.table.outdated(self._holders)
        for uid in outdated:
            self._jobs.put(uid, uid, urgent=False)
        if outdated:
            self._renewing = True
            self._backchannel.renew(self._openvpn.instance, now, ended=False)
        self.pump()

    def _hear_early(self, now: float) -> None:
        """What standbys have answered, of whom nothing else was known then."""
        early, self._early = self._early, {}
        for (node, uid), event in early.items():
            if node in self._nodes:
                self.take(event, now)
            elif uid in self.table:
                self._early[node, uid] = event

    def take_list(self, clients: Mapping[Uid, int], now: float) -> None:
        """OpenVPN's whole list: export all of it."""
        if not self.active:
            return
        self.table.take_list(clients, now)
        for uid in clients:
            if not self.table.current(uid, self._holders):
                self._jobs.put(uid, uid, urgent=False)
        self.pump()
        self._judge(now)

    def take_changed(self, notice: ChangedNotice, now: float) -> None:
        """A client has something new. An export under way was asked for later, so it has it."""
        if not self.active:
            return
        self.table.change(notice.uid, notice.generation, now)
        if notice.reason in NEWS:
            self.touched, self.touched_at, self.changed_at = True, now, now
        if notice.reason in WAITING:
            self.protection.arrive(notice.uid, now)
        if self._jobs.started(notice.uid) is None:
            self._jobs.put(notice.uid, notice.uid, urgent=True)
            self.pump()

    def take_down(self, uid: Uid, now: float) -> None:
        """The client is gone."""
        if not self.active:
            return
        self._jobs.discard(uid)
        self._refused.discard(uid)
        self._renegotiating.pop(uid, None)
        self.protection.leave(uid)
        for refusals in self.refusals.values():
            refusals.settle(uid)
        if self.table.remove(uid):
            self.touched, self.touched_at = True, now
            self._openvpn.counters["withdrawn"] += 1
            self._backchannel.withdraw(self._openvpn.instance, uid, now)
        self._judge(now)

    def take_counters(self, notice: CountersNotice, now: float) -> None:
        """Counters pass through unread."""
        if self.active:
            self._backchannel.publish_counters(
                self._openvpn.instance, notice.kind, notice.payload, now
            )

    def take_renegotiation(self, notice: RenegotiationNotice, now: float) -> None:
        """Tell the standbys whom a promotion in the next moments would hurt.

        It ends with a record of a later generation. One that is no later says nothing of the new
        key, but makes what was told before void: so it is told again after it.
        """
        if self.active:
            self._renegotiating[notice.uid] = notice
            self._announce_renegotiation(notice, now)

    def _follow_renegotiation(self, record: ClientRecord, now: float) -> None:
        notice = self._renegotiating.get(record.uid)
        if notice is not None and record.generation > notice.generation:
            del self._renegotiating[record.uid]
        elif notice is not None:
            self._announce_renegotiation(notice, now)

    def _announce_renegotiation(self, notice: RenegotiationNotice, now: float) -> None:
        self._backchannel.announce_renegotiation(
            self._openvpn.instance, notice.uid, notice.key_id, notice.generation, now
        )

    def take_stale(self, notice: StaleNotice, now: float) -> None:
        """The sender jumped past a holder's range: that copy is of no use until exported again."""
        if not self.active:
            return
        self._openvpn.counters["stale_ranges"] += 1
        for node, holder in self._nodes.items():
            if holder == notice.holder:
                self.table.lose_copy(notice.uid, node, now)
        if notice.uid in self.table:
            self._jobs.put(notice.uid, notice.uid, urgent=True)
            self.pump()

    def exported(self, reply: ExportReply, now: float) -> None:
        """A record: publish it, and export again what has become outdated meanwhile."""
        uid = reply.record.uid
        self._jobs.finish(uid)
        holders = frozenset(reply.command.holders)
        if self.active and self.table.export(reply.record, holders, now):
            self._openvpn.counters["exports"] += 1
            self._refused.discard(uid)
            self._backchannel.publish(self._openvpn.instance, reply.record, now)
            self._follow_renegotiation(reply.record, now)
            if not self.table.current(uid, self._holders):
                self._jobs.put(uid, uid, urgent=False)
        self.pump()
        self._judge(now)

    def refused(self, command: Export, why: Refused, now: float) -> None:
        """OpenVPN does not know this client any more, or cannot export it now."""
        uid = command.uid
        self._jobs.finish(uid)
        self._openvpn.counters["exports_refused"] += 1
        if why.code is Code.UNKNOWN_CLIENT:
            self.take_down(uid, now)
        elif uid in self.table:
            self._skip(uid, why.reason, now)
        self.pump()

    def _skip(self, uid: Uid, reason: str, now: float) -> None:
        """This client is unprotected until a later export succeeds."""
        if uid not in self._refused:
            self._openvpn.log("warning", "export refused", uid=uid.hex(), reason=reason)
        self._refused.add(uid)
        self._retry_at = now + RETRY_AFTER
        self.table.skip(uid)
        self._judge(now)

    def get_timer(self) -> float | None:
        """When ``handle_timer`` is due."""
        return first((self._retry_at, self.protection.get_timer()))

    def handle_timer(self, now: float) -> None:
        """Let go who has waited long enough; try again what OpenVPN could not export."""
        self.protection.handle_timer(now)
        if self._retry_at is not None and now >= self._retry_at:
            self._retry_at = None
            for uid in self._refused:
                self._jobs.put(uid, uid, urgent=False)
            self.pump()

    def statistics(self, now: float) -> ExporterStatistics:
        """How well the clients are protected."""
        table = self.table
        waited = table.oldest_unprotected(now)
        return ExporterStatistics(table.protected(), waited, self.protection.times())

    def problems(self, now: float) -> Iterator[Problem]:
        """The clients that a standby would lose."""
        for node, refusals in self.refusals.items():
            if refused := refusals.lasting(now):
                what = f"{node} refuses {describe_refused(refused, 'this node')}"
                yield Problem(ProblemKind.CLIENTS_REFUSED_THERE, what, REFUSED_FIX)

    def acknowledged(
        self,
        node: NodeName,
        uid: Uid,
        generation: int,
        stored: tuple[StoredRange, ...],
        now: float,
    ) -> None:
        """A standby's OpenVPN has imported a record: tell ours which ranges it has stored."""
        if not self.active:
            return
        if node in self.refusals:
            self.refusals[node].settle(uid)
        news = self.table.acknowledge(node, uid, generation, stored, now)
        for one in news:
            if one.holder == self._nodes.get(node):
                self._openvpn.send(Stored(uid, one.fingerprint, one.holder, one.end))
        if self.table.is_protected(uid):
            self.protection.reach(uid, now)

    def rejected(self, node: NodeName, uid: Uid, generation: int, reason: str, now: float) -> None:
        """A standby's OpenVPN has refused a record: the client is not protected there."""
        self._openvpn.counters["rejected"] += 1
        self._openvpn.log(
            "warning",
            "record refused by a standby",
            node=node,
            uid=uid.hex(),
            generation=generation,
            reason=reason,
        )
        self.table.lose_copy(uid, node, now)
        if uid in self.table:
            self.refusals.setdefault(node, Refusals()).note(uid, reason, now)

    def pump(self) -> None:
        """Give OpenVPN as much as it may have under way."""
        holders = tuple(sorted(self._holders))
        while (uid := self._jobs.start()) is not None:
            self._openvpn.send(Export(uid, holders))

    def _judge(self, now: float) -> None:
        if self._renewing and not len(self._jobs):
            self._renewing = False
            self._backchannel.renew(self._openvpn.instance, now, ended=True)
        if self.active and not self.complete and self.table.complete:
            self.complete = True
            self._openvpn.log("info", "source complete", clients=len(self.table))
            self._backchannel.source_complete(self._openvpn.instance, now)
