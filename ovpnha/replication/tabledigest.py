"""What two tables of clients are compared by: a digest of each bucket, and one of all.

Decides nothing. Kept client by client: to look at all of a large table when a digest is wanted
would hold up whoever connects in that moment. Must be told of each client that comes into the table
or leaves it, or it is the digest of another one. Rules: docs/wire.md, "State: from
the source".
"""

from __future__ import annotations

from ovpnha.model import Uid
from ovpnha.replication.messages import BUCKETS
from ovpnha.replication.records import bucket_of, digest_of


class TableDigest:
    """Of one table, a source's or a copy of it."""

    def __init__(self) -> None:
        self.whole = 0
        self.buckets = [0] * BUCKETS

    def flip(self, uid: Uid, generation: int) -> None:
        """This client comes into the table, or leaves it."""
        share = digest_of(uid, generation)
        self.whole ^= share
        self.buckets[bucket_of(uid)] ^= share
