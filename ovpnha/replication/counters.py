"""The newest counters of each client, for a node that comes late.

Counters travel as they change: a node that joins afterwards would never hear those of an idle
client, and OpenVPN knows no counters of a client that it has yet to import. So a source keeps the
last entry of each client (docs/wire.md, body of an upsert), a sink those of clients not imported
yet. Of packed entries (docs/management.md) the keys are read; of two values of a key the larger one
is the newer, since a line that was lost is repeated and arrives behind later ones.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Container, Iterator, Mapping

from ovpnha.model import COUNTER_ENTRY_SIZE, FINGERPRINT_SIZE, UID_SIZE, CounterKind, Uid

KEYS_LIMIT = 8  # keys of one client; OpenVPN has at most three
BATCH_LIMIT = 880  # bytes: a line of packed counters
LINE_LIMIT = 920  # bytes: likewise, of those that OpenVPN has told
_KEY_SIZE = {CounterKind.HIGH_WATER: FINGERPRINT_SIZE, CounterKind.BYTES: 0}
_ENTRY = {
    kind: struct.Struct(f"{UID_SIZE}s{key}s{COUNTER_ENTRY_SIZE[kind] - UID_SIZE - key}s")
    for kind, key in _KEY_SIZE.items()
}


def _newer_counts(one: bytes, other: bytes) -> bytes:
    """Of bytes read and bytes written, 8 bytes each, the larger ones."""
    half = len(one) // 2
    return max(one[:half], other[:half]) + max(one[half:], other[half:])


_NEWER: Mapping[CounterKind, Callable[[bytes, bytes], bytes]] = {
    CounterKind.HIGH_WATER: max,
    CounterKind.BYTES: _newer_counts,
}
"""The newer of two values, which rise; big-endian numbers are in order as bytes are."""

CounterLine = tuple[CounterKind, bytes]
LINES = 8  # that a source passes on at a turn: 360 clients, a millisecond's work
MOST_TURNS = 30  # in which what waits is passed on, however much it is


class WaitingCounters:
    """Lines that a source has been told and has not passed on yet, in their order.

    A client that changes must not wait for the counters of all others. Lines are never passed on
    out of their order, and what waits of a client never behind its next record: that would bring
    older counts over newer ones.
    """

    def __init__(self) -> None:
        self._lines: deque[CounterLine] = deque()

    def __bool__(self) -> bool:
        return bool(self._lines)

    def add(self, kind: CounterKind, payload: bytes) -> None:
        """One more line, cut where it is too long."""
        size = LINE_LIMIT // COUNTER_ENTRY_SIZE[kind] * COUNTER_ENTRY_SIZE[kind]
        self._lines.extend((kind, payload[at : at + size]) for at in range(0, len(payload), size))

    def take(self, *, everything: bool = False) -> list[CounterLine]:
        """Those of the next turn: more of them when many wait, so that it ends."""
        waiting = len(self._lines)
        turn = max(LINES, waiting // MOST_TURNS)
        return self._pop(waiting if everything else min(waiting, turn))

    def take_of(self, uid: Uid) -> list[CounterLine]:
        """Those of this client, with all that came before them."""
        lines = enumerate(self._lines, start=1)
        named = [at for at, (_, payload) in lines if payload.find(uid) >= 0]
        return self._pop(named[-1] if named else 0)

    def _pop(self, count: int) -> list[CounterLine]:
        return [self._lines.popleft() for _ in range(count)]


class LastCounters:
    """Last counter entries by client.

    All that change in a second come at once: what is done for each delays all that waits behind.
    """

    def __init__(self) -> None:
        self._values = {kind: dict[Uid, dict[bytes, bytes]]() for kind in CounterKind}

    def note(self, kind: CounterKind, payload: bytes, clients: Container[Uid]) -> None:
        """Keep the entries of clients that are known, unless what is kept is newer."""
        values, form, newer = self._values[kind], _ENTRY[kind], _NEWER[kind]
        whole = len(payload) - len(payload) % form.size
        for uid, key, value in form.iter_unpack(payload[:whole]):
            kept = values.get(uid)
            if kept is not None and len(kept) == 1 and key in kept:
                kept[key] = newer(kept[key], value)
            elif uid in clients:
                kept = values.setdefault(uid, {})
                _put_last(kept, key, newer(kept.get(key, value), value))

    def of(self, uid: Uid) -> tuple[bytes, bytes]:
        """The client's packed high-water marks and byte counts."""
        return self._packed(CounterKind.HIGH_WATER, uid), self._packed(CounterKind.BYTES, uid)

    def _packed(self, kind: CounterKind, uid: Uid) -> bytes:
        kept = self._values[kind].get(uid, {})
        return b"".join(uid + key + value for key, value in kept.items())

    def batches(self) -> Iterator[tuple[CounterKind, bytes]]:
        """All of them, as lines of packed counters."""
        for kind, values in self._values.items():
            whole = b"".join(self._packed(kind, uid) for uid in values)
            size = BATCH_LIMIT // COUNTER_ENTRY_SIZE[kind] * COUNTER_ENTRY_SIZE[kind]
            yield from ((kind, whole[at : at + size]) for at in range(0, len(whole), size))

    def forget(self, uid: Uid) -> None:
        """The client is gone, or its record says it anew."""
        for values in self._values.values():
            values.pop(uid, None)


def _put_last(kept: dict[bytes, bytes], key: bytes, value: bytes) -> None:
    """As the newest key of a client, at the cost of the one that is the longest ago."""
    kept.pop(key, None)
    kept[key] = value
    if len(kept) > KEYS_LIMIT:
        del kept[next(iter(kept))]


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
