"""One process's packet ids of one key: what cluster_range.c does, with ranges of a few ids.

Each function is named after the C function it stands for and gives the new state. That they are
the same is not a promise: ``test_same_as_c.py`` runs every step that the search has made through
the real cluster_range.c and compares.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

Range = tuple[int, int]
EMPTY: Range = (0, 0)

# cluster_range.h has 2^20 to 2^24 and 2^14.
SIZE = 1
LEAST = 1


class Grant(NamedTuple):
    """A range that has left its owner: struct cluster_grant."""

    holder: int
    start: int
    end: int
    stored: bool


class Key(NamedTuple):
    """struct packet_id_send with its struct cluster_range_owner."""

    sending: bool
    id: int  # the last one sent
    limit: int  # first id that must not be sent, 0: no cap
    segment_start: int
    next: Range
    rest: Range
    forgotten: int  # grants to holder ids that no process has any more
    grants: tuple[Grant, ...]


def length(ids: Range) -> int:
    return ids[1] - ids[0]


def generate(last: int) -> Key:
    """cluster_range_generate: the process owns ids 1 to ``last``."""
    return Key(True, 0, 0, 0, EMPTY, (1, last + 1), 0, ())


STANDBY = Key(False, 0, 1, 0, EMPTY, EMPTY, 0, ())  # cluster_range_standby


def share(key: Key, parts: int) -> int:
    room = length(key.rest)
    return min(max(room // (2 * parts), LEAST), SIZE, room // parts)


def parts_of(key: Key) -> int:
    """Holders known, and the sender: n_grants + 1."""
    return len(key.grants) + key.forgotten + 1


def sender_top(key: Key) -> int:
    return key.next[1] if length(key.next) else key.limit


def is_current(key: Key, grant: Grant) -> bool:
    """grant_is_current: would a client that saw all of the sender accept this range?"""
    return grant.start >= sender_top(key)


def find(key: Key, holder: int) -> Grant | None:
    return next((grant for grant in key.grants if grant.holder == holder), None)


def protects(key: Key, holder: int) -> bool:
    """grant_is_protecting: what the sender believes of a holder's copy."""
    grant = find(key, holder)
    return grant is not None and grant.stored and is_current(key, grant)


def needs_round(key: Key) -> bool:
    used = key.id + 1 - key.segment_start
    past_half = used * 100 >= (key.limit - key.segment_start) * 50
    return bool(key.limit) and not length(key.next) and past_half


def cut(key: Key, n: int) -> tuple[Key, Range]:
    """Take ids off the low end of the rest."""
    start, end = key.rest
    return key._replace(rest=(start + n, end)), (start, start + n)


def cut_segment(key: Key, n: int) -> Key:
    key, segment = cut(key, n)
    return key._replace(next=segment)


def enter(key: Key) -> Key:
    start, end = key.next
    return key._replace(segment_start=start, id=start - 1, limit=end, next=(end, end))


def release_overtaken(key: Key) -> Key:
    """What the move means to the holders; here nobody has been told, none is forgotten."""
    return key


def jump(key: Key) -> Key | None:
    if not length(key.next):
        key = cut_segment(key, share(key, parts_of(key)) or length(key.rest))
    if not length(key.next):
        return None
    return release_overtaken(enter(key))


@cache
def send(key: Key) -> Key | None:
    """packet_id_send_update: the new state, whose id was sent; None when there is none."""
    if not key.sending:
        return None
    end = key.limit or key.rest[1]
    if key.id + 1 >= end:
        moved = jump(key) if key.limit else None
        if moved is None:
            return None
        key = moved
    return key._replace(id=key.id + 1)


def forget_sent(key: Key) -> Key:
    """The first export of a generated key: what was sent is not owned any more."""
    if not key.limit and key.id >= key.rest[0]:
        return key._replace(rest=(key.id + 1, key.rest[1]))
    return key


def cut_grants(key: Key, holders: tuple[int, ...], size: int) -> Key:
    for holder in holders:
        grant = find(key, holder)
        if grant is None or not is_current(key, grant):
            key, ids = cut(key, size)
            others = tuple(one for one in key.grants if one.holder != holder)
            key = key._replace(grants=tuple(sorted((*others, Grant(holder, *ids, False)))))
    return key


def cut_round(key: Key, holders: tuple[int, ...]) -> Key:
    first = not key.limit
    segment = first or needs_round(key)
    lacking = 0
    for holder in holders:
        grant = find(key, holder)
        lacking += grant is None or not is_current(key, grant)
    parts = len(holders) + 1 if segment else lacking
    size = share(key, parts) if parts else 0
    if not size:
        return key
    if segment:
        key = cut_segment(key, size)
    return cut_grants(enter(key) if first else key, holders, size)


@cache
def export(key: Key, holders: tuple[int, ...]) -> tuple[Key, tuple[Grant, ...]]:
    """cluster_range_export: the new state, and the grants that are told."""
    if not key.sending:
        return key, ()
    key = cut_round(forget_sent(key), holders)
    told = tuple(
        grant
        for grant in key.grants
        if grant.holder in holders and key.limit and is_current(key, grant)
    )
    return key, told


@cache
def stored(key: Key, holder: int, end: int) -> Key:
    """cluster_range_stored: a holder's OpenVPN has its range up to ``end``."""
    grant = find(key, holder) if key.sending else None
    if grant is None or end < grant.end or not is_current(key, grant):
        return key
    others = tuple(one for one in key.grants if one.holder != holder)
    return key._replace(grants=tuple(sorted((*others, grant._replace(stored=True)))))


@cache
def take(key: Key, ids: Range) -> Key | None:
    """cluster_range_import: None when it is refused."""
    if key.sending:
        return None
    same = ids == key.rest
    if not length(key.rest) or ids[0] >= key.rest[1]:
        return key._replace(rest=ids)
    return None if not same and ids[1] > key.rest[0] else key


def recall(ids: Range) -> Key:
    """cluster_range_recall: a key that comes back has the range that it had when it was dropped."""
    return STANDBY._replace(rest=ids)


@cache
def promote(key: Key) -> Key:
    """cluster_range_promote: the lower half is the segment, the upper half is granted from.

    An eighth of so short a range is not worth a round.
    """
    if key.sending:
        return key
    key = key._replace(sending=True, segment_start=key.limit)
    if length(key.rest):
        key, segment = cut(key, length(key.rest) // 2)
        key = enter(key._replace(next=segment))
    return key


@cache
def overtake(key: Key) -> Key:
    """cluster_range_overtake: another process may have sent from what it was granted."""
    if not key.sending or not key.limit or not length(key.rest):
        return key
    return release_overtaken(enter(cut_segment(key, share(key, parts_of(key)))))
