"""The history that all nodes share: every change of a role, as a set that only grows together.

    our entry ──► said at once ─────────────────────────────────► theirs
    hello: digest of our set  ◄── equal: silence ──►  hello: digest of theirs
           differs: each says what it has, a datagram at a time, until they are equal

An entry is named by a key that nobody draws twice, and may be amended: the higher revision counts.
Of each node the newest ``NODE_LIMIT`` are kept, of all nodes together ``LIMIT``. Which those are
follows from the entries alone, so whatever is lost, repeated or late, nodes that have heard the
same have the same.

What can go wrong, and the rule that answers it:

* A datagram is lost, a node was off: the digests differ, and what is missing is said again.
* An entry was just said: digests differ until the next hello, so a difference counts from
  ``SETTLE`` on.
* A digest never becomes equal (an entry that the other does not take): after everything was said
  once and nothing has changed, the next attempt is ``REST`` later.
* One node floods (its sidecar starts again and again): only its own entries make room.
* There is nothing to say: a round may be empty, and ends like any other.
* A node of an older version tells no digest: nothing is said for its sake.

Decides what of the history is kept and said; docs/wire.md, "History", rules the bytes. Must never
decide anything of roles: it is for people (ADR 41).
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated

from ovpnha.model import Epoch, InstanceName, NodeName, Role
from ovpnha.replication.fields import (
    Instance,
    Node,
    Number,
    array_untrusted,
    fixed,
    name_untrusted,
    one_of,
    rows,
    text_untrusted,
)
from ovpnha.replication.layout import Field, Layout, Type, WireMessage, message
from ovpnha.replication.records import malformed, number_untrusted
from ovpnha.replication.sealing import PAYLOAD_LIMIT

KEY_SIZE = 8
DIGEST_SIZE = 8
REASON_LIMIT = 160  # bytes
FIGURES_LIMIT = 14
FIGURE_NAME_LIMIT = 16  # bytes
ENTRIES_LIMIT = 16  # in one message
NODE_LIMIT = 200
LIMIT = 1000
GAP = 0.05  # seconds between two datagrams of history
SETTLE = 1.2  # seconds: what was just said is in the next hello but one at the latest
REST = 60.0  # seconds until what did not become equal is tried again
MILLIONTHS = 1e6


def _reason(value: object) -> str:
    reason = text_untrusted(value, REASON_LIMIT)
    if not reason.isprintable():
        raise malformed()
    return reason


def _epoch(value: object) -> Epoch:
    values = array_untrusted(value, 2)
    if len(values) != 2:
        raise malformed()
    return Epoch(number_untrusted(values[0]), NodeName(name_untrusted(values[1])))


def _pack_epoch(epoch: Epoch) -> list[object]:
    return [epoch.counter, epoch.node]


def _moment(value: object) -> float:
    return number_untrusted(value) / MILLIONTHS


def _pack_moment(seconds: float) -> int:
    return max(0, round(seconds * MILLIONTHS))


def _figures(value: object) -> Mapping[str, float]:
    found: dict[str, float] = {}
    for row in array_untrusted(value, FIGURES_LIMIT):
        pair = array_untrusted(row, 2)
        if len(pair) != 2:
            raise malformed()
        name = text_untrusted(pair[0], FIGURE_NAME_LIMIT)
        if not name.isidentifier():
            raise malformed()
        found[name] = number_untrusted(pair[1]) / MILLIONTHS
    return found


def _pack_figures(figures: Mapping[str, float]) -> list[list[object]]:
    return [[name, _pack_moment(value)] for name, value in figures.items()]


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One change of the role of one instance on one node."""

    key: Annotated[bytes, fixed(KEY_SIZE)]
    revision: Number
    node: Node
    instance: Instance
    when: Annotated[float, Field(_moment, _pack_moment, "clock")]  # seconds since 1970
    old: Annotated[Role, one_of(Role)]
    new: Annotated[Role, one_of(Role)]
    epoch: Annotated[Epoch, Field(_epoch, _pack_epoch, "[epoch counter, epoch node]")]
    reason: Annotated[str, Field(_reason)]
    figures: Annotated[
        Mapping[str, float], Field(_figures, _pack_figures, "[[figure, millionths] …]")
    ] = field(default_factory=dict)
    """Seconds and counts by name: docs/operations.md, "History"."""

    @property
    def order(self) -> tuple[float, bytes]:
        """What decides which entry is the older one, on every node alike."""
        return (self.when, self.key)


HISTORY_ENTRY = Layout(HistoryEntry)


@message(Type.HISTORY)
@dataclass(frozen=True, slots=True)
class History(WireMessage):
    """Some entries of the shared history, of whichever nodes."""

    entries: Annotated[
        tuple[HistoryEntry, ...], rows(HISTORY_ENTRY, ENTRIES_LIMIT, "[history entry …]")
    ]


