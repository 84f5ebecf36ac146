"""Cold parts on the sending side: each content once, however many clients name it.

Decides nothing but when a part is no longer named and may go; docs/wire.md rules the chunks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from ovpnha.model import ColdPart, InstanceName
from ovpnha.replication.messages import (
    COLD_CHUNK,
    Cold,
)


class ColdSender:
    """The parts that published records name."""

    def __init__(self, instance: InstanceName, stream: int) -> None:
        self._instance = instance
        self._stream = stream
        self._parts: dict[bytes, ColdPart] = {}
        self._uses: dict[bytes, int] = {}
        self._fresh: dict[bytes, None] = {}
        self._sent: dict[bytes, float] = {}

    def __contains__(self, name: bytes) -> bool:
        return name in self._parts

    def use(self, parts: Iterable[ColdPart]) -> tuple[bytes, ...]:
        """A record names these parts from now on; returns their names."""
        names = []
        for part in parts:
            name = part.name
            names.append(name)
            if name not in self._parts:
                self._parts[name] = part
                self._fresh[name] = None
            self._uses[name] = self._uses.get(name, 0) + 1
        return tuple(names)

    def release(self, names: Iterable[bytes]) -> None:
        """A record names these parts no longer."""
        for name in names:
            self._uses[name] -= 1
            if not self._uses[name]:
                del self._uses[name], self._parts[name]
                self._sent.pop(name, None)

    def take_fresh(self, names: tuple[bytes, ...] | None = None) -> list[bytes]:
        """The names that have come and were not taken yet: of these, or all."""
        taken = [name for name in names or tuple(self._fresh) if name in self._fresh]
        for name in taken:
            del self._fresh[name]
        return taken

    def left_since(self, time: float, name: bytes) -> bool:
        """Whether a part has left since then, so that it may still be on its way."""
        return self._sent.get(name, -math.inf) >= time

    def chunks(self, name: bytes, now: float) -> list[bytes]:
        """The messages that carry a part; none when nobody names it any more."""
        part = self._parts.get(name)
        if part is None:
            return []
        self._sent[name] = now
        total = len(part.data)
        return [
            Cold(
                self._instance,
                self._stream,
                name,
                part.kind,
                total,
                at,
                part.data[at : at + COLD_CHUNK],
            ).encode()
            for at in range(0, max(1, total), COLD_CHUNK)
        ]
