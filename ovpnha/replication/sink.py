"""The receiving side of one instance: follows one node's log to its head and stays with it.

    stream not known -- resync, again until the source speaks --> a new copy
                                                                       |
           .-----------------------------------------------------------'
           v                all is here
      has gaps: nack  <---------------------->  is whole: SnapshotEnded, the first time
                           a higher head
           |                                        |
           '----------------------------------------'----------> a new copy, cold parts are kept:
                                        a new stream, a floor above us, the owner's resync

What can go wrong, and the rule that answers it:

* Entries come late, twice, or in any order: a number that was received is not looked at again, and
  of two entries of a client the higher number counts. Who is gone is remembered until the copy is
  whole, lest an older entry bring it back.
* An entry is lost: the head of a later message or of a hello shows the gap, and a nack names it.
* A cold part is lost: its record is incomplete and not delivered; the owner hears of its generation
  at once, and ``want`` names the part. Without room for it the entry counts as not received.
* What was dropped leaves no trace: ``Proof`` compares what is here with the heads of hellos;
  ``Differences`` the tables, at the same head only.
* The source was restarted, or forgot what we lack: everything anew. Older streams are ignored.

Decides what is missing and asks for it; never whom to follow, and never judges a record. Ruled by
docs/wire.md, "State: to the source". A hot part is kept only while its cold parts are missing.
"""

from __future__ import annotations

from collections.abc import Callable

from ovpnha.errors import RefusedDatagram
from ovpnha.model import (
    COUNTER_ENTRY_SIZE,
    CounterKind,
    InstanceName,
    NodeName,
    StoredRange,
    Uid,
)
from ovpnha.replication.acknowledgements import clip_reason
from ovpnha.replication.cold_receiver import ColdReceiver
from ovpnha.replication.config import ReplicationConfig
from ovpnha.replication.entries import (
    Counters,
    Delete,
    Entries,
    Entry,
    Fragment,
    Renegotiation,
    Upsert,
    Void,
)
from ovpnha.replication.events import (
    CopyProved,
    CountersReceived,
    Event,
    GenerationHeard,
    RecordReceived,
    RecordWithdrawn,
    RenegotiationHeard,
    SnapshotEnded,
)
from ovpnha.replication.fields import RANGES_LIMIT
from ovpnha.replication.hello import LogHead
from ovpnha.replication.ledger import Ledger
from ovpnha.replication.logcopy import LogCopy
from ovpnha.replication.messages import (
    AckEntry,
    Ask,
    Bucket,
    Cold,
    Digest,
    FromSource,
    Nack,
    RejectEntry,
    Resync,
    Snapshot,
    SnapshotEnd,
)
from ovpnha.replication.pacing import next_beat
from ovpnha.replication.packing import unpack_untrusted
from ovpnha.replication.proof import Proof
from ovpnha.replication.records import STORED_LIMIT, Body, malformed, unpack_body_untrusted
from ovpnha.replication.sealing import node_tag

CLIENTS_LIMIT = 65536
FIRST_RETRY = 0.02  # seconds until a resync that nobody answered is asked for again; then doubled