def cut(text: str, limit: int = REASON_LIMIT) -> str:
    """A text in one line that may travel: what cannot be printed is a space."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return plain.encode("utf-8", "replace")[:limit].decode("utf-8", "ignore")


class SharedHistory:
    """What this node knows of it."""

    def __init__(self, entries: Iterable[HistoryEntry] = ()) -> None:
        self._entries: dict[bytes, HistoryEntry] = {}
        self._counts: Counter[NodeName] = Counter()
        self._digest = 0
        self._others: dict[NodeName, bytes] = {}
        self._fresh: dict[bytes, None] = {}  # keys that are said at once
        self._round: list[bytes] = []  # keys that are left of the round under way
        self._said = -math.inf
        self._since = math.inf  # when digests began to differ
        self._rest_until = -math.inf
        self._rested: object = None  # the digests at the end of the last round
        self._due = math.inf
        for entry in entries:
            self.take(entry)

    @property
    def entries(self) -> tuple[HistoryEntry, ...]:
        """All of them, the oldest first."""
        return tuple(sorted(self._entries.values(), key=lambda one: one.order))

    @property
    def digest(self) -> bytes:
        """Names the set: equal sets have equal digests."""
        return self._digest.to_bytes(DIGEST_SIZE, "big")

    def find_last(self, node: NodeName, instance: InstanceName) -> HistoryEntry | None:
        """The newest entry of one instance of one node."""
        own = (
            one for one in self._entries.values() if (one.node, one.instance) == (node, instance)
        )
        return max(own, key=lambda one: one.order, default=None)

    def take(self, entry: HistoryEntry) -> bool:
        """Keep an entry; returns whether it is news. One that is too old to be kept is none."""
        known = self._entries.get(entry.key)
        if known is not None and known.revision >= entry.revision:
            return False
        self._put(entry, known)
        self._prune(entry.node)
        return entry.key in self._entries

    def record(self, entry: HistoryEntry, now: float) -> None:
        """An entry of this node: keep it, and say it at once."""
        if self.take(entry) and self._others:
            self._fresh[entry.key] = None
            self._call(now)

    def hear(self, node: NodeName, digest: bytes, now: float) -> None:
        """A believed node has told the digest of what it knows; b"": it does not speak of it."""
        if digest:
            self._others[node] = digest
        else:
            self._others.pop(node, None)
        self._note_difference(now)

    def forget(self, node: NodeName) -> None:
        """A node is not believed any more."""
        self._others.pop(node, None)
        if not self._differs:
            self._since = math.inf

    def get_timer(self) -> float:
        """When ``messages`` has something to say."""
        return self._due

    def messages(self, now: float) -> list[bytes]:
        """What is due now: one message at most."""
        if now < self._due:
            return []
        self._due = math.inf
        under_way = bool(self._round)
        if not self._differs:
            self._round.clear()
            under_way = False
        elif not under_way and now >= self._since + SETTLE and not self._rests(now):
            self._round = [one.key for one in self.entries]
            under_way = True
        batch = self._collect()
        if batch:
            self._said = now
        if under_way and not self._round:
            self._rested, self._rest_until = self._situation(), now + REST
        if self._fresh or self._round:
            self._call(now)
        elif self._differs:
            self._due = self._rest_until if self._rests(now) else self._since + SETTLE
        return [History(tuple(batch)).encode()] if batch else []

    # --- what is kept

    def _put(self, entry: HistoryEntry, known: HistoryEntry | None) -> None:
        if known is not None:
            self._drop(known)
        self._counts[entry.node] += 1
        self._entries[entry.key] = entry
        self._digest ^= _fold(entry)

    def _prune(self, node: NodeName) -> None:
        if self._counts[node] > NODE_LIMIT:
            own = (one for one in self._entries.values() if one.node == node)
            self._drop(min(own, key=lambda one: one.order))
        if len(self._entries) > LIMIT:
            self._drop(min(self._entries.values(), key=lambda one: one.order))

    def _drop(self, entry: HistoryEntry) -> None:
        del self._entries[entry.key]
        self._counts[entry.node] -= 1
        self._digest ^= _fold(entry)

    # --- what is said

    @property
    def _differs(self) -> bool:
        return any(one != self.digest for one in self._others.values())

    def _situation(self) -> object:
        return (self.digest, frozenset(self._others.items()))

    def _rests(self, now: float) -> bool:
        """Whether nothing has changed since the last round, so that another one would not help."""
        return now < self._rest_until and self._situation() == self._rested

    def _note_difference(self, now: float) -> None:
        if not self._differs:
            self._since = math.inf
        else:
            self._since = min(self._since, now)
            if not self._rests(now):
                self._due = min(self._due, max(self._since + SETTLE, self._said + GAP))

    def _call(self, now: float) -> None:
        self._due = min(self._due, max(now, self._said + GAP))

    def _take_next(self) -> HistoryEntry | None:
        """The next one to be said: what is fresh, then the newest of the round."""
        while self._fresh or self._round:
            key = next(iter(self._fresh)) if self._fresh else self._round[-1]
            if key in self._entries:
                return self._entries[key]
            self._said_one(key)
        return None

    def _said_one(self, key: bytes) -> None:
        if key in self._fresh:
            del self._fresh[key]
        else:
            self._round.pop()

    def _collect(self) -> list[HistoryEntry]:
        batch: list[HistoryEntry] = []
        while len(batch) < ENTRIES_LIMIT and (entry := self._take_next()) is not None:
            if batch and len(History((*batch, entry)).encode()) > PAYLOAD_LIMIT:
                break
            batch.append(entry)
            self._said_one(entry.key)
        return batch


def _fold(entry: HistoryEntry) -> int:
    """An entry's share of the digest."""
    named = entry.key + entry.revision.to_bytes(8, "big")
    return int.from_bytes(hashlib.sha256(named).digest()[:DIGEST_SIZE], "big")
