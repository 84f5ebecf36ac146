"""Cold parts on the receiving side: reassembled, checked against their name, kept while named.

Decides what is kept and for how long, never who asks for it. Equal parts of different clients are
one. Bounds: docs/wire.md, "What a receiver may keep". A part whose content does not have its name
is thrown away, no matter who sent it.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from ovpnha.model import ColdPart
from ovpnha.replication.messages import (
    COLD_CHUNK,
    Cold,
)

UNNAMED_LIMIT = 1024 * 1024  # bytes of whole parts that no record names
PARTIAL_LIMIT = 4 * 1024 * 1024  # bytes of parts that are not whole yet


@dataclass(slots=True)
class _Partial:
    kind: int
    total: int
    chunks: dict[int, bytes] = field(default_factory=dict)


class ColdReceiver:
    """Whole parts by name, and the pieces of those that are still arriving."""

    def __init__(self) -> None:
        self._parts: dict[bytes, ColdPart] = {}
        self._uses: dict[bytes, int] = {}
        self._retained: set[bytes] = set()
        self._unnamed: OrderedDict[bytes, None] = OrderedDict()
        self._unnamed_bytes = 0
        self._partial: OrderedDict[bytes, _Partial] = OrderedDict()
        self._partial_bytes = 0
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._parts)

    def __contains__(self, name: bytes) -> bool:
        return name in self._parts

    def get(self, name: bytes) -> ColdPart:
        """A part that is whole."""
        return self._parts[name]

    def name(self, names: tuple[bytes, ...]) -> None:
        """A record names these parts from now on, whether they are here or not."""
        for name in names:
            self._uses[name] = self._uses.get(name, 0) + 1
            if name in self._unnamed:
                del self._unnamed[name]
                self._unnamed_bytes -= len(self._parts[name].data)

    def unname(self, names: tuple[bytes, ...]) -> None:
        """A record names these parts no longer."""
        for name in names:
            self._uses[name] -= 1
            if not self._uses[name]:
                del self._uses[name]
                if name in self._parts:
                    self._keep_unnamed(name)

    def retain(self, names: tuple[bytes, ...]) -> None:
        """A record of a copy that ends has named these parts; the next copy may name them too."""
        fresh = tuple(set(names) - self._retained)
        self.name(fresh)
        self._retained.update(fresh)
        self.unname(names)

    def release(self) -> None:
        """That copy is whole: what it does not name is retained no longer."""
        self.unname(tuple(self._retained))
        self._retained.clear()

    def add(self, chunk: Cold) -> bool:
        """Take a chunk in; true when it made its part whole."""
        if chunk.name in self._parts:
            return False
        if chunk.offset == 0 and len(chunk.data) == chunk.total:
            return self._complete(chunk.name, ColdPart(chunk.kind, chunk.data))
        return self._add_partial(chunk)

    def _add_partial(self, chunk: Cold) -> bool:
        partial = self._partial.get(chunk.name)
        if partial is None:
            partial = self._partial[chunk.name] = _Partial(chunk.kind, chunk.total)
            self._partial_bytes += chunk.total
            self._drop_partials()
        if partial.total != chunk.total or chunk.offset % COLD_CHUNK:
            return False
        partial.chunks[chunk.offset] = chunk.data
        if sum(map(len, partial.chunks.values())) < partial.total:
            return False
        self._forget_partial(chunk.name)
        data = b"".join(data for _, data in sorted(partial.chunks.items()))
        return self._complete(chunk.name, ColdPart(partial.kind, data))

    def _complete(self, name: bytes, part: ColdPart) -> bool:
        if part.name != name:
            return False
        self._parts[name] = part
        self.bytes += len(part.data)
        if name not in self._uses:
            self._keep_unnamed(name)
        return True

    def _keep_unnamed(self, name: bytes) -> None:
        self._unnamed[name] = None
        self._unnamed_bytes += len(self._parts[name].data)
        while self._unnamed_bytes > UNNAMED_LIMIT:
            oldest, _ = self._unnamed.popitem(last=False)
            size = len(self._parts.pop(oldest).data)
            self._unnamed_bytes -= size
            self.bytes -= size

    def _drop_partials(self) -> None:
        while self._partial_bytes > PARTIAL_LIMIT:
            self._forget_partial(next(iter(self._partial)))

    def _forget_partial(self, name: bytes) -> None:
        self._partial_bytes -= self._partial.pop(name).total
