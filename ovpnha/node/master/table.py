"""The source's view of its clients: what was exported, for whom, and who has a current copy.

A client is *protected* when at least one other node's OpenVPN has imported its newest generation,
hot part and cold parts, and has stored packet ids to send with. Anything less would be a client
that the successor cannot answer. Where there are other machines, the sibling on this one does not
count (``ignore``): it would not outlive it. Rules: docs/architecture.md, invariants 4 and 5, and
"Packet ids are owned", R2 to R4 (a grant is repeated only to the same holder).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ovpnha.model import ClientRecord, Grant, HolderId, NodeName, StoredRange, Uid


@dataclass
class _Client:
    generation: int
    unprotected_since: float | None
    exported: int = -1
    holders: frozenset[HolderId] = frozenset()
    grants: tuple[Grant, ...] = ()
    told: set[Grant] = field(default_factory=set)
    copies: dict[NodeName, int] = field(default_factory=dict)

    def judge(self, ignored: NodeName | None, now: float) -> None:
        """Note since when no other node has a current copy that counts."""
        counted = (at for node, at in self.copies.items() if node != ignored)
        if any(generation >= self.generation for generation in counted):
            self.unprotected_since = None
        elif self.unprotected_since is None:
            self.unprotected_since = now


class SourceTable:
    """Every client of a master or held instance."""

    def __init__(self) -> None:
        self._clients: dict[Uid, _Client] = {}
        self._missing: set[Uid] = set()
        self._listed = False
        self._ignored: NodeName | None = None

    def __len__(self) -> int:
        return len(self._clients)

    def __contains__(self, uid: Uid) -> bool:
        return uid in self._clients

    def __iter__(self) -> Iterator[Uid]:
        return iter(self._clients)

    @property
    def complete(self) -> bool:
        """Whether every client that OpenVPN listed has been exported once, or has gone."""
        return self._listed and not self._missing

    def take_list(self, clients: Mapping[Uid, int], now: float) -> None:
        """Take OpenVPN's whole list: clients that it lacks were never ours to tell of."""
        for uid, generation in clients.items():
            self.change(uid, generation, now)
        self._missing = {uid for uid in clients if self._clients[uid].exported < 0}
        self._listed = True

    def change(self, uid: Uid, generation: int, now: float) -> None:
        """A client is at this generation, at least."""
        client = self._clients.setdefault(uid, _Client(generation, now))
        client.generation = max(client.generation, generation)
        client.judge(self._ignored, now)

    def remove(self, uid: Uid) -> bool:
        """The client is gone. Returns whether it was known."""
        self._missing.discard(uid)
        return self._clients.pop(uid, None) is not None

    def export(self, record: ClientRecord, holders: frozenset[HolderId], now: float) -> bool:
        """A record was exported for these holders. Returns whether it is to be published."""
        client = self._clients.get(record.uid)
        if client is None:
            return False
        self._missing.discard(record.uid)
        client.exported = record.generation
        client.holders = holders
        client.grants = record.grants
        self.change(record.uid, record.generation, now)
        return True

    def skip(self, uid: Uid) -> None:
        """This client cannot be exported now; the source is complete without it."""
        self._missing.discard(uid)

    def current(self, uid: Uid, holders: frozenset[HolderId]) -> bool:
        """Whether the newest generation was exported with a range for each of these holders."""
        client = self._clients.get(uid)
        if client is None:
            return True
        return client.exported >= client.generation and holders <= client.holders

    def outdated(self, holders: frozenset[HolderId]) -> list[Uid]:
        """The clients whose last export does not serve all of these holders."""
        return [uid for uid in self._clients if not self.current(uid, holders)]

    def acknowledge(
        self, node: NodeName, uid: Uid, generation: int, stored: tuple[StoredRange, ...], now: float
    ) -> list[Grant]:
        """A node has imported a generation. Returns the grants it stored that are news."""
        client = self._clients.get(uid)
        if client is None:
            return []
        if stored:
            client.copies[node] = max(generation, client.copies.get(node, generation))
            client.judge(self._ignored, now)
        ranges = {(one.fingerprint, one.end) for one in stored}
        news = [one for one in client.grants if (one.fingerprint, one.end) in ranges]
        news = [one for one in news if one not in client.told]
        client.told.update(news)
        return news

    def lose_copy(self, uid: Uid, node: NodeName, now: float) -> None:
        """A node's copy of this client is of no use any more, or was refused."""
        client = self._clients.get(uid)
        if client is not None and client.copies.pop(node, None) is not None:
            client.judge(self._ignored, now)

    def lose_node(self, node: NodeName, now: float) -> None:
        """A node, or its OpenVPN, has no copies any more."""
        for uid in self._clients:
            self.lose_copy(uid, node, now)

    def ignore(self, node: NodeName | None, now: float) -> None:
        """The copies of this node protect nobody."""
        if node != self._ignored:
            self._ignored = node
            for client in self._clients.values():
                client.judge(node, now)

    def generations(self) -> dict[Uid, int]:
        """Every client, at its newest generation."""
        return {uid: client.generation for uid, client in self._clients.items()}

    def is_protected(self, uid: Uid) -> bool:
        """Whether this client is current on at least one other node."""
        client = self._clients.get(uid)
        return client is not None and client.unprotected_since is None

    def is_at(self, node: NodeName) -> bool:
        """Whether this node has every client as it is now."""
        return all(one.copies.get(node, -1) >= one.generation for one in self._clients.values())

    def protected(self) -> int:
        """How many clients are current on at least one other node."""
        return sum(client.unprotected_since is None for client in self._clients.values())

    def waits(self, now: float) -> Iterator[tuple[Uid, float | None]]:
        """Every client, and for how many seconds it has been unprotected; ``None`` when it is."""
        for uid, client in self._clients.items():
            since = client.unprotected_since
            yield uid, None if since is None else now - since

    def oldest_unprotected(self, now: float) -> float:
        """Age in seconds of the oldest change that no other node has; 0.0 when there is none."""
        return max((now - since for since in self._unprotected()), default=0.0)

    def _unprotected(self) -> Iterator[float]:
        for client in self._clients.values():
            if client.unprotected_since is not None:
                yield client.unprotected_since
