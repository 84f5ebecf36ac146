"""A standby's duties: what the followed master publishes becomes OpenVPN's, or goes.

Decides when a record is imported, dropped, acknowledged or rejected, and when the copy is complete.
Must never import a stale record, nor one whose grants name another holder (rules R4 and R5): grants
are picked when the command is written, by the holder id that OpenVPN has at that moment. Rules:
docs/architecture.md, invariants 4 and 5.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ovpnha.coordinator.openvpn import Openvpn
from ovpnha.coordinator.ports import Backchannel
from ovpnha.management.commands import Drop, Import, PackedCounters, Update
from ovpnha.management.replies import ImportReply, UpdateReply
from ovpnha.model import (
    NO_EPOCH,
    ClientRecord,
    CounterKind,
    Epoch,
    Grant,
    HolderId,
    NodeName,
    Sync,
    Uid,
)
from ovpnha.store.pipeline import Pipeline
from ovpnha.store.standby import Copy, StandbyTable, lacking

RANGES_WAIT = 5.0
"""Seconds for which a whole copy waits for packet ids that its master has not granted yet."""

TIDY_AFTER = 1.0
"""Seconds until the table of a standby that was promoted is freed: with ten thousand clients that
takes as long as the promotion itself, which must not wait for it."""

DROP_FIRST = "drop it first"
"""OpenVPN's words for a record that cannot be imported in place."""

REFUSED_AGAIN_AFTER = 2.0
"""Seconds until a refused record is tried again, unless a client goes before."""

REFUSED_LIMIT = 256
"""Most refused records kept for another try."""

STORED_LIMIT = 16
"""Most ranges of one client that an acknowledgement names: the newest."""

COUNTERS_WAITING = 1024
"""Most counter messages kept while OpenVPN has not answered the last; then the oldest go."""


@dataclass(frozen=True)
class _Job:
    record: ClientRecord
    epoch: Epoch
    again: bool = False  # dropped and imported anew
    refused: bool = False  # OpenVPN has refused it before, and the master knows


