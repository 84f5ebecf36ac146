"""Any number of different records from a few real ones.

What differs between two clients of the captured samples (keys, ids, certificates, addresses,
names) is drawn anew for each client; what is equal stays. So the sizes, and how well the records
compress against each other, are those of real clients.
"""

from __future__ import annotations

import base64
import random
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tests.bench.capture import Sample

ENVIRONMENT = 7
CUT = 512
GRANT_SIZE = 1 << 20
ALWAYS_OWN = re.compile(rb"(time_|trusted_|untrusted_|ifconfig_pool_remote)")
DIGITS = b"0123456789"
HEX = b"0123456789abcdef"


@dataclass
class FakeClient:
    """One client of the fake OpenVPN."""

    uid: bytes
    fingerprint: bytes
    generation: int
    lines: bytes  # HOT and COLD lines
    grants: dict[bytes, int] = field(default_factory=dict)  # end of each holder's range

    def export(self, cid: int, holders: list[bytes]) -> bytes:
        """The answer to cluster-export; a new holder gets the next range."""
        out = [b"RECORD,%s,%d,%d\r\n" % (self.uid, self.generation, cid), self.lines]
        for holder in holders:
            end = self.grants.setdefault(holder, (len(self.grants) + 2) * GRANT_SIZE)
            place = (holder, self.fingerprint, end - GRANT_SIZE, end)
            out.append(b"GRANT,%s,%s,%d,%d\r\n" % place)
        return b"".join([*out, b"END\r\n"])


class ClientMaker:
    """Draws clients."""

    def __init__(self, samples: list[Sample], seed: int) -> None:
        self._sample, self._other = samples[:2]
        self._rng = random.Random(seed)  # noqa: S311 - material of a benchmark
        hot, other = self._sample.hot, self._other.hot
        self._differing = {0: _differing(hot, other)} | {
            kind: _differing(data, self._other.cold[kind])
            for kind, data in self._sample.cold.items()
            if kind != ENVIRONMENT
        }

    def make(self) -> FakeClient:
        """A client that no other resembles more than real ones do."""
        rng = self._rng
        lines = [*_cut(b"HOT", self._vary(0, self._sample.hot))]
        for kind, data in self._sample.cold.items():
            varied = self._environment(data) if kind == ENVIRONMENT else self._vary(kind, data)
            lines += _cut(b"COLD,%d" % kind, varied)
        uid, fingerprint = rng.randbytes(8).hex().encode(), rng.randbytes(8).hex().encode()
        return FakeClient(uid, fingerprint, 1, b"".join(lines))

    def _vary(self, kind: int, data: bytes) -> bytes:
        varied = bytearray(data)
        for at in self._differing[kind]:
            varied[at] = self._rng.randrange(256)
        return bytes(varied)

    def _environment(self, data: bytes) -> bytes:
        """New values for the variables that differ, of the same shape; equal ones stay equal."""
        drawn: dict[bytes, bytes] = {}
        out = []
        for line, other in zip(
            data.split(b"\n"), self._other.cold[ENVIRONMENT].split(b"\n"), strict=True
        ):
            name, _, value = line.partition(b"=")
            if value and (line != other or ALWAYS_OWN.match(name)):
                value = drawn.setdefault(value, self._reshape(value))
                line = name + b"=" + value
            out.append(line)
        return b"\n".join(out)

    def _reshape(self, value: bytes) -> bytes:
        alphabet = HEX if b":" in value else DIGITS
        choice = self._rng.choice
        return bytes(choice(alphabet) if one in alphabet else one for one in value)


def _differing(one: bytes, other: bytes) -> list[int]:
    return [at for at, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]


def _cut(prefix: bytes, data: bytes) -> Iterator[bytes]:
    text = base64.b64encode(data)
    for at in range(0, len(text), CUT):
        yield b"%s,%s\r\n" % (prefix, text[at : at + CUT])


def high_water_lines(clients: list[FakeClient], mark: int) -> bytes:
    """>CLUSTER:HW lines in which every client has received this packet id."""
    packed = struct.pack("!I", mark)
    entries = [bytes.fromhex((one.uid + one.fingerprint).decode()) + packed for one in clients]
    return _counter_lines(b">CLUSTER:HW,", entries, 45)


def byte_count_lines(clients: list[FakeClient], count: int) -> bytes:
    """>CLUSTER:BYTES lines in which every client has this byte count."""
    packed = struct.pack("!QQ", count, count)
    entries = [bytes.fromhex(one.uid.decode()) + packed for one in clients]
    return _counter_lines(b">CLUSTER:BYTES,", entries, 37)


def _counter_lines(prefix: bytes, entries: list[bytes], most: int) -> bytes:
    groups = (entries[at : at + most] for at in range(0, len(entries), most))
    return b"".join(prefix + base64.b64encode(b"".join(one)) + b"\r\n" for one in groups)


def client_list(clients: Iterable[FakeClient]) -> bytes:
    """The answer to ``status 3``, as OpenVPN writes it."""
    header = (
        b"HEADER\tCLIENT_LIST\tCommon Name\tReal Address\tVirtual Address\tVirtual IPv6 Address"
        b"\tBytes Received\tBytes Sent\tConnected Since\tConnected Since (time_t)\tUsername"
        b"\tClient ID\tPeer ID\tData Channel Cipher\r\n"
    )
    rows = [
        b"CLIENT_LIST\tclient-%d\t192.0.2.1:%d\t10.8.%d.%d\t\t1000\t2000\t2026-11-21 06:00:00"
        b"\t1795240800\tUNDEF\t%d\t%d\tAES-256-GCM\r\n" % (at, 1024 + at, at >> 8, at & 255, at, at)
        for at, _ in enumerate(clients)
    ]
    return b"".join([header, *rows, b"END\r\n"])
