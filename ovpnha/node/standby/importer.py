"""A standby's duties: what the followed master publishes becomes OpenVPN's, or goes.

Decides when a record is imported, dropped, acknowledged or rejected, and when the copy is complete.
Must never import a stale record, nor one whose grants name another holder (rules R4 and R5): grants
are picked when the command is written, by the holder id that OpenVPN has at that moment. Rules:
docs/architecture.md, invariants 4 and 5.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from ovpnha.management.codes import Code
from ovpnha.management.commands import Drop, Import
from ovpnha.management.notices import DownNotice
from ovpnha.management.replies import DemoteReply, Done, ImportReply, Refused
from ovpnha.model import NO_EPOCH, ClientRecord, Epoch, Grant, NodeName, Sync, Uid
from ovpnha.node.openvpn.openvpn import Openvpn
from ovpnha.node.openvpn.refusals import REFUSED_FIX, Refusals, describe_refused
from ovpnha.node.part import Part, PartStatistics, first
from ovpnha.node.standby.caught import CaughtClients
from ovpnha.node.standby.completeness import RANGELESS_FIX, UNPROVED_FIX, Completeness
from ovpnha.node.standby.drops import Drops
from ovpnha.node.standby.importpipeline import ImportPipeline
from ovpnha.node.standby.retries import ImportJob, Retries
from ovpnha.node.standby.table import Copy, StandbyTable, lacking
from ovpnha.problems import Problem, ProblemKind
from ovpnha.replication.events import (
    CopyProved,
    GenerationHeard,
    RecordReceived,
    RecordWithdrawn,
    RenegotiationHeard,
    SnapshotEnded,
)
from ovpnha.replication.protocol import Replication

TIDY_AFTER = 1.0
"""Seconds until a promoted standby's table is freed: it takes as long as the promotion itself."""

STORED_LIMIT = 16  # ranges of one client that an acknowledgement names at most: the newest


@dataclass(frozen=True)
class ImporterStatistics(PartStatistics):
    """How complete the copy of a standby is."""

    records: int = 0  # imported at the generation heard
    stale: int = 0  # clients heard of that are not held at their generation
    refused: int = 0  # clients that OpenVPN has refused for some time
    following: NodeName | None = None