class Importer:
    """Keeps one OpenVPN a copy of the followed master."""

    def __init__(self, openvpn: Openvpn, backchannel: Backchannel) -> None:
        self._openvpn = openvpn
        self._backchannel = backchannel
        self._jobs: Pipeline[_Job] = Pipeline()
        self._cancelled: set[Uid] = set()
        self._refused: dict[Uid, _Job] = {}
        self._retry_at: float | None = None
        self._counters: deque[PackedCounters] = deque(maxlen=COUNTERS_WAITING)
        self._updating = False
        self._ranges_due: float | None = None
        self._complete = False
        self.following: NodeName | None = None
        self.epoch = NO_EPOCH
        self.table = StandbyTable()
        self._old: StandbyTable | None = None
        self._tidy_at: float | None = None

    def follow(self, node: NodeName | None, epoch: Epoch, now: float) -> None:
        """Follow this node in this epoch, or nobody; the copy stays and is updated in place."""
        if node == self.following and (node is None or epoch == self.epoch):
            return
        self._jobs.discard_all()
        self._refused.clear()
        self._retry_at = None
        instance, same, self.following = self._openvpn.instance, node == self.following, node
        self._backchannel.follow(instance, node, epoch if node is not None else None, now)
        if same:
            self._backchannel.resync(instance, now)
        if node is not None:
            if epoch != self.epoch:
                self._drop_stale()
            self.epoch = epoch
            self.table.restart(epoch)
            self._complete, self._ranges_due = False, None
            self._openvpn.log("info", "following a master", node=node, epoch=str(epoch))

    def stop(self, now: float) -> None:
        """Be no standby any more; replies still to come find nothing waiting for them."""
        self.follow(None, NO_EPOCH, now)
        self._jobs.clear()
        self._cancelled.clear()
        self._counters.clear()
        self._updating = False

    def reset(self, now: float) -> None:
        """This OpenVPN has become another: what was heard of concerns it no more."""
        self._old, self._tidy_at = self.table, now + TIDY_AFTER
        self.table = StandbyTable()
        self._complete, self._ranges_due = False, None

    def lose_copy(self) -> None:
        """OpenVPN is gone or was wiped: nothing is left of the copy."""
        self.table.lose()
        self._complete, self._ranges_due = False, None

    def is_complete(self, highest: Epoch) -> bool:
        """Whether the copy is, or was when its master fell silent, all of the highest epoch."""
        return self._complete and self.epoch == highest

    def sync(self, highest: Epoch) -> Sync:
        """How complete the copy is."""
        if self.is_complete(highest):
            return Sync.IN_SYNC
        return Sync.NONE if self.following is None else Sync.SYNCING

    def hear_generation(self, uid: Uid, generation: int) -> None:
        """The master has this client at this generation."""
        self.table.hear(uid, generation)

    def take_record(self, record: ClientRecord, now: float) -> None:
        """Import a record, unless OpenVPN holds all of it already or it is stale."""
        uid = record.uid
        self.table.hear(uid, record.generation)
        if record.generation < self.table.heard(uid):
            return
        copy = self.table.copy(uid)
        if copy is not None and copy.generation > record.generation:
            self._drop_copy(uid)
        elif copy is not None and copy.serves(record.generation, self._own_grants(record)):
            self._confirm(uid, Copy(copy.generation, copy.stored, self.epoch), now)
            return
        self._refused.pop(uid, None)
        self._jobs.put(uid, _Job(record, self.epoch), urgent=self._complete)
        self.pump()

    def use_holder(self, holder: HolderId) -> None:
        """OpenVPN has drawn a new holder id: what waited for it can be imported."""
        self._openvpn.holder = holder
        self.pump()

    def withdraw(self, uid: Uid, now: float) -> None:
        """The client is gone on the master."""
        self._jobs.discard(uid)
        if self._jobs.started(uid) is not None:
            self._cancelled.add(uid)
        if self.table.copy(uid) is not None or uid in self._cancelled:
            self._openvpn.send(Drop(uid))
        self.table.remove(uid)
        self._refused.pop(uid, None)
        self._retry()
        self.judge(now)

    def end_snapshot(self, clients: Mapping[Uid, int], now: float) -> None:
        """The master's whole table was received: drop what is not in it."""
        for uid in self.table.end_snapshot(clients):
            self.withdraw(uid, now)
        self.judge(now)

    def take_counters(self, kind: CounterKind, payload: bytes) -> None:
        """Pass counters on to OpenVPN, one command at a time."""
        if len(self._counters) == COUNTERS_WAITING:
            self._openvpn.counters["updates_dropped"] += 1
        self._counters.append(PackedCounters(kind, payload))
        self._update()

    def imported(self, reply: ImportReply, now: float) -> None:
        """OpenVPN has imported a record."""
        job = self._finish(reply.command)
        if job is not None:
            self._openvpn.counters["imports"] += 1
            copy = Copy(job.record.generation, reply.stored, job.epoch)
            if lacking(copy, reply.command.grants) and not job.again:
                self._import_anew(job)
            else:
                self._confirm(job.record.uid, copy, now)
        self.pump()
        self.judge(now)

    def refused(self, command: Import, reason: str, now: float) -> None:
        """OpenVPN has refused a record and keeps what it had."""
        job = self._finish(command)
        if job is not None and DROP_FIRST in reason and not job.again:
            self._import_anew(job)
        elif job is not None:
            self._reject(job, reason, now)
        self.pump()
        self.judge(now)

    def updated(self, reply: UpdateReply | None) -> None:
        """OpenVPN has answered the counters."""
        self._updating = False
        if reply is not None:
            self._openvpn.counters["updates_unknown"] += reply.unknown
        self._update()

    def stale(self) -> list[Uid]:
        """What OpenVPN holds, or is about to, at a generation below the highest heard of."""
        late = [
            uid
            for uid in self._jobs.under_way()
            if self.table.copy(uid) is None and uid not in self._cancelled
        ]
        return [uid for uid in (*self.table.stale(), *late) if not self._will_be_current(uid)]

    def pump(self) -> None:
        """Give OpenVPN as much as it may have under way."""
        if self._openvpn.holder is None:
            return
        while (job := self._jobs.start()) is not None:
            self._openvpn.send(Import(job.record, self._own_grants(job.record)))

    def get_timer(self) -> float | None:
        """When ``handle_timer`` is due."""
        waiting = self.following is not None and self.table.imported and not self._complete
        moments = (self._ranges_due if waiting else None, self._tidy_at, self._retry_at)
        return min((one for one in moments if one is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Time has passed."""
        if self._tidy_at is not None and now >= self._tidy_at:
            self._old = self._tidy_at = None
        if self._retry_at is not None and now >= self._retry_at:
            self._retry()
        self.judge(now)

    def judge(self, now: float) -> None:
        """See whether the copy is complete now."""
        if self._complete or self.following is None or not self.table.imported:
            return
        if self._ranges_due is None:
            self._ranges_due = now + RANGES_WAIT
        if not self.table.rangeless or now >= self._ranges_due:
            self._complete = True
            self._openvpn.log(
                "info",
                "in sync",
                node=self.following,
                clients=self.table.copies,
                rangeless=self.table.rangeless,
                refused=self.table.lacks(),
            )

    def _own_grants(self, record: ClientRecord) -> tuple[Grant, ...]:
        return tuple(one for one in record.grants if one.holder == self._openvpn.holder)

    def _confirm(self, uid: Uid, copy: Copy, now: float) -> None:
        self.table.store(uid, copy)
        if copy.epoch == self.epoch:
            stored = copy.stored[-STORED_LIMIT:]
            self._backchannel.acknowledge(self._openvpn.instance, uid, copy.generation, stored, now)

    def _reject(self, job: _Job, reason: str, now: float) -> None:
        """Tell the master, and try again later: what stands in the way may be on its way out."""
        uid, generation = job.record.uid, job.record.generation
        self._openvpn.counters["imports_refused"] += 1
        self._retry_at = now + REFUSED_AGAIN_AFTER
        if not job.refused:
            self._openvpn.log(
                "warning", "import refused", uid=uid.hex(), generation=generation, reason=reason
            )
            self._backchannel.reject(self._openvpn.instance, uid, generation, reason, now)
        if self._jobs.waiting(uid) is None and len(self._refused) < REFUSED_LIMIT:
            self._refused[uid] = replace(job, refused=True)
        self.table.refuse(uid, generation)

    def _retry(self) -> None:
        self._retry_at = None
        refused, self._refused = self._refused, {}
        for uid, job in refused.items():
            self._jobs.put(uid, job, urgent=False)
        self.pump()

    def _import_anew(self, job: _Job) -> None:
        """What OpenVPN has under this uid stands in the way."""
        uid = job.record.uid
        self._drop_copy(uid)
        if self._jobs.waiting(uid) is None:
            self._jobs.put(uid, replace(job, again=True), urgent=True)

    def _drop_copy(self, uid: Uid) -> None:
        self._openvpn.send(Drop(uid))
        self.table.drop_copy(uid)

    def _drop_stale(self) -> None:
        """What was heard in an epoch is forgotten with it, so what it made stale must go before."""
        for uid in self.stale():
            if self._jobs.started(uid) is not None:
                self._cancelled.add(uid)
            self._drop_copy(uid)

    def _finish(self, command: Import) -> _Job | None:
        """The job that this command carried out, unless it has become pointless meanwhile."""
        uid = command.record.uid
        job = self._jobs.started(uid)
        if job is None or job.record is not command.record:
            return None
        self._jobs.finish(uid)
        if uid in self._cancelled:
            self._cancelled.discard(uid)
            return None
        return job

    def _will_be_current(self, uid: Uid) -> bool:
        job = self._jobs.started(uid)
        return job is not None and job.record.generation >= self.table.heard(uid)

    def _update(self) -> None:
        if self._counters and not self._updating and self._openvpn.connected:
            self._updating = True
            self._openvpn.send(Update(tuple(self._counters)))
            self._counters.clear()
