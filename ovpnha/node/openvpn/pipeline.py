"""Work for OpenVPN, one item a client, with a bound on how much is under way at once.

Decides what goes next. A snapshot of 10,000 clients neither floods OpenVPN's socket nor delays a
new client: urgent work overtakes bulk work, and bulk work leaves room for it. A client is never
under way twice, and what waits is replaced by what is newer.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

from ovpnha.model import Uid

T = TypeVar("T")

IN_FLIGHT = 64
"""Most items under way. At 0.1 ms an import, OpenVPN answers them within 7 ms."""

BULK_IN_FLIGHT = 32
"""Most items under way when a bulk item is started: what an urgent one may have before it."""


class Pipeline(Generic[T]):
    """Waiting items by client, and the items under way."""

    def __init__(self, limit: int = IN_FLIGHT, bulk_limit: int = BULK_IN_FLIGHT) -> None:
        self._limit = limit
        self._bulk_limit = bulk_limit
        self._urgent: OrderedDict[Uid, T] = OrderedDict()
        self._bulk: OrderedDict[Uid, T] = OrderedDict()
        self._started: dict[Uid, T] = {}

    def __len__(self) -> int:
        return len(self._urgent) + len(self._bulk) + len(self._started)

    def put(self, uid: Uid, item: T, *, urgent: bool) -> None:
        """Let an item wait; it replaces a waiting one. A waiting urgent one stays urgent."""
        if urgent or uid in self._urgent:
            self._bulk.pop(uid, None)
            self._urgent[uid] = item
        else:
            self._bulk[uid] = item

    def start(self) -> T | None:
        """The next item that may be started now, which counts as under way from now on."""
        started = len(self._started)
        uid = self._first(self._urgent) if started < self._limit else None
        if uid is not None:
            return self._begin(uid, self._urgent)
        uid = self._first(self._bulk) if started < self._bulk_limit else None
        return self._begin(uid, self._bulk) if uid is not None else None

    def finish(self, uid: Uid) -> None:
        """The item of this client that was under way is done."""
        self._started.pop(uid, None)

    def waiting(self, uid: Uid) -> T | None:
        """The item of this client that waits."""
        return self._urgent.get(uid, self._bulk.get(uid))

    def started(self, uid: Uid) -> T | None:
        """The item of this client that is under way."""
        return self._started.get(uid)

    def under_way(self) -> list[Uid]:
        """The clients whose items are under way."""
        return list(self._started)

    def discard(self, uid: Uid) -> None:
        """Forget what waits for this client; what is under way stays so."""
        self._urgent.pop(uid, None)
        self._bulk.pop(uid, None)

    def discard_all(self) -> None:
        """Forget what waits; what is under way stays so."""
        self._urgent.clear()
        self._bulk.clear()

    def clear(self) -> None:
        """Forget everything: OpenVPN will not answer any more, or the work has become pointless."""
        self.discard_all()
        self._started.clear()

    def _first(self, lane: OrderedDict[Uid, T]) -> Uid | None:
        return next((uid for uid in lane if uid not in self._started), None)

    def _begin(self, uid: Uid, lane: OrderedDict[Uid, T]) -> T:
        item = self._started[uid] = lane.pop(uid)
        return item