class Sink:
    """One instance's table as the followed node tells it."""

    def __init__(
        self,
        instance: InstanceName,
        node: NodeName,
        own_tag: bytes,
        config: ReplicationConfig,
        ledger: Ledger,
        emit: Callable[[Event], None],
        now: float,
        clients_limit: int = CLIENTS_LIMIT,
    ) -> None:
        self.node = node
        self._instance = instance
        self._tag = node_tag(node)
        self._own_tag = own_tag
        self._config = config
        self._timings = timings = config.timings
        self._ledger = ledger
        self._emit = emit
        self._clients_limit = clients_limit
        self._cold = ColdReceiver()
        self._stream = 0
        self._resync_at: float | None = now
        self._retry = FIRST_RETRY
        self._nack_at: float | None = None
        self._want_at: float | None = None
        self._flush_at: float | None = None
        self._ack_at = now
        self._acked = now - timings.ack_gap
        self._proof = Proof()
        self._copy = LogCopy(self._cold, self._emit_counters)

    def _emit_counters(self, kind: CounterKind, payload: bytes) -> None:
        self._emit(CountersReceived(self._instance, self.node, kind, payload))

    # --- what the owner says

    def resync(self, now: float) -> None:
        """Ask for everything again; cold parts that are here need not come."""
        self._clear()
        self._resync_at = now

    def restart(self, now: float) -> None:
        """The followed node has a new boot: whatever stream it had is over."""
        self._stream = 0
        self._retry = FIRST_RETRY
        self._proof.restart()
        self.resync(now)

    def _clear(self) -> None:
        for client in self._copy.table.values():
            self._cold.retain(client.names)
        self._copy = LogCopy(self._cold, self._emit_counters)
        self._nack_at = self._want_at = self._flush_at = None

    def acknowledge(
        self, uid: Uid, generation: int, stored: tuple[StoredRange, ...], now: float
    ) -> None:
        """Our OpenVPN has imported this generation."""
        if (number := self._copy.delivered_number(uid)) is None:
            return
        if self._copy.late.imported(uid) and self._flush_at is None:
            self._flush_at = now + self._timings.ack_gap
        entry = AckEntry(uid, generation, number, stored[-STORED_LIMIT:])
        self._copy.acknowledgements.conclude(entry)
        self._ack_soon(now)

    def reject(self, uid: Uid, generation: int, reason: str, now: float) -> None:
        """Our OpenVPN has refused this record."""
        if (number := self._copy.delivered_number(uid)) is None:
            return
        entry = RejectEntry(uid, generation, number, clip_reason(reason))
        self._copy.acknowledgements.conclude(entry)
        self._ack_soon(now)

    def _ack_soon(self, now: float) -> None:
        self._ack_at = min(self._ack_at, max(now, self._acked + self._timings.ack_gap))

    # --- what the source says

    def receive_untrusted(self, message: FromSource, now: float) -> None:
        """The followed node speaks of this instance."""
        if message.stream < self._stream:
            return
        if message.stream > self._stream:
            self._adopt(message.stream, now)
        match message:
            case Entries():
                self._take_entries(message, now)
            case Snapshot():
                self._take_mark(message, now)
            case Cold():
                self._take_cold(message)
            case Ask():
                if message.tag == self._own_tag and self._copy.acknowledgements.repeat(
                    message.uids
                ):
                    self._ack_soon(now)
            case _:
                if self._copy.is_whole() and message.head == self._copy.head:
                    self._compare(message)
        self._check_whole()
        self._proof.reach(self._has_reached)

    def hear_head(self, head: LogHead | None, clients: int, now: float) -> None:
        """How far the log of this instance reaches; so many clients come at the same pace."""
        if head is not None and head.stream == self._stream:
            self._advance(head.head, head.floor, now, self._timings.resend_gap)
        self._proof.hear(head, now)
        self._proof.reach(self._has_reached)
        if self._proof.judge(self._config.sync_bound(clients), now):
            self._emit(CopyProved(self._instance, self.node, self._proof.proved))

    @property
    def clients(self) -> int:
        """How many are here so far."""
        return len(self._copy.table)

    def _has_reached(self, head: LogHead) -> bool:
        return head.stream == self._stream and self._copy.has_reached(head)

    def _adopt(self, stream: int, now: float) -> None:
        """A stream that we did not know; ours may have been asked for already."""
        asked = self._stream == 0 and self._resync_at is not None and self._resync_at > now
        self._stream = stream
        self._clear()
        self._resync_at = None if asked else now

    def _advance(self, head: int, floor: int, now: float, wait: float) -> None:
        if 0 < self._copy.received.cumulative() < floor:
            self.resync(now)
        self._copy.head = max(self._copy.head, head)
        if self._copy.has_gaps() and self._nack_at is None:
            self._nack_at = now + wait

    def _take_entries(self, message: Entries, now: float) -> None:
        for entry in message.entries:
            self._take_untrusted(entry, now)
        self._advance(message.head, message.floor, now, self._timings.nack_delay)
        self._ack_soon(now + self._timings.ack_interval / 10)

    def _take_untrusted(self, entry: Entry, now: float) -> None:
        copy = self._copy
        if entry.number in copy.received:
            return
        match entry:
            case Upsert(body=body):
                taken = self._take_upsert(entry.number, unpack_body_untrusted(body), now)
            case Fragment():
                body = copy.fragments.add(entry)
                taken = bool(body) and self._take_upsert(
                    entry.number, unpack_body_untrusted(body), now
                )
            case _:
                taken = True
                self._take_small(entry)
        if taken:
            copy.received.add(entry.number - entry.span + 1, entry.number)

    def _take_small(self, entry: Delete | Counters | Renegotiation | Void) -> None:
        match entry:
            case Delete():
                self._take_delete(entry)
            case Counters(kind=kind, payload=payload):
                if kind in COUNTER_ENTRY_SIZE:
                    self._copy.late.note(CounterKind(kind), payload)
                    self._emit_counters(CounterKind(kind), payload)
            case Renegotiation(uid=uid, key_id=key_id, generation=generation):
                place = (self._instance, self.node, uid)
                self._emit(RenegotiationHeard(*place, key_id, generation))
            case _:
                pass  # void: only the numbers count

    def _take_upsert(self, number: int, body: Body, now: float) -> bool:
        """False when there is no room for it now; it will be asked for again."""
        copy = self._copy
        if number < copy.number_of(body.uid):
            return True
        names = tuple(name for name, _ in body.cold)
        missing = {name for name in names if name not in self._cold}
        if missing and not copy.incomplete.has_room(body):
            return False
        if body.uid not in copy.table and len(copy.table) >= self._clients_limit:
            raise malformed()
        copy.put(number, body, names)
        if not missing:
            self._deliver(body)
            return True
        copy.incomplete.add(body, missing)
        self._want_at = self._want_at or now + self._timings.nack_delay
        self._emit(GenerationHeard(self._instance, self.node, body.uid, body.generation))
        return True

    def _deliver(self, body: Body) -> None:
        packed = body.record(tuple(self._cold.get(name) for name, _ in body.cold))
        try:
            record = unpack_untrusted(packed)
        except RefusedDatagram:
            self._ledger.oversized += 1
            return
        self._copy.table[body.uid].delivered = True
        self._emit(RecordReceived(self._instance, self.node, record))

    def _take_delete(self, entry: Delete) -> None:
        known = self._copy.table.get(entry.uid)
        if known is not None and known.number > entry.number:
            return
        self._copy.delete(entry.uid, entry.number)
        self._emit(RecordWithdrawn(self._instance, self.node, entry.uid))

    def _take_cold(self, chunk: Cold) -> None:
        if self._cold.add(chunk):
            for body in self._copy.incomplete.arrived(chunk.name):
                self._deliver(body)

    def _take_mark(self, mark: Snapshot, now: float) -> None:
        self._advance(mark.head, mark.floor, now, self._timings.nack_delay)
        copy = self._copy
        if mark.head < copy.head:
            return
        copy.clients = mark.clients if isinstance(mark, SnapshotEnd) else None
        for uid, generation in copy.lacking(mark.recent) if copy.has_gaps() else ():
            self._emit(GenerationHeard(self._instance, self.node, uid, generation))

    def _compare(self, message: Digest | Bucket) -> None:
        differences = self._copy.differences
        if isinstance(message, Digest):
            self._ledger.differences += differences.compare(message, self._copy.digest.buckets)
            return
        for uid in differences.take(message, self._copy.generations()):
            self._copy.forget(uid)
            self._emit(RecordWithdrawn(self._instance, self.node, uid))

    def _check_whole(self) -> None:
        copy = self._copy
        if not copy.is_whole():
            return
        self._nack_at = None
        copy.gone.clear()
        if not copy.ended:
            copy.ended = True
            self._cold.release()
            self._emit(SnapshotEnded(self._instance, self.node, copy.generations()))

    # --- what is sent

    def get_timer(self) -> float:
        """When ``messages`` or ``handle_timer`` has something to do."""
        times = (self._resync_at, self._nack_at, self._want_at, self._flush_at, self._ack_at)
        return min(time for time in times if time is not None)

    def handle_timer(self, now: float) -> None:
        """Tell the owner of counters that waited for an import."""
        if self._flush_at is not None and now >= self._flush_at:
            self._flush_at = None
            self._copy.late.flush()

    def messages(self, now: float) -> list[bytes]:
        """Everything that is due, packed."""
        out: list[bytes] = []
        if self._resync_at is not None and now >= self._resync_at:
            out.append(self._resync(now))
        if self._nack_at is not None and now >= self._nack_at:
            out += self._nack(now)
        if self._want_at is not None and now >= self._want_at:
            out += self._want(now)
        out += self._copy.differences.messages(self._tag, self._instance, self._stream)
        if now >= self._ack_at:
            out += self._ack(now)
        return out

    def _resync(self, now: float) -> bytes:
        self._ledger.resyncs += 1
        self._resync_at = None if self._stream else now + self._retry
        self._retry = min(2 * self._retry, self._timings.resync_interval)
        return Resync(self._tag, self._instance, self._stream, bool(len(self._cold))).encode()

    def _nack(self, now: float) -> list[bytes]:
        received = self._copy.received
        gaps = tuple(received.missing(self._copy.head, RANGES_LIMIT))
        self._nack_at = now + self._timings.nack_interval if gaps else None
        place = (self._tag, self._instance, self._stream, received.cumulative())
        self._ledger.nacks += bool(gaps)
        return [Nack(*place, gaps).encode()] if gaps else []

    def _want(self, now: float) -> list[bytes]:
        wants = self._copy.incomplete.wants(self._tag, self._instance, self._stream)
        self._want_at = now + self._timings.nack_interval if wants else None
        return wants

    def _ack(self, now: float) -> list[bytes]:
        self._acked = now
        self._ack_at = next_beat(now, self._timings.ack_interval)
        if not self._stream:
            return []
        place = (self._tag, self._instance, self._stream)
        return list(self._copy.acknowledgements.messages(*place, self._copy.received))

    @property
    def incomplete(self) -> int:
        """Records whose cold parts are missing."""
        return len(self._copy.incomplete)
