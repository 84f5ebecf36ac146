"""Records that have arrived but for some of their cold parts.

Decides which parts are to be asked for. Holds hot parts, so key material, and therefore as little
and as short as possible: a newer record of the same client throws the older one out. Bound:
docs/wire.md, "What a receiver may keep".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

from ovpnha.model import InstanceName, Uid
from ovpnha.replication.fields import NAMES_LIMIT
from ovpnha.replication.messages import Want
from ovpnha.replication.records import Body

INCOMPLETE_LIMIT = 4 * 1024 * 1024  # bytes of hot parts
WANTS_LIMIT = 48  # want messages at a time


@dataclass(slots=True)
class _Incomplete:
    body: Body = field(repr=False)
    missing: set[bytes]


class IncompleteRecords:
    """Bodies by client, and who waits for which part."""

    def __init__(self) -> None:
        self._records: dict[Uid, _Incomplete] = {}
        self._wanted: dict[bytes, set[Uid]] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._records)

    def clients(self) -> Iterable[Uid]:
        """Whose bodies wait."""
        return self._records.keys()

    def has_room(self, body: Body) -> bool:
        """Whether another body may wait."""
        return self._bytes + len(body.hot) <= INCOMPLETE_LIMIT

    def add(self, body: Body, missing: set[bytes]) -> None:
        """Let a body wait for these parts."""
        self._records[body.uid] = _Incomplete(body, missing)
        self._bytes += len(body.hot)
        for name in missing:
            self._wanted.setdefault(name, set()).add(body.uid)

    def arrived(self, name: bytes) -> list[Body]:
        """A part is here; returns the bodies that waited for nothing else, which leave."""
        ready: list[Body] = []
        for uid in self._wanted.pop(name, ()):
            incomplete = self._records[uid]
            incomplete.missing.discard(name)
            if not incomplete.missing:
                ready.append(incomplete.body)
                self.remove(uid)
        return ready

    def remove(self, uid: Uid) -> None:
        """This client's body waits no longer."""
        incomplete = self._records.pop(uid, None)
        if incomplete is None:
            return
        self._bytes -= len(incomplete.body.hot)
        for name in incomplete.missing:
            self._wanted[name].discard(uid)
            if not self._wanted[name]:
                del self._wanted[name]

    def wants(self, tag: bytes, instance: InstanceName, stream: int) -> list[bytes]:
        """Messages that ask for parts that someone waits for; not for all when they are many."""
        names = tuple(islice(self._wanted, WANTS_LIMIT * NAMES_LIMIT))
        return [
            Want(tag, instance, stream, names[at : at + NAMES_LIMIT]).encode()
            for at in range(0, len(names), NAMES_LIMIT)
        ]
