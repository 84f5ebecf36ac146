"""What a standby knows of one stream of a source: which numbers came, and the table they make.

    number received before -> nothing      number below the client's own -> nothing
    upsert -> table                        delete -> out of the table, and into ``gone``

Decides which entry of a client counts: the one of the highest number. Who is gone is remembered
until the copy is whole, lest an older entry bring it back. Must never say that a head is reached
while anything below it is missing. Asks for nothing and tells nobody: ``sink`` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ovpnha.model import CounterKind, Uid
from ovpnha.replication.acknowledgements import Acknowledgements
from ovpnha.replication.cold_receiver import ColdReceiver
from ovpnha.replication.counters import LateCounters
from ovpnha.replication.differences import Differences
from ovpnha.replication.fragments import Fragments
from ovpnha.replication.hello import LogHead
from ovpnha.replication.incomplete_records import IncompleteRecords
from ovpnha.replication.ranges import RangeSet
from ovpnha.replication.records import Body
from ovpnha.replication.tabledigest import TableDigest


@dataclass(slots=True)
class ClientCopy:
    """One client as the stream tells it."""

    generation: int
    number: int
    names: tuple[bytes, ...]  # of its cold parts
    delivered: bool = False


class LogCopy:
    """What is known of one stream. A resync begins a new one; only cold parts outlive it."""

    def __init__(
        self, cold: ColdReceiver, emit_counters: Callable[[CounterKind, bytes], None]
    ) -> None:
        self._cold = cold
        self.received = RangeSet()
        self.head = 0
        self.changed = 0  # the newest number under which a client was published or withdrawn
        self.digest = TableDigest()
        self.clients: int | None = None  # as the source counts them; None: it is not whole
        self.ended = False
        self.table: dict[Uid, ClientCopy] = {}
        self.gone: dict[Uid, int] = {}  # deleted, by number, while older entries may still come
        self.incomplete = IncompleteRecords()
        self.fragments = Fragments()
        self.acknowledgements = Acknowledgements()
        self.differences = Differences()
        self.late = LateCounters(emit_counters)

    def generations(self) -> dict[Uid, int]:
        """What a source would say of this table."""
        return {uid: client.generation for uid, client in self.table.items()}

    def lacking(self, newest: Iterable[tuple[Uid, int]]) -> Iterator[tuple[Uid, int]]:
        """The clients and generations, of these, that are newer than what is here."""
        for uid, generation in newest:
            known = self.table.get(uid)
            if known is None or known.generation < generation:
                yield uid, generation

    def has_gaps(self) -> bool:
        """Whether numbers below the head are missing."""
        return self.received.cumulative() < self.head

    def has_reached(self, head: LogHead) -> bool:
        """Whether everything up to this head of our stream is here, and is what it is there."""
        if self.received.cumulative() < head.head or self.waits_for(head.head):
            return False
        return self.changed != head.changed or self.digest.whole == head.digest

    def waits_for(self, number: int) -> bool:
        """Whether a record up to this number lacks cold parts."""
        return any(self.table[uid].number <= number for uid in self.incomplete.clients())

    def is_whole(self) -> bool:
        """Every number is here, and the source says that its table is whole."""
        return self.clients is not None and not self.has_gaps()

    def number_of(self, uid: Uid) -> int:
        """The number of the newest entry of this client; 0 when none has come."""
        known = self.table.get(uid)
        return known.number if known is not None else self.gone.get(uid, 0)

    def delivered_number(self, uid: Uid) -> int | None:
        """The number of the record that was delivered, 0 when it was not; None: no such client."""
        client = self.table.get(uid)
        if client is None:
            return None
        return client.number if client.delivered else 0

    def put(self, number: int, body: Body, names: tuple[bytes, ...]) -> None:
        """This is the client's newest entry."""
        self._cold.name(names)
        self.forget(body.uid)
        self.table[body.uid] = client = ClientCopy(body.generation, number, names)
        self.changed = max(self.changed, number)
        self._flip(body.uid, client)
        self.late.expect(body.uid, body.high_water, body.byte_counts)

    def delete(self, uid: Uid, number: int) -> None:
        """The client is gone since this number."""
        self.forget(uid)
        self.changed = max(self.changed, number)
        self.gone[uid] = max(number, self.gone.get(uid, 0))

    def forget(self, uid: Uid) -> None:
        """Drop what is held of a client, also what waits."""
        known = self.table.pop(uid, None)
        if known is not None:
            self._cold.unname(known.names)
            self.acknowledgements.forget(uid)
            self.late.forget(uid)
            self.incomplete.remove(uid)
            self._flip(uid, known)

    def _flip(self, uid: Uid, client: ClientCopy) -> None:
        """This client comes into the table, or leaves it."""
        self.digest.flip(uid, client.generation)
