"""A fast stand-in for the patched OpenVPN, a process of its own: docs/management.md, no crypto.

``python -m tests.bench.openvpn SOCKET VIP SAMPLES SEED CLIENTS`` serves one management socket. Its
standard input takes one JSON order a line, its standard output gives one JSON answer each.
Protected is a client of a master when a standby's OpenVPN has stored its range (cluster-stored):
that is what the times from connect to protected are measured to.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import os
import pickle
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench.records import (
    ClientMaker,
    FakeClient,
    byte_count_lines,
    client_list,
    high_water_lines,
)

BYTES_EVERY = 10  # seconds
SLICE = 333  # clients whose counters are written before anything else has its turn
BLOCKS = (b"cluster-import", b"cluster-update", b"cluster-cookie")
"""The commands of which more lines follow, up to END."""


class FakeOpenvpn:
    """The clients, and the answers."""

    def __init__(self, maker: ClientMaker, clients: int, vip: str) -> None:
        self.maker = maker
        self.vip = vip
        self.role = "standby"
        self.holder = os.urandom(16).hex().encode()
        self.epoch = b"-"
        self.clients: dict[bytes, FakeClient] = {}
        self.copies: dict[bytes, int] = {}
        self.changed_at: dict[bytes, float] = {}
        self.lags: list[float] = []
        self.stored = 0
        self.connected_at = 0.0
        self.last_import = 0.0
        self.last_stored = 0.0
        self.updates = 0
        self.transport: asyncio.WriteTransport | None = None
        self._starting: asyncio.Task[None] | None = None
        for _ in range(clients):
            one = maker.make()
            self.clients[one.uid] = one

    def say(self, data: bytes) -> None:
        """Notify, when someone listens."""
        if self.transport is not None:
            self.transport.write(data)

    def answer(self, line: bytes, block: list[bytes]) -> bytes:
        """The reply to one command."""
        words = line.split(b" ")
        if line == b"status 3":
            return client_list(self.clients.values())
        name = words[0].removeprefix(b"cluster-").decode()
        method = getattr(self, f"_do_{name}", None)
        if method is None:
            return b"ERROR: unknown command, enter 'help' for more options\r\n"
        return bytes(method(words, block))

    def _do_status(self, _: list[bytes], __: list[bytes]) -> bytes:
        text = (
            f"version=2,format=1,role={self.role},instances={len(self.copies)},"
            f"holder={self.holder.decode()},epoch={self.epoch.decode()},openvpn=2.6.14,"
            f"local={self.vip},port=1194,proto=udp4,broadcast=10.77.0.255,bcn-port=11940,"
            "digest=d1,cert=c1,issuer=i1,max-clients=20000,capped=0"
        )
        return f"SUCCESS: cluster-status {text}\r\n".encode()

    def _do_list(self, _: list[bytes], __: list[bytes]) -> bytes:
        known = {uid: one.generation for uid, one in self.clients.items()} | self.copies
        lines = [b"%s,%d,%d\r\n" % (uid, known[uid], at) for at, uid in enumerate(known)]
        return b"".join([*lines, b"END\r\n"])

    def _do_export(self, words: list[bytes], _: list[bytes]) -> bytes:
        one = self.clients.get(words[1])
        if one is None:
            return b"ERROR: cluster-export %s: unknown-client unknown client\r\n" % words[1]
        return one.export(1, [name for word in words[2:] for name in word.split(b",")])

    def _do_import(self, words: list[bytes], block: list[bytes]) -> bytes:
        self.copies[words[1]] = int(words[2])
        self.last_import = time.monotonic()
        grants = [line.split(b",") for line in block if line.startswith(b"GRANT")]
        stored = b",".join(b"%s:%s" % (grant[2], grant[4]) for grant in grants)
        return b"SUCCESS: cluster-import %s %s %s\r\n" % (words[1], words[2], stored)

    def _do_update(self, _: list[bytes], block: list[bytes]) -> bytes:
        applied = sum(len(line) * 3 // 4 // 20 for line in block)
        self.updates += applied
        return b"SUCCESS: cluster-update applied=%d,unknown=0\r\n" % applied

    def _do_cookie(self, _: list[bytes], __: list[bytes]) -> bytes:
        return b"SUCCESS: cluster-cookie\r\n"

    def _do_stored(self, words: list[bytes], _: list[bytes]) -> bytes:
        self.stored += 1
        self.last_stored = time.monotonic()
        since = self.changed_at.pop(words[1], None)
        if since is not None:
            self.lags.append(self.last_stored - since)
        return b"SUCCESS: cluster-stored\r\n"

    def _do_drop(self, words: list[bytes], _: list[bytes]) -> bytes:
        self.copies.pop(words[1], None)
        return b"SUCCESS: cluster-drop\r\n"

    def _do_promote(self, words: list[bytes], _: list[bytes]) -> bytes:
        self.role, self.epoch = "master", words[1]
        self.say(b">CLUSTER:STATE,master,%s\r\n" % self.holder)
        return b"SUCCESS: cluster-promote instances=%d,usec=1\r\n" % len(self.clients)

    def _do_hold(self, _: list[bytes], __: list[bytes]) -> bytes:
        self.role = "held"
        return b"SUCCESS: cluster-hold instances=%d\r\n" % len(self.clients)

    # Orders of the benchmark.

    async def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        """Carry out one order."""
        match order["do"]:
            case "connect":
                await self._connect_clients(order["count"], order["every"])
            case "start":
                self._starting = asyncio.create_task(
                    self._connect_clients(order["count"], order["every"])
                )
            case "counters":
                await self._counters(order["seconds"])
            case "forget":
                self.stored, self.lags, self.updates = 0, [], 0
        return {
            "clients": len(self.clients),
            "copies": len(self.copies),
            "stored": self.stored,
            "lags": self.lags,
            "unprotected": len(self.changed_at),
            "connected_at": self.connected_at,
            "last_import": self.last_import,
            "last_stored": self.last_stored,
            "updates": self.updates,
            "starting": self._starting is not None and not self._starting.done(),
        }

    async def _connect_clients(self, count: int, every: float) -> None:
        """New clients, one at a time."""
        fresh = [self.maker.make() for _ in range(count)]
        for one in fresh:
            self.clients[one.uid] = one
            self.changed_at[one.uid] = time.monotonic()
            self.say(b">CLUSTER:CHANGED,%s,1,1,connect\r\n" % one.uid)
            await asyncio.sleep(every)

    async def _counters(self, seconds: int) -> None:
        """Every client's counters change once a second, in the background."""
        self._background = asyncio.create_task(self._report(seconds))

    async def _report(self, seconds: int) -> None:
        begin = time.monotonic()
        for second in range(1, seconds + 1):
            self.say(await self._write(high_water_lines, second * 1000))
            if second % BYTES_EVERY == 0:
                self.say(await self._write(byte_count_lines, second * 1000))
            await asyncio.sleep(max(0.0, begin + second - time.monotonic()))

    async def _write(self, lines: Callable[[list[FakeClient], int], bytes], value: int) -> bytes:
        """In slices: OpenVPN writes all of it in a millisecond, and we would answer nobody."""
        clients = list(self.clients.values())
        written = []
        for at in range(0, len(clients), SLICE):
            written.append(lines(clients[at : at + SLICE], value))
            await asyncio.sleep(0)
        return b"".join(written)


