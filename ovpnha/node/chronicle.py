"""What the history says of one instance: an entry for each change of its role, amended later.

    role changed ──► entry, revision 0 ──► copied on, first packet, new keys ──► revisions 1, 2, …
                                              until the role changes again

The times of a promotion, and what became of its clients, are known only after it. So the entry of a
promotion is told at once, and told again whenever one more thing of it is known. A sidecar that
starts again and again says so in one entry, whose ``times`` rises.

Must never decide anything, nor be asked by anything that decides. Rules: ADR 41.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from ovpnha.model import BootId, InstanceName, NodeName, Role
from ovpnha.node.outputs import RoleChanged
from ovpnha.node.parts import Parts
from ovpnha.replication.history import KEY_SIZE, HistoryEntry, cut

Known = tuple[object, ...]
"""Of a promotion: whether its table is published, a client was heard, all new keys are made; and
what became of its fence."""


class Chronicle:
    """Of one instance."""

    def __init__(
        self, parts: Parts, node: NodeName, boot: BootId, last: HistoryEntry | None = None
    ) -> None:
        self._parts = parts
        self._node = node
        self._instance = InstanceName(parts.config.name)
        self._boot = boot
        self._count = 0
        self._when = -1.0
        self._last = last  # the newest entry, of an earlier sidecar at first
        self._open: HistoryEntry | None = None  # of the promotion that is still told of
        self._known: Known = ()
        self._promotions = 0

    def tell(self, wall: Callable[[], float]) -> Iterator[HistoryEntry]:
        """What is new since the last call."""
        changes = self._parts.role.changes
        if self._open is not None and (changes or self._look() != self._known):
            yield self._amend(self._open)
        while changes:
            yield self._begin(changes.popleft(), self._take_moment(wall()))

    def _take_moment(self, when: float) -> float:
        """Later than the last one, if by a microsecond; a clock that was set back is followed."""
        if 0.0 <= self._when - when < 1.0:
            when = self._when + 1e-6
        self._when = round(when, 6)
        return self._when

    def _begin(self, change: RoleChanged, when: float) -> HistoryEntry:
        promoted = change.new is Role.MASTER and self._parts.promotion.count > self._promotions
        self._promotions = self._parts.promotion.count
        last = self._last
        if last is not None and change.old is Role.INIT and _is_same(last, change):
            again = {
                "times": last.figures.get("times", 1.0) + 1,
                "until": round(max(0.0, when - last.when), 6),
            }
            figures = {**last.figures, **again}
            entry = replace(last, revision=last.revision + 1, figures=figures)
        else:
            figures = dict(self._figures()) if promoted else self._figures_of_a_change(change)
            entry = HistoryEntry(
                key=self._make_key(),
                revision=0,
                node=self._node,
                instance=self._instance,
                when=when,
                old=change.old,
                new=change.new,
                epoch=change.epoch,
                reason=cut(change.reason),
                figures=figures,
            )
        self._last, self._open = entry, entry if promoted else None
        self._known = self._look()
        return entry

    def _amend(self, entry: HistoryEntry) -> HistoryEntry:
        amended = replace(entry, revision=entry.revision + 1, figures=self._figures())
        self._known = self._look()
        self._last = amended
        self._open = None if self._parts.role.changes else amended
        return amended

    def _look(self) -> Known:
        parts = self._parts
        rekey = parts.rekey.statistics(0.0)
        listed = "listed" in parts.promotion.phases
        rekeyed = listed and bool(rekey.done or rekey.left) and not rekey.pending
        published, heard = "published" in parts.promotion.phases, not parts.traffic.watching
        return published, heard, rekeyed, *parts.fence.told

    def _figures(self) -> Mapping[str, float]:
        """What is known of the last promotion now: seconds since its cause, and clients."""
        parts, carried = self._parts, self._parts.promotion.carried
        rekey = parts.rekey.statistics(0.0)
        figures: dict[str, float | None] = {
            "silent": carried.silent,
            **parts.fence.told,
            **parts.promotion.phases,
            "first_packet": parts.traffic.first_packet,
            "clients": carried.clients,
            "dropped": carried.dropped,
            "lacking": carried.lacking,
            "reconnecting": carried.reconnecting,
            "rekeyed": rekey.done,
            "rekey_left": rekey.left,
            "rekey_pending": rekey.pending,
        }
        return {
            name: round(float(value), 6) for name, value in figures.items() if value is not None
        }

    def _figures_of_a_change(self, change: RoleChanged) -> dict[str, float]:
        """Of any other change: the clients, and the fence that a return has waited for."""
        told = self._parts.fence.told if change.new is Role.MASTER else {}
        return {"clients": float(self._parts.clients), **told}

    def _make_key(self) -> bytes:
        """A key that nobody else makes: no two starts of a sidecar have one boot."""
        self._count += 1
        named = self._boot + self._instance.encode() + b"\0" + str(self._count).encode()
        return hashlib.sha256(named).digest()[:KEY_SIZE]


def _is_same(last: HistoryEntry, change: RoleChanged) -> bool:
    told = (last.old, last.new, last.epoch, last.reason)
    return told == (change.old, change.new, change.epoch, cut(change.reason))
