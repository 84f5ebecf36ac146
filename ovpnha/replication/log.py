"""The compacted log of a source: every change has a number, and only the newest of a client stands.

A number never changes its meaning, and is void once a newer change of the same client stands under
a higher one:

    number    1   2   3   4   5   6   7   8   9
    change    A   B   A   C   k   B-  A   k   C     A, B, C: upserts   B-: delete   k: counters
    stands    .   .   .   .   k   B-  A   k   C     head is 9; the span of 5 is 5: itself and 1 to 4

So a log is no longer than its clients, with some deletes, renegotiations and counters. What can go
wrong, and the rule that answers it:

* A receiver misses a number that is void by now: it would ask for ever. Each entry says over how
  many void numbers it spans, and who asks for void ones alone is told so (``next_from``, ``span``).
* Clients that are gone would fill the log: the oldest deletes are forgotten, and ``floor`` rises to
  them. A receiver that ends below the floor cannot know who has gone, so it starts over.
* Counters would fill it: they are void after some seconds. ``lost`` names the newest such number,
  so that who asks for it is told the newest counters of all instead.
* Nobody knows whether what left before has arrived or is lost: a number can be given to nothing at
  all, as a probe (``loss``).
* A renegotiation would be told after its key: the client's next record makes it void.

Decides that, and never when to send. Ruled by docs/wire.md, "State: from the source". It names
clients and holds no record, so it keeps no key material.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ovpnha.model import Uid
from ovpnha.replication.entries import EntryKind

DELETES_LIMIT = 4096
RENEGOTIATIONS_LIMIT = 4096
FEW_LOST = 256  # numbers: a range that was lost on the way, and not a table that is fetched
_SLACK = 256


@dataclass(slots=True)
class Slot:
    """What stands under one number."""

    kind: EntryKind
    uid: Uid
    value: int = 0  # generation of a delete, key id of a renegotiation, kind of counters
    payload: bytes = b""
    generation: int = 0  # of the client when its renegotiation began
    sent: float = -1.0e9
    noted: float = 0.0  # when these counters came


class CompactedLog:
    """Numbers from 1 to ``head``; those without a slot are void."""

    def __init__(self) -> None:
        self.head = 0
        self.floor = 0
        self.lost = 0  # the newest number under which counters stood that are kept no longer
        self._slots: dict[int, Slot] = {}
        self._order: list[int] = []
        self._of_client: dict[Uid, int] = {}
        self._renegotiation_of: dict[Uid, int] = {}
        self._deletes: deque[int] = deque()
        self._renegotiations: deque[int] = deque()
        self._counters: deque[int] = deque()

    def __len__(self) -> int:
        return len(self._slots)

    def get(self, number: int) -> Slot | None:
        """What stands under this number, None when it is void."""
        return self._slots.get(number)

    def upsert(self, uid: Uid) -> int:
        """This client's record has changed."""
        self._forget_client(uid)
        self._of_client[uid] = self._append(Slot(EntryKind.UPSERT, uid))
        return self.head

    def delete(self, uid: Uid, generation: int) -> int:
        """This client is gone."""
        self._forget_client(uid)
        self._of_client[uid] = self._append(Slot(EntryKind.DELETE, uid, generation))
        self._deletes.append(self.head)
        if len(self._deletes) > DELETES_LIMIT:
            self._forget_delete(self._deletes.popleft())
        return self.head

    def counters(self, kind: int, payload: bytes, kept: float, now: float) -> int:
        """Counters have changed; those that came more than ``kept`` seconds ago are void."""
        slot = Slot(EntryKind.COUNTERS, Uid(b""), kind, payload, noted=now)
        self._counters.append(self._append(slot))
        while self._slots[self._counters[0]].noted < now - kept:
            self.lost = self._counters.popleft()
            del self._slots[self.lost]
        return self.head

    def counters_after(self, number: float, noted: float) -> list[int]:
        """The counters above this number that came since then."""
        return [one for one in self._counters if one > number and self._slots[one].noted >= noted]

    def renegotiation(self, uid: Uid, key_id: int, generation: int) -> int:
        """A renegotiation has begun; the client's next record makes this void."""
        self._slots.pop(self._renegotiation_of.pop(uid, 0), None)
        slot = Slot(EntryKind.RENEGOTIATION, uid, key_id, generation=generation)
        number = self._append(slot)
        self._renegotiation_of[uid] = number
        self._renegotiations.append(number)
        if len(self._renegotiations) > RENEGOTIATIONS_LIMIT:
            oldest = self._slots.pop(self._renegotiations.popleft(), None)
            if oldest is not None:
                del self._renegotiation_of[oldest.uid]
        return number

    def void(self) -> int:
        """A number under which nothing ever stands."""
        self.head += 1
        return self.head

    def _append(self, slot: Slot) -> int:
        self.head += 1
        self._slots[self.head] = slot
        self._order.append(self.head)
        if len(self._order) > _SLACK + len(self._slots) * 9 // 8:
            self._order = list(self._slots)
        return self.head

    def _forget_client(self, uid: Uid) -> None:
        self._slots.pop(self._of_client.pop(uid, 0), None)
        self._slots.pop(self._renegotiation_of.pop(uid, 0), None)

    def _forget_delete(self, number: int) -> None:
        slot = self._slots.pop(number, None)
        if slot is not None:
            del self._of_client[slot.uid]
            self.floor = number

    def others(self, ranges: Iterable[tuple[int, int]]) -> Iterator[int]:
        """The numbers of what is no record, in ranges of a few that were lost on the way."""
        for first, last in ranges:
            for number in range(first, last + 1) if last - first < FEW_LOST else ():
                slot = self._slots.get(number)
                if slot is not None and slot.kind is not EntryKind.UPSERT:
                    yield number

    def next_from(self, number: int) -> int:
        """The first number from this one on that is not void; above ``head`` when there is none."""
        if number in self._slots:
            return number
        for index in range(bisect_left(self._order, number), len(self._order)):
            if self._order[index] in self._slots:
                return self._order[index]
        return self.head + 1

    def left_since(self, time: float, number: int) -> bool:
        """Whether what stands under this number has left since then."""
        slot = self._slots.get(number)
        return slot is not None and slot.sent >= time

    def sent_since(self, time: float, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Which of these numbers have left since then, each with the void ones below it.

        Inclusive ranges, ascending; those that touch are one.
        """
        low, high = 0, -1
        at = bisect_left(self._order, first)
        below = first - 1  # the last number that stands, below the one that is looked at
        while at < len(self._order) and (number := self._order[at]) <= last:
            at += 1
            slot = self._slots.get(number)
            if slot is None:
                continue
            if slot.sent >= time:
                if high != below:
                    if low <= high:
                        yield low, high
                    low = below + 1
                high = number
            below = number
        if low <= high:
            yield low, high

    def span(self, number: int) -> int:
        """1 and the count of void numbers right below this one."""
        if number - 1 in self._slots:
            return 1
        for index in range(bisect_left(self._order, number) - 1, -1, -1):
            if self._order[index] in self._slots:
                return number - self._order[index]
        return number