class Management(asyncio.Protocol):
    """One connection of the sidecar."""

    def __init__(self, openvpn: FakeOpenvpn) -> None:
        self._openvpn = openvpn
        self._rest = b""
        self._command = b""
        self._block: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._openvpn.transport = transport
        self._openvpn.connected_at = time.monotonic()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._openvpn.transport = None

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        replies = [reply for line in lines if (reply := self._take(line))]
        self._openvpn.say(b"".join(replies))

    def _take(self, line: bytes) -> bytes:
        if self._command and line != b"END":
            self._block.append(line)
            return b""
        if not self._command and line.startswith(BLOCKS):
            self._command = line
            return b""
        command, block = self._command or line, self._block
        self._command, self._block = b"", []
        return self._openvpn.answer(command, block)


async def _serve(path: Path, openvpn: FakeOpenvpn) -> None:
    loop = asyncio.get_running_loop()
    await loop.create_unix_server(lambda: Management(openvpn), str(path))
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    print(json.dumps({"ready": True}), flush=True)
    while line := await orders.readline():
        print(json.dumps(await openvpn.obey(json.loads(line))), flush=True)


def main() -> None:
    """Serve until the standard input ends."""
    path, vip, samples, seed, clients = sys.argv[1:]
    maker = ClientMaker(pickle.loads(base64.b64decode(samples)), int(seed))  # noqa: S301 - ours
    openvpn = FakeOpenvpn(maker, int(clients), vip)
    gc.disable()  # a collection would stand in every figure that is measured here
    asyncio.run(_serve(Path(path), openvpn))


if __name__ == "__main__":
    main()
