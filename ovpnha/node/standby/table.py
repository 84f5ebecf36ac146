"""A standby's view of the followed master's clients: heard of, imported, refused.

Invariant 5 is kept here: a record whose generation lies below the highest heard of is stale, and a
stale record is worse than none. Nothing stale is seeded: ``stale`` names what must be dropped
before this node serves. It is kept up to date client by client, because a promotion must not look
at ten thousand of them. Rules: docs/architecture.md, invariants 4 and 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ovpnha.model import Epoch, Grant, StoredRange, Uid


@dataclass(frozen=True)
class Copy:
    """What OpenVPN holds of one client."""

    generation: int
    stored: tuple[StoredRange, ...]  # empty: nothing to send with, or not known yet
    epoch: Epoch | None  # of the master that it came from; None: found at the sidecar's start

    def serves(self, generation: int, grants: tuple[Grant, ...]) -> bool:
        """Whether importing this generation with these grants would change nothing."""
        return generation == self.generation and bool(self.stored) and not lacking(self, grants)


def lacking(copy: Copy, grants: tuple[Grant, ...]) -> list[Grant]:
    """The grants that this copy has not stored; of several for one key the highest counts."""
    ends = {one.fingerprint: one.end for one in sorted(copy.stored, key=lambda one: one.end)}
    return [one for one in grants if ends.get(one.fingerprint, 0) < one.end]


class StandbyTable:
    """Every client this standby has heard of or holds."""

    def __init__(self) -> None:
        self._epoch: Epoch | None = None
        self._heard: dict[Uid, int] = {}
        self._copies: dict[Uid, Copy] = {}
        self._refused: dict[Uid, int] = {}
        self._outstanding: set[Uid] = set()
        self._rangeless: set[Uid] = set()
        self._behind: set[Uid] = set()  # heard of at a generation that is not held
        self._ended = False

    @property
    def copies(self) -> int:
        """How many clients OpenVPN holds."""
        return len(self._copies)

    @property
    def imported(self) -> bool:
        """Whether a snapshot ended and every client in it was imported, refused, or is gone."""
        return self._ended and not self._outstanding

    @property
    def rangeless(self) -> int:
        """How many copies have no packet ids to send with."""
        return len(self._rangeless)

    def restart(self, epoch: Epoch) -> None:
        """A master of this epoch is followed; a new epoch ends what was heard in older ones."""
        if epoch != self._epoch:
            self._heard.clear()
            self._behind.clear()
        self._epoch = epoch
        self._refused.clear()
        self._outstanding.clear()
        self._ended = False

    def lose(self) -> None:
        """OpenVPN has lost its table. What was heard of stays heard of."""
        self._copies.clear()
        self._rangeless.clear()
        self._outstanding.clear()
        self._behind = set(self._heard)
        self._ended = False

    def find(self, clients: Mapping[Uid, int]) -> None:
        """Take OpenVPN's own list, of a sidecar that has just started or reconnected.

        What packet ids it has is not known, which is not the same as none.
        """
        self.lose()
        self._copies = {uid: Copy(generation, (), None) for uid, generation in clients.items()}
        for uid in clients:
            self._compare(uid)

    def hear(self, uid: Uid, generation: int) -> None:
        """The master has this client at this generation, at least."""
        self._heard[uid] = max(generation, self._heard.get(uid, generation))
        self._compare(uid)

    def remove(self, uid: Uid) -> None:
        """The client is gone, or is being dropped."""
        self._heard.pop(uid, None)
        self._refused.pop(uid, None)
        self._outstanding.discard(uid)
        self.drop_copy(uid)

    def end_snapshot(self, clients: Mapping[Uid, int]) -> list[Uid]:
        """The master's whole table. Returns the clients that are to be dropped."""
        gone = [uid for uid in self._heard.keys() | self._copies.keys() if uid not in clients]
        for uid, generation in clients.items():
            self.hear(uid, generation)
        self._ended = True
        self._outstanding = {uid for uid in clients if not self._settled(uid)}
        return gone

    def copy(self, uid: Uid) -> Copy | None:
        """What OpenVPN holds of this client."""
        return self._copies.get(uid)

    def held(self, uid: Uid) -> int:
        """The generation that OpenVPN holds; -1 when none."""
        copy = self._copies.get(uid)
        return copy.generation if copy is not None else -1

    def heard(self, uid: Uid) -> int:
        """The highest generation heard of; -1 when none."""
        return self._heard.get(uid, -1)

    def store(self, uid: Uid, copy: Copy) -> None:
        """OpenVPN holds this, by an import or as the master confirms."""
        self._copies[uid] = copy
        (self._rangeless.discard if copy.stored else self._rangeless.add)(uid)
        self._refused.pop(uid, None)
        self._compare(uid)
        self._settle(uid)

    def refuse(self, uid: Uid, generation: int) -> None:
        """OpenVPN has refused this record, and keeps what it had."""
        self._refused[uid] = generation
        self._settle(uid)

    def stale(self) -> list[Uid]:
        """The clients that OpenVPN holds at a generation below the highest heard of."""
        return sorted(uid for uid in self._behind if uid in self._copies)

    def lacks(self) -> int:
        """How many clients heard of are not held at their generation."""
        return len(self._behind)

    def drop_copy(self, uid: Uid) -> None:
        """OpenVPN is told to drop its copy; the client itself is not gone."""
        self._copies.pop(uid, None)
        self._rangeless.discard(uid)
        self._compare(uid)

    def _compare(self, uid: Uid) -> None:
        behind = self.held(uid) < self.heard(uid)
        (self._behind.add if behind else self._behind.discard)(uid)

    def _settled(self, uid: Uid) -> bool:
        copy = self._copies.get(uid)
        if copy is not None and copy.epoch == self._epoch and copy.generation >= self.heard(uid):
            return True
        return self._refused.get(uid, -1) >= self.heard(uid)

    def _settle(self, uid: Uid) -> None:
        if self._settled(uid):
            self._outstanding.discard(uid)
