"""The newest counters of each client, for a node that comes late.

Counters travel as they change: whoever joins afterwards would never hear those of an idle
client, and OpenVPN knows no counters of a client that it has yet to import. So a source keeps the
last entry of each client (docs/wire.md, body of an upsert), a sink those of clients not imported
yet. Only the keys of packed entries (docs/management.md) are read, never their values.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field

from ovpnha.model import COUNTER_ENTRY_SIZE, FINGERPRINT_SIZE, UID_SIZE, CounterKind, Uid

KEYS_LIMIT = 8  # keys of one client; OpenVPN has at most three
BATCH_LIMIT = 880  # bytes: a line of packed counters
_KEY_END = UID_SIZE + FINGERPRINT_SIZE


@dataclass(slots=True)
class _Counters:
    high_water: dict[bytes, bytes] = field(default_factory=dict)
    byte_counts: bytes = b""


class LastCounters:
    """Last counter entries by client."""

    def __init__(self) -> None:
        self._counters: dict[Uid, _Counters] = {}

    def note(self, kind: CounterKind, payload: bytes, clients: Container[Uid]) -> None:
        """Keep the entries of clients that are known."""
        size = COUNTER_ENTRY_SIZE[kind]
        for at in range(0, len(payload) - size + 1, size):
            entry = payload[at : at + size]
            uid = Uid(entry[:UID_SIZE])
            if uid not in clients:
                continue
            counters = self._counters.get(uid)
            if counters is None:
                counters = self._counters[uid] = _Counters()
            if kind is CounterKind.BYTES:
                counters.byte_counts = entry
            else:
                self._note_high_water(counters.high_water, entry)

    @staticmethod
    def _note_high_water(entries: dict[bytes, bytes], entry: bytes) -> None:
        key = entry[UID_SIZE:_KEY_END]
        entries.pop(key, None)
        entries[key] = entry
        if len(entries) > KEYS_LIMIT:
            del entries[next(iter(entries))]

    def of(self, uid: Uid) -> tuple[bytes, bytes]:
        """The client's packed high-water marks and byte counts."""
        counters = self._counters.get(uid)
        if counters is None:
            return b"", b""
        return b"".join(counters.high_water.values()), counters.byte_counts

    def batches(self) -> Iterator[tuple[CounterKind, bytes]]:
        """All of them, as lines of packed counters."""
        for kind, entries in zip(
            CounterKind, zip(*map(self.of, self._counters), strict=True), strict=False
        ):
            whole, size = b"".join(entries), BATCH_LIMIT // COUNTER_ENTRY_SIZE[kind]
            size *= COUNTER_ENTRY_SIZE[kind]
            yield from ((kind, whole[at : at + size]) for at in range(0, len(whole), size))

    def forget(self, uid: Uid) -> None:
        """The client is gone, or its record says it anew."""
        self._counters.pop(uid, None)


class LateCounters:
    """On a standby: counters of clients that OpenVPN cannot know yet, passed on once it does."""

    def __init__(self, emit: Callable[[CounterKind, bytes], None]) -> None:
        self._emit = emit
        self._last = LastCounters()
        self._unimported: set[Uid] = set()
        self._batches = dict.fromkeys(CounterKind, b"")

    def expect(self, uid: Uid, high_water: bytes, byte_counts: bytes) -> None:
        """A record has come with these counters; its import is outstanding."""
        self._unimported.add(uid)
        self._last.note(CounterKind.HIGH_WATER, high_water, self._unimported)
        self._last.note(CounterKind.BYTES, byte_counts, self._unimported)

    def note(self, kind: CounterKind, payload: bytes) -> None:
        """Counters went by; keep those that OpenVPN will not recognise."""
        if self._unimported:
            self._last.note(kind, payload, self._unimported)

    def forget(self, uid: Uid) -> None:
        """The client is gone, or has a newer record."""
        self._unimported.discard(uid)
        self._last.forget(uid)

    def imported(self, uid: Uid) -> bool:
        """OpenVPN knows the client now; true when there is a batch to be flushed."""
        for kind, entries in zip(CounterKind, self._last.of(uid), strict=True):
            if len(self._batches[kind]) + len(entries) > BATCH_LIMIT:
                self._flush(kind)
            self._batches[kind] += entries
        self.forget(uid)
        return any(self._batches.values())

    def flush(self) -> None:
        """Pass on whatever has been collected."""
        for kind in CounterKind:
            self._flush(kind)

    def _flush(self, kind: CounterKind) -> None:
        payload, self._batches[kind] = self._batches[kind], b""
        if payload:
            self._emit(kind, payload)