class Importer(Part):
    """Keeps one OpenVPN a copy of the followed master."""

    def __init__(self, openvpn: Openvpn, backchannel: Replication) -> None:
        self._openvpn = openvpn
        self._backchannel = backchannel
        self._jobs = ImportPipeline()
        self.drops = Drops(openvpn)
        self._retries = Retries()
        self.refusals = Refusals()
        self.completeness = Completeness()
        self.proved = True  # what the followed master said it has is here, or was when it was heard
        self.keeps = False
        self._kept: set[Uid] = set()  # copies of clients that the followed master lacks
        self._caught = CaughtClients()
        self.following: NodeName | None = None
        self.epoch = NO_EPOCH
        self.gained = -math.inf  # when a record came, or was imported, last
        self.table = StandbyTable()
        self._old: StandbyTable | None = None
        self._tidy_at: float | None = None

    def follow(self, node: NodeName | None, epoch: Epoch, now: float) -> None:
        """Follow this node in this epoch, or nobody; the copy stays and is updated in place."""
        if node == self.following and (node is None or epoch == self.epoch):
            return
        instance, same = self._openvpn.instance, node == self.following
        self._leave()
        self.following = node
        if node is not None:
            self.refusals.clear()
        self.proved |= not same and node is not None
        self._backchannel.follow(instance, node, now)
        if same:
            self._backchannel.resync(instance, now)
        if node is not None:
            if epoch != self.epoch:
                self._drop_stale()
            self.epoch = epoch
            self.table.restart(epoch)
            self.completeness.restart()
            self._openvpn.log("info", "following a master", node=node, epoch=str(epoch))

    def take(self, event: object, now: float) -> None:
        """The followed master or our OpenVPN has told something."""
        match event:
            case RecordReceived(record=record):
                self.take_record(record, now)
            case ImportReply():
                self.imported(event, now)
            case _:
                self._take_rest(event, now)

    def _take_rest(self, event: object, now: float) -> None:
        match event:
            case GenerationHeard(uid=uid, generation=generation):
                self.hear_generation(uid, generation)
            case RecordWithdrawn(uid=uid):
                self.withdraw(uid, now)
            case SnapshotEnded(clients=clients):
                self.end_snapshot(clients, now)
            case CopyProved(proved=proved):
                self.prove(proved)
            case RenegotiationHeard(uid=uid, generation=generation):
                self._hear_renegotiation(uid, generation)
            case _:
                self._take_answer(event, now)

    def _take_answer(self, event: object, now: float) -> None:
        match event:
            case Refused(command=Import() as command):
                self.refused(command, event, now)
            case Done(command=command) | Refused(command=Drop() as command):
                self.drops.answered(command)
            case DemoteReply():
                self.drops.clear()
                self.pump()
            case DownNotice(uid=uid):
                self._caught.gone(uid)

    def _hear_renegotiation(self, uid: Uid, generation: int) -> None:
        """A client's new key will come with a record later than this generation."""
        self._openvpn.counters["renegotiations_heard"] += 1
        self._caught.hear(uid, generation or self.table.heard(uid))

    def find(self, clients: Mapping[Uid, int]) -> None:
        """OpenVPN's list after a break: whatever it should have dropped goes now."""
        self.table.find(clients)
        for uid in self.drops.lost(clients):
            self._drop_copy(uid)

    def recall(self, epoch: Epoch, *, whole: bool) -> None:
        """What was found is the copy of a master of this epoch, and was all of it."""
        self.epoch = epoch
        self.completeness.recall(whole)

    def retire(self, now: float) -> list[Uid]:
        """The copy is the master's now, and another part listens on. Returns who was caught."""
        caught = self._caught.take(self.table.held)
        self._leave()
        self._jobs.clear()
        self.reset(now)
        return caught

    def stop(self, now: float) -> None:
        """OpenVPN is gone, and the copy with it."""
        self.follow(None, NO_EPOCH, now)
        self._jobs.clear()
        self._lose_copy()

    def _leave(self) -> None:
        """What was still to be done of what the followed node told is void."""
        self._jobs.discard_all()
        self._retries.clear()
        self._kept.clear()
        self.following = None

    def reset(self, now: float) -> None:
        """This OpenVPN has become another: what was heard of concerns it no more."""
        self._old, self._tidy_at = self.table, now + TIDY_AFTER
        self.table = StandbyTable()
        self.refusals.clear()
        self.completeness.reset()

    def _lose_copy(self) -> None:
        """OpenVPN is gone or was wiped: nothing is left of the copy."""
        self._kept.clear()
        self.refusals.clear()
        self.table.lose()
        self.completeness.restart()

    def keep(self, lacks: bool, now: float) -> None:
        """Whether the followed master lacks clients: what is here of others is kept meanwhile."""
        self.keeps = lacks
        if not lacks:
            self._release(now)

    def _release(self, now: float) -> None:
        for uid in sorted(self._kept):
            self.withdraw(uid, now)

    def is_complete(self, highest: Epoch) -> bool:
        """Whether the copy is, or was when its master fell silent, all of the highest epoch."""
        return self.completeness.complete and self.proved and self.epoch == highest

    def sync(self, highest: Epoch, now: float) -> Sync:
        """How complete the copy is."""
        if self.is_complete(highest):
            some = self.refusals.lasting(now) or self.rangeless(now)
            return Sync.PARTIAL if some else Sync.IN_SYNC
        return Sync.NONE if self.following is None else Sync.SYNCING

    def rangeless(self, now: float) -> int:
        """How many copies have no packet ids, and will not have them in a moment."""
        return self.completeness.rangeless(self.table, now)

    def hear_generation(self, uid: Uid, generation: int) -> None:
        """The master has this client at this generation."""
        self.table.hear(uid, generation)

    def take_record(self, record: ClientRecord, now: float) -> None:
        """Import a record, unless OpenVPN holds all of it already or it is stale."""
        uid = record.uid
        self.gained = now
        self._kept.discard(uid)
        self.table.hear(uid, record.generation)
        if record.generation < self.table.heard(uid):
            return
        self._retries.forget(uid)
        copy = self.table.copy(uid)
        if copy is not None and copy.generation > record.generation:
            self._drop_copy(uid)
        elif copy is not None and copy.serves(record.generation, self._own_grants(record)):
            self._jobs.discard(uid)
            self._confirm(uid, Copy(copy.generation, copy.stored, self.epoch), now)
            return
        self._jobs.put(uid, ImportJob(record, self.epoch), urgent=self.completeness.complete)
        self.pump()

    def withdraw(self, uid: Uid, now: float) -> None:
        """The client is gone on the master."""
        self._kept.discard(uid)
        self._jobs.discard(uid)
        self._jobs.cancel(uid)
        if self.table.copy(uid) is not None or self._jobs.is_cancelled(uid):
            self.drops.order(uid)
        self.table.remove(uid)
        self._retries.forget(uid)
        self.refusals.settle(uid)
        self._try_again(self._retries.take_eager(now))
        self.judge(now)

    def end_snapshot(self, clients: Mapping[Uid, int], now: float) -> None:
        """The master's whole table was received: drop what is not in it, unless it lacks some."""
        for uid in self.table.end_snapshot(clients):
            if self.keeps and self.table.copy(uid) is not None:
                self._kept.add(uid)
            else:
                self.withdraw(uid, now)
        self.judge(now)

    def prove(self, proved: bool) -> None:
        """Whether what the followed master says it has arrives here in time."""
        self.proved = proved
        level, what = ("info", "arrives") if proved else ("warning", "does not arrive")
        self._openvpn.log(level, f"what the master has {what}", node=self.following)

    def imported(self, reply: ImportReply, now: float) -> None:
        """OpenVPN has imported a record."""
        job = self._jobs.answered(reply.command)
        if job is not None:
            self.gained = now
            self._openvpn.counters["imports"] += 1
            copy = Copy(job.record.generation, reply.stored, job.epoch)
            if lacking(copy, reply.command.grants) and not job.again:
                self._import_anew(job)
            else:
                self._confirm(job.record.uid, copy, now)
        self.pump()
        self.judge(now)

    def refused(self, command: Import, why: Refused, now: float) -> None:
        """OpenVPN has refused a record and keeps what it had."""
        job = self._jobs.answered(command)
        if job is not None and why.code is Code.DROP_FIRST and not job.again:
            self._import_anew(job)
        elif job is not None:
            self._reject(job, why, now)
        self.pump()
        self.judge(now)

    def stale(self) -> list[Uid]:
        """What OpenVPN holds, or is about to, at a generation below the highest heard of."""
        late = [
            uid
            for uid in self._jobs.under_way()
            if self.table.copy(uid) is None and not self._jobs.is_cancelled(uid)
        ]
        old, heard = (*self.table.stale(), *late), self.table.heard
        return [uid for uid in old if not self._jobs.brings(uid, heard(uid))]

    def pump(self) -> None:
        """Give OpenVPN as much as it may have under way."""
        if self._openvpn.holder is None:
            return
        while (job := self._jobs.start()) is not None:
            self.drops.follow(job.record)
            self._openvpn.send(Import(job.record, self._own_grants(job.record)))

    def get_timer(self) -> float | None:
        """When ``handle_timer`` is due."""
        follows = self.following is not None
        completes = self.completeness.get_timer(self.table, follows=follows)
        return first((completes, self._retries.get_timer(), self._tidy_at))

    def handle_timer(self, now: float) -> None:
        """Time has passed."""
        if self._tidy_at is not None and now >= self._tidy_at:
            self._old = self._tidy_at = None
        self._try_again(self._retries.take_due(now))
        self.judge(now)

    def judge(self, now: float) -> None:
        """See whether the copy is complete now."""
        follows = self.following is not None
        if self.completeness.judge(self.table, self.refusals, now, follows=follows):
            self._openvpn.log(
                "info",
                "in sync",
                node=self.following,
                clients=self.table.copies,
                rangeless=self.table.rangeless,
                refused=len(self.refusals),
            )

    def statistics(self, now: float) -> ImporterStatistics:
        """How complete the copy is."""
        table = self.table
        return ImporterStatistics(
            records=table.copies - len(table.stale()),
            stale=table.lacks(),
            refused=len(self.refusals.lasting(now)),
            following=self.following,
        )

    def problems(self, now: float) -> Iterator[Problem]:
        """What a takeover would lose."""
        source = self.following or "the last master"
        if self.following is not None and not self.proved:
            unproved = f"what {source} says it has does not arrive here"
            yield Problem(ProblemKind.NOT_PROVED, unproved, UNPROVED_FIX)
        if refused := self.refusals.lasting(now):
            what = f"OpenVPN refuses {describe_refused(refused, source)}"
            yield Problem(ProblemKind.CLIENTS_REFUSED, what, REFUSED_FIX)
        if count := self.rangeless(now):
            what = f"{count} of {source}'s clients have no packet ids here"
            yield Problem(ProblemKind.CLIENTS_WITHOUT_IDS, what, RANGELESS_FIX)

    def _own_grants(self, record: ClientRecord) -> tuple[Grant, ...]:
        return tuple(one for one in record.grants if one.holder == self._openvpn.holder)

    def _confirm(self, uid: Uid, copy: Copy, now: float) -> None:
        self.table.store(uid, copy)
        self.refusals.settle(uid)
        # Were a newer record waiting, this would pass for its answer, which may get lost.
        if copy.epoch == self.epoch and self._jobs.waiting(uid) is None:
            stored = copy.stored[-STORED_LIMIT:]
            self._backchannel.acknowledge(self._openvpn.instance, uid, copy.generation, stored, now)

    def _reject(self, job: ImportJob, why: Refused, now: float) -> None:
        """Tell the master, and try again later: what stands in the way may be on its way out."""
        uid, generation, reason = job.record.uid, job.record.generation, why.reason
        self._openvpn.counters["imports_refused"] += 1
        self.refusals.note(uid, reason, now)
        if not job.refused:
            told = {"uid": uid.hex(), "generation": generation, "code": why.code, "reason": reason}
            self._openvpn.log("warning", "import refused", **told)
        if self._jobs.waiting(uid) is None:
            if not job.refused:
                self._backchannel.reject(self._openvpn.instance, uid, generation, reason, now)
            self._retries.put(job, now)
        self.table.refuse(uid, generation)
        self._release(now)

    def _try_again(self, jobs: Iterable[ImportJob]) -> None:
        for job in jobs:
            self._jobs.put(job.record.uid, job, urgent=False)
        self.pump()

    def _import_anew(self, job: ImportJob) -> None:
        """What OpenVPN has under this uid stands in the way."""
        uid = job.record.uid
        self._drop_copy(uid)
        if self._jobs.waiting(uid) is None:
            self._jobs.put(uid, replace(job, again=True), urgent=True)

    def _drop_copy(self, uid: Uid) -> None:
        self.drops.order(uid)
        self.table.drop_copy(uid)

    def _drop_stale(self) -> None:
        """What was heard in an epoch is forgotten with it, so what it made stale must go before."""
        for uid in self.stale():
            self._jobs.cancel(uid)
            self._drop_copy(uid)
