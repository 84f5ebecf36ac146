"""The metrics of each client, when switched on: labels that cannot break a scrape.

Decides how a client is named in a label. Names and addresses come from certificates and from the
network: several clients may have one name, or none. Two clients with the same labels become one
sample, because Prometheus refuses a whole scrape that says one thing twice. Rules: docs/metrics.md.
"""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ovpnha.model import ServerClient
from ovpnha.runtime.keyfile import derive_key

HASH_PURPOSE = "ovpnha metric names 1"
HASH_DIGITS = 16


class Pseudonyms:
    """Keyed hashes of names: equal on every node that has the same cluster key."""

    def __init__(self, cluster_key: bytes) -> None:
        self._key = derive_key(cluster_key, HASH_PURPOSE)

    def of(self, name: str) -> str:
        """16 hex digits; nothing stays nothing."""
        if not name:
            return ""
        return hmac.digest(self._key, name.encode(errors="replace"), "sha256").hex()[:HASH_DIGITS]


@dataclass(frozen=True)
class ClientList:
    """The clients of one instance; with pseudonyms no name or address is told as it is."""

    instance: str
    clients: tuple[ServerClient, ...]
    pseudonyms: Pseudonyms | None

    def count(self, read: Callable[[ServerClient], int]) -> Mapping[tuple[str, ...], int]:
        """A figure of each client, by the values of the labels."""
        found: Counter[tuple[str, ...]] = Counter()
        for one in self.clients:
            names: tuple[str, ...] = (one.name, one.address, one.virtual, one.user)
            if self.pseudonyms is not None:
                names = tuple(map(self.pseudonyms.of, names))
            name, address, virtual, user = names
            found[self.instance, name, one.since, address, virtual, user] += read(one)
        return found
