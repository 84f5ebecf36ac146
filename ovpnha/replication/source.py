"""The sending side of one instance: the table of a master, given to any number of standbys.

Everything leaves by broadcast, once for all, by one of three ways:

    publish, withdraw, counters --> log --> fresh ----- at once -------------------> out
                                              |
                                              | more than LIVE_DEBT ahead of the pace
                                              v
    nack, resync ----------------------->  pending ---- at the pace, oldest first -> out
    want ------------------------------->  wanted ----- at the pace, before those -> out

``fresh`` and ``pending`` hold numbers of the log, never records: what stands under a number when
its turn comes is sent, so nobody waits for what is void. What can go wrong, and the rule:

* The last change is lost, and no later one shows the gap: a snapshot mark tells the head 10 and
  50 ms after a change and twice a second, and so does every hello.
* Several receivers miss the same: their ranges are united, one pass serves all.
* A receiver is behind, and asks for what its socket has: not sent again (``loss``); the pace falls.
* All clients' counters come at once, and a change behind them waits: some lines leave at each turn,
  so that the shell reads between them. What waits of a client leaves before its next record.
* An acknowledgement is lost: ``Followers`` asks for it.
* Counters are kept no longer that somebody lacks: the newest of all are told again.
* Two tables differ, and no number shows it: the digests of buckets do.

Ruled by docs/wire.md, "State: from the source". Never decides who is master, and never drops a
record that was published and not withdrawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

from ovpnha.model import ClientRecord, CounterKind, InstanceName, NodeName, Uid
from ovpnha.replication.backlog import Backlog
from ovpnha.replication.cold_sender import ColdSender
from ovpnha.replication.config import ReplicationConfig
from ovpnha.replication.counters import CounterLine, LastCounters, WaitingCounters
from ovpnha.replication.entries import (
    Counters,
    Delete,
    EntryBatch,
    EntryKind,
    Renegotiation,
    Void,
    encode_entry,
    encode_upsert,
    envelopes,
)
from ovpnha.replication.events import Event
from ovpnha.replication.followers import Followers
from ovpnha.replication.hello import LogHead
from ovpnha.replication.ledger import Ledger
from ovpnha.replication.log import CompactedLog, Slot
from ovpnha.replication.loss import Losses
from ovpnha.replication.messages import (
    Ack,
    Difference,
    Digest,
    Nack,
    Reject,
    Report,
    Resync,
    Snapshot,
    SnapshotEnd,
    ToSource,
    Want,
)
from ovpnha.replication.pacing import SharedPace, next_beat
from ovpnha.replication.published import PublishedTable
from ovpnha.replication.records import pack_body

EARLY_MARKS = (0.01, 0.05)  # seconds after a change
PACED_LEAST = 4800  # bytes worth waking up for
LIVE_DEBT = 65536  # bytes that changes may leave ahead of the pace
LATE = 0.5  # seconds: counters of these that have not arrived leave once more at the end


class Source:
    """One instance's table, its log, and the nodes that follow it."""

    def __init__(
        self,
        instance: InstanceName,
        stream: int,
        config: ReplicationConfig,
        pace: SharedPace,
        ledger: Ledger,
        emit: Callable[[Event], None],
        now: float,
    ) -> None:
        self._instance, self._stream = instance, stream
        self._config, self._pace, self._ledger = config, pace, ledger
        self._timings = timings = config.timings
        self.followers = Followers(instance, stream, timings, emit)
        self.served = 0  # the turn in which it was first to send, of all that share the pace
        self._complete = False
        self._log = CompactedLog()
        self._losses = Losses(self._log, timings)
        self._cold = ColdSender(instance, stream)
        self._table = PublishedTable(self._cold)
        self._counters = LastCounters()
        self._waiting = WaitingCounters()
        self._changed = 0  # the newest number under which it has changed
        self._fresh: list[int] = []
        self._pending = Backlog()
        self._wanted: dict[bytes, None] = {}
        self._passed: set[bytes] | None = None  # cold parts sent in a pass that carries them
        self._answers: list[bytes] = []
        self._urgent_at = self._mark_at = self._counters_again_at = now
        self._early: Iterator[float] = iter(())
        self._digest_at = next_beat(now, timings.digest_interval)

    # --- the table

    @property
    def clients(self) -> int:
        """How many the table has."""
        return len(self._table)

    def publish(self, record: ClientRecord, now: float) -> None:
        """Upsert; an older generation than the published one is ignored."""
        uid = record.uid
        self._pass_on(self._waiting.take_of(uid), now)
        known = self._table.get(uid)
        if known is not None and record.generation < known.record.generation:
            return
        if known is None or record.generation > known.record.generation:
            self._counters.forget(uid)
        if known is not None:
            self._pending.renewed(known.number, now)
        self._table.put(record)
        self._renumber(uid, now)

    def withdraw(self, uid: Uid, now: float) -> None:
        """The client is gone."""
        self._pass_on(self._waiting.take_of(uid), now)
        known = self._table.remove(uid)
        if known is None:
            return
        self._counters.forget(uid)
        self.followers.gone(uid)
        self._changed = self._log.delete(uid, known.record.generation)
        self._send_soon(self._changed, now)

    def counters(self, kind: CounterKind, payload: bytes, now: float) -> None:
        """Packed counters, to be passed on verbatim, some lines at each turn."""
        self._waiting.add(kind, payload)
        self._urgent_at = now

    def _pass_on(self, lines: Iterable[CounterLine], now: float) -> None:
        kept = self._config.counters_kept(max(self.clients, self._pace.clients))
        for kind, payload in lines:
            self._counters.note(kind, payload, self._table)
            self._send_soon(self._log.counters(kind, payload, kept, now), now)

    def renegotiation(self, uid: Uid, key_id: int, generation: int, now: float) -> None:
        """A renegotiation has begun, with a client at this generation."""
        self._send_soon(self._log.renegotiation(uid, key_id, generation), now)

    def renew(self, now: float, *, ended: bool) -> None:
        """Every client will be published once more, or has been."""
        (self._pending.release() if ended else self._pending.hold(self._log.head, now))

    def complete(self, now: float) -> None:
        """The table is whole from now on."""
        self._complete = True
        self._mark_at = now

    def _renumber(self, uid: Uid, now: float) -> None:
        """This client's record goes to everyone, under a new number."""
        self._changed = self._log.upsert(uid)
        self._table.number(uid, self._changed)
        self.followers.changed(uid, self._changed)
        self._send_soon(self._changed, now)

    def _send_soon(self, number: int, now: float) -> None:
        self._fresh.append(number)
        self._urgent_at = now
        self._early = iter(now + delay for delay in EARLY_MARKS)
        self._mark_at = min(self._mark_at, next(self._early))

    def log_head(self) -> LogHead:
        """What our hello says of this table."""
        place = (self._stream, self._log.head, self._log.floor)
        return LogHead(*place, self._changed, self._table.digest, self._complete)

    # --- what receivers say

    def receive(self, node: NodeName, message: ToSource, now: float) -> None:
        """A believed node speaks of this source."""
        self._urgent_at = now
        if isinstance(message, Resync):
            self._resync(node, message, now)
        elif message.stream == self._stream:
            if not self.followers.knows(node):
                self._begin(node, now)
            self._receive(node, message, now)

    def _receive(self, node: NodeName, message: Report, now: float) -> None:
        match message:
            case Ack():
                self.followers.hear(node, message.cumulative, now)
                self._losses.hear(node, message, now)
                self.followers.acknowledged(node, message)
            case Reject():
                self.followers.rejected(node, message)
            case Nack():
                self.followers.hear(node, message.cumulative, now)
                self._repair(node, message.ranges, now)
            case Want():
                since = self._losses.lost_before(node, now)
                lost = [n for n in message.names if not self._cold.left_since(since, n)]
                self._wanted.update((name, None) for name in lost if name in self._cold)
                if len(lost) < len(message.names):
                    self._probe(now)
            case Difference():
                place = (self._instance, self._stream, self._log.head)
                self._answers += self._table.list_buckets(message.buckets, *place)
            case _:
                for uid in filter(self._table.__contains__, message.uids):
                    self._renumber(uid, now)

    def forget(self, node: NodeName) -> None:
        """The node has started anew."""
        self.followers.forget(node)
        self._losses.forget(node)

    def _begin(self, node: NodeName, now: float) -> None:
        self.followers.begin(node, self._table.numbers(), now)
        self._losses.begin(node, now)

    def _resync(self, node: NodeName, message: Resync, now: float) -> None:
        self._begin(node, now)
        self._ledger.snapshots += 1
        if self._log.lost:
            self._tell_counters_again(now)
        self._losses.repeat(self._pending, ((1, self._log.head),), now - self._losses.gap)
        if self._pending and not message.has_cold:
            self._passed = set()
        self._mark_at = now

    def _repair(self, node: NodeName, ranges: tuple[tuple[int, int], ...], now: float) -> None:
        if any(first <= self._log.lost for first, _ in ranges):
            self._tell_counters_again(now)
        since = self._losses.lost_before(node, now)
        if self._losses.repeat(self._pending, ranges, since):
            self._probe(now)
        self._pending.need(self._log.others(ranges))

    def _probe(self, now: float) -> None:
        """Find out what has arrived of all that left before."""
        if (number := self._losses.probe(now)) is not None:
            void = Void(number, self._span(number, number))
            self._answers += self._envelopes([encode_entry(void)])

    def _tell_counters_again(self, now: float) -> None:
        """Somebody may have missed counters that are kept no longer."""
        if now < self._counters_again_at:
            return
        self._counters_again_at = now + self._timings.sync_timeout
        self._pass_on(self._waiting.take(everything=True), now)
        self._pass_on(list(self._counters.batches()), now)

    # --- what is sent

    def get_timer(self) -> float:
        """When ``messages`` has something to say."""
        times = [self._mark_at, self._digest_at]
        if self._fresh or self._answers or self._waiting:
            times.append(self._urgent_at)
        paced_at = -math.inf if self._wanted else self._pending.get_timer()
        times.append(max(paced_at, self._pace.when(PACED_LEAST)))
        ask_at = self.followers.get_timer()
        return min(times) if ask_at is None else min(*times, ask_at)

    def messages(self, now: float) -> list[bytes]:
        """Everything that is due, packed."""
        self._pass_on(self._waiting.take(), now)
        out, self._answers = [*self._live(now), *self._answers, *self._paced(now)], []
        asked = now - self._timings.ask_interval
        out += self.followers.asks(lambda number: self._log.left_since(asked, number), now)
        if now >= self._digest_at:
            out += self._digest(now)
        if now >= self._mark_at:
            out.append(self._mark(now))
        return out

    def tell_last(self, out: list[bytes], again: list[bytes], now: float) -> None:
        """All that was told and has not left, or arrived, and counters to leave once more."""
        self._pass_on(self._waiting.take(everything=True), now)
        late = self._log.counters_after(self.followers.least(), now - LATE)
        self._fresh = sorted({*late, *self._fresh})
        out += [*self._live(now, math.inf), *self.messages(now)]
        self._fresh = late
        again += self._live(now, math.inf)

    def _mark(self, now: float) -> bytes:
        self._mark_at = next(self._early, next_beat(now, self._timings.mark_interval))
        place = (self._instance, self._stream, self._log.head, self._log.floor, self._table.recent)
        end = SnapshotEnd(*place, len(self._table)) if self._complete else Snapshot(*place)
        return end.encode()

    def _digest(self, now: float) -> list[bytes]:
        self._digest_at = next_beat(now, self._timings.digest_interval)
        if not self._complete or not len(self.followers):
            return []
        return [Digest(self._instance, self._stream, self._log.head, self._table.digests).encode()]

    def _live(self, now: float, debt: float = LIVE_DEBT) -> list[bytes]:
        """What has changed; what exceeds the pace by more than ``debt`` bytes is left to it."""
        if not self._fresh:
            return []
        budget = self._pace.available(now) + debt
        batch, size = EntryBatch(self._envelopes), 0
        for number in self._fresh:
            if size >= budget:
                self._pending.add(number, number)
            elif (slot := self._log.get(number)) is not None:
                more = self._entries(number, slot, now, number), self._fresh_cold(slot, now)
                size += batch.add(*more)
        self._fresh = []
        self._wanted.update((name, None) for name in self._cold.take_fresh())
        self._pace.spend(size / self._losses.share, now)
        return batch.messages()

    def _fresh_cold(self, slot: Slot, now: float) -> list[bytes]:
        if slot.kind is not EntryKind.UPSERT:
            return []
        names = self._cold.take_fresh(self._table[slot.uid].names)
        passed = self._pass_cold(slot, now)  # a receiver that fetches all has none of them
        return passed or [chunk for name in names for chunk in self._cold.chunks(name, now)]

    def _paced(self, now: float) -> list[bytes]:
        budget = self._pace.available(now)
        if budget < PACED_LEAST or not (self._wanted or self._pending.next(now)):
            return []
        batch, size = EntryBatch(self._envelopes), 0
        while size < budget and (item := self._serve_next(now)) is not None:
            size += batch.add(*item)
        if not self._pending:
            self._passed = None
            self._mark_at = now
        self._pace.spend(size / self._losses.share, now)
        return batch.messages()

    def _serve_next(self, now: float) -> tuple[list[bytes], list[bytes]] | None:
        """The next cold part that someone waits for, or the next entry with its cold parts."""
        if self._wanted:
            name = next(iter(self._wanted))
            del self._wanted[name]
            return [], self._cold.chunks(name, now)
        if (found := self._pending.next(now)) is None:
            return None
        first, last = found
        number = self._log.next_from(first)
        slot = self._log.get(number)
        if slot is None or number > last:
            self._pending.remove(first, last)
            return [encode_entry(Void(last, self._span(last, first)))], []
        self._pending.remove(first, number)
        self._ledger.repaired += 1
        return self._entries(number, slot, now, first), self._pass_cold(slot, now)

    def _pass_cold(self, slot: Slot, now: float) -> list[bytes]:
        if self._passed is None or slot.kind is not EntryKind.UPSERT:
            return []
        names = [name for name in self._table[slot.uid].names if name not in self._passed]
        self._passed.update(names)
        return [chunk for name in names for chunk in self._cold.chunks(name, now)]

    def _envelopes(self, entries: list[bytes]) -> list[bytes]:
        place = (self._instance, self._stream, self._log.head, self._log.floor)
        return envelopes(*place, entries)

    def _span(self, number: int, first: int) -> int:
        """1 and the count of void numbers below this one that nobody need ask for.

        Where counters stood that are kept no longer, only who asks from ``first`` on is told that
        they are void, because one who asks is told the newest ones.
        """
        return min(self._log.span(number), number - min(first - 1, self._log.lost))

    def _entries(self, number: int, slot: Slot, now: float, first: int) -> list[bytes]:
        slot.sent = now
        span = self._span(number, first)
        match slot.kind:
            case EntryKind.UPSERT:
                known = self._table[slot.uid]
                body = pack_body(known.record, known.names, self._counters.of(slot.uid))
                return encode_upsert(number, span, body)
            case EntryKind.DELETE:
                return [encode_entry(Delete(number, span, slot.uid, slot.value))]
            case EntryKind.RENEGOTIATION:
                place = (number, span, slot.uid, slot.value)
                return [encode_entry(Renegotiation(*place, slot.generation))]
            case _:
                return [encode_entry(Counters(number, span, slot.value, slot.payload))]
