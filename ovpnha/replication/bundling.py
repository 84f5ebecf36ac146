"""Messages that are due together share datagrams. Decides only how many fit one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ovpnha.replication.sealing import PAYLOAD_LIMIT


@dataclass(frozen=True)
class Datagram:
    """One sealed datagram, for every link or only for ``link``."""

    data: bytes = field(repr=False)
    link: str | None = None


def bundle(messages: Iterable[bytes]) -> Iterator[bytes]:
    """Join messages into payloads, in order, none longer than a datagram allows."""
    group: list[bytes] = []
    room = PAYLOAD_LIMIT
    for message in messages:
        if len(message) > room:
            yield b"".join(group)
            group, room = [], PAYLOAD_LIMIT
        group.append(message)
        room -= len(message)
    if group:
        yield b"".join(group)
