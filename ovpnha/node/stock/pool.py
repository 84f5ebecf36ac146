"""Who had which address: what OpenVPN's ``ifconfig-pool-persist`` is to say when it starts.

Who is connected finds its address again, and who was connected a moment ago. Not who has been away
for longer: an address that OpenVPN reads from a file that it does not write is *fixed*. Nobody else
is given it until OpenVPN reads again, and when every address is, OpenVPN refuses each new name. So
those who are away never make the file much longer than it was when most were connected.

Decides what stands in the file, never when it is read. Names are chosen by who made the
certificates, or by users: one that could be taken for anything else in the file is left out, and
its client gets any address.
"""

from __future__ import annotations

import ipaddress
from collections import Counter, deque
from collections.abc import Iterable, Mapping

from ovpnha.replication.leases import Lease

LEASES_LIMIT = 65536
UNNAMED = "UNDEF"
FORBIDDEN = frozenset(",\\")

NAME_LIMIT = 64
"""Bytes of a name in OpenVPN."""

AWAY_FOR = 900.0
"""Seconds for which the address of a client that has gone is kept for it. Longer: more addresses
that nobody else gets after a takeover; shorter: who lost its line for so long gets another one."""

AWAY_PART = 4
"""Of so many clients, as were connected at once at most, the addresses of one that has gone."""


class AddressPool:
    """Addresses by name, of those who are connected and of those who were.

    Args:
        text: What a file of before says. Nobody knows when those were connected: a moment ago.
        now: The moment.
        limit: Most names.
    """

    def __init__(self, text: str = "", now: float = 0.0, limit: int = LEASES_LIMIT) -> None:
        self._limit = limit
        self._addresses: dict[str, tuple[str, str]] = {}
        self._names: dict[str, str] = {}  # by address
        self._seen: dict[str, float] = {}  # when it was last connected
        self._connected: frozenset[str] = frozenset()
        self._most: deque[tuple[float, int]] = deque()  # falling: how many were connected at once
        for line in text.splitlines():
            self._read_untrusted(line, now)
        self._count(len(self), now)

    def _read_untrusted(self, line: str, now: float) -> None:
        """One line of a file that was there before; what is no lease is left out."""
        words = line.split(",")
        if len(words) == 3:
            self._put(words[0], words[1], words[2], now)

    def note(self, leases: Iterable[Lease], now: float) -> None:
        """These clients are connected. Of one name with several addresses nothing is known."""
        known = list(leases)
        names = Counter(one.name for one in known)
        for lease in known:
            if names[lease.name] == 1:
                self._put(lease.name, lease.virtual, lease.virtual6, now)
        for name in self._connected.difference(names).intersection(self._seen):
            self._seen[name] = now
        self._connected = frozenset(name for name in names if names[name] == 1)
        self._count(len(self._connected), now)
        for name in [one for one, seen in self._seen.items() if now - seen > AWAY_FOR]:
            self._drop(name)

    def _put(self, name: str, virtual: str, virtual6: str, now: float) -> None:
        addresses = _normal(virtual), _normal(virtual6)
        if not is_safe(name) or not any(addresses):
            return
        if self._addresses.get(name) != addresses:
            self._drop(name)
            for one in addresses:
                self._drop(self._names.get(one, ""))
            self._addresses[name] = addresses
            self._names.update((one, name) for one in addresses if one)
        self._seen[name] = now
        if len(self._addresses) > self._limit:
            self._drop(next(iter(self._addresses)))

    def _drop(self, name: str) -> None:
        self._seen.pop(name, None)
        for one in filter(None, self._addresses.pop(name, ())):
            del self._names[one]

    def _count(self, connected: int, now: float) -> None:
        if self._most:  # they were so many until now
            self._most[-1] = now, self._most[-1][1]
        while self._most and self._most[-1][1] <= connected:
            self._most.pop()
        self._most.append((now, connected))
        while now - self._most[0][0] > AWAY_FOR:
            self._most.popleft()

    def kept(self, now: float) -> frozenset[str]:
        """Whose addresses are kept: all who are connected, and some who were a moment ago."""
        away = [
            (seen, name)
            for name, seen in self._seen.items()
            if name not in self._connected and now - seen <= AWAY_FOR
        ]
        most = self._most[0][1]
        room = most + -(-most // AWAY_PART) - len(self._connected)
        last = sorted(away, reverse=True)[: max(0, room)]
        return self._connected.intersection(self._addresses).union(name for _, name in last)

    def text(self, now: float) -> str:
        """The file, in an order that does not change while nothing else does."""
        rows = sorted((*self._addresses[name], name) for name in self.kept(now))
        return "".join(f"{name},{virtual},{virtual6}\n" for virtual, virtual6, name in rows)

    @property
    def anyone_away(self) -> bool:
        """Whether the file changes as time passes."""
        return len(self._connected) < len(self)

    def __len__(self) -> int:
        return len(self._addresses)


def find_addresses(leases: Iterable[Lease]) -> Mapping[str, str]:
    """The address of each client whose name nobody else has."""
    known = list(leases)
    names = Counter(one.name for one in known)
    return {one.name: one.virtual or one.virtual6 for one in known if names[one.name] == 1}


def is_safe(name: str) -> bool:
    """Whether a name reads in the file as it is meant."""
    plain = name.isprintable() and not FORBIDDEN & set(name) and len(name.encode()) <= NAME_LIMIT
    return plain and name not in ("", UNNAMED) and name[0] not in "#;" and name == name.strip()


def _normal(text: str) -> str:
    """An address as everybody writes it; "" when it is none."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""
