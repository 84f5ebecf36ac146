"""What this node's OpenVPN has made of the records: acknowledgements and refusals on their way.

Decides how they share messages; docs/wire.md rules "ack" and "reject". An outcome is kept for as
long as its client is, because the source may ask for it again.
"""

from __future__ import annotations

from collections.abc import Iterator

from ovpnha.model import InstanceName, Uid
from ovpnha.replication.fields import RANGES_LIMIT
from ovpnha.replication.messages import (
    ACKS_LIMIT,
    REASON_LIMIT,
    Ack,
    AckEntry,
    Reject,
    RejectEntry,
)
from ovpnha.replication.ranges import RangeSet

ACK_BYTES = 850  # of entries and ranges in one ack
REJECTS = 5  # in one reject
_ENTRY_BYTES = 30  # of an ack's entry without its stored ranges
_STORED_BYTES = 16
_RANGE_BYTES = 18


class Acknowledgements:
    """The outcome for each client, and which of them the source has yet to be told."""

    def __init__(self) -> None:
        self._outcomes: dict[Uid, AckEntry | RejectEntry] = {}
        self._news: dict[Uid, None] = {}

    def conclude(self, outcome: AckEntry | RejectEntry) -> None:
        """OpenVPN has imported or refused this client."""
        self._outcomes[outcome.uid] = outcome
        self._news[outcome.uid] = None

    def forget(self, uid: Uid) -> None:
        """The client is gone, or has a newer record."""
        self._outcomes.pop(uid, None)
        self._news.pop(uid, None)

    def repeat(self, uids: tuple[Uid, ...]) -> bool:
        """The source asks; true when there is something to tell."""
        known = [uid for uid in uids if uid in self._outcomes]
        self._news.update((uid, None) for uid in known)
        return bool(known)

    def messages(
        self, tag: bytes, instance: InstanceName, stream: int, received: RangeSet
    ) -> Iterator[bytes]:
        """One ack at least, and everything that is news."""
        outcomes = [self._outcomes[uid] for uid in self._news]
        self._news = {}
        cumulative = received.cumulative()
        above = tuple(received.above(cumulative, RANGES_LIMIT // 4))
        place = (tag, instance, stream, cumulative)
        acks = [outcome for outcome in outcomes if isinstance(outcome, AckEntry)]
        for group in _share(acks, len(above)):
            yield Ack(*place, above, tuple(group)).encode()
        rejects = [outcome for outcome in outcomes if isinstance(outcome, RejectEntry)]
        for at in range(0, len(rejects), REJECTS):
            yield Reject(tag, instance, stream, tuple(rejects[at : at + REJECTS])).encode()


def _share(acks: list[AckEntry], ranges: int) -> list[list[AckEntry]]:
    groups: list[list[AckEntry]] = [[]]
    room = most = ACK_BYTES - ranges * _RANGE_BYTES
    for ack in acks:
        needed = _ENTRY_BYTES + _STORED_BYTES * len(ack.stored)
        if groups[-1] and (needed > room or len(groups[-1]) == ACKS_LIMIT):
            groups.append([])
            room = most
        groups[-1].append(ack)
        room -= needed
    return groups


def clip_reason(reason: str) -> str:
    """OpenVPN's reason at the length that a message allows."""
    return reason.encode()[:REASON_LIMIT].decode(errors="ignore")
