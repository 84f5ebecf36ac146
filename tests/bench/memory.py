"""``python -m tests.bench.memory``: what an imported client costs a standby's OpenVPN in memory.

A record of a stock client, exported by the real OpenVPN, is imported many times under other ids and
addresses. Writes ``memory.json`` and shows it; ``--clients N`` (5,000), ``--output DIR``.
"""

from __future__ import annotations

import argparse
import base64
import json
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from tests.bench.manager import Manager
from tests.lab import plan
from tests.lab.errors import LabError
from tests.lab.lab import Lab
from tests.lab.node import Setup
from tests.lab.processes import resident_kib
from tests.lab.topology import change_vip
from tests.model_openvpn import read_record

OPENVPN = Path("build/openvpn/openvpn").resolve()
HEAD = 4
UID, PEER_ID, SESSION, REMOTE, TUNNEL, TUNNEL6 = 0x8001, 0x8003, 0x8005, 0x800B, 0x800C, 0x800D
BATCH = 50
POOL = "server 10.8.0.0 255.255.0.0"
POOL_START = IPv4Address("10.8.0.2")
POOL6_START = plan.TUNNEL6.network_address + 0x1000
FIRST_INDEX = 1000
FIRST_CLIENT = IPv4Address("10.99.2.0")
GOAL_KIB = 40.0


@dataclass(frozen=True)
class Sample:
    """One exported client."""

    generation: int
    hot: bytes
    cold: dict[int, bytes]

    def copy(self, number: int) -> bytes:
        """The commands that import it as another client."""
        uid = struct.pack("!Q", (1 << 63) + number)
        index = FIRST_INDEX + number
        tunnel = struct.pack("!I", int(POOL_START) + index)
        tunnel6 = (int(POOL6_START) + index).to_bytes(16, "big")
        changed = {
            UID: uid,
            SESSION: uid,
            PEER_ID: struct.pack("!I", number + 100),
            REMOTE: struct.pack("!IH", int(FIRST_CLIENT) + number // 60000, 2000 + number % 60000),
            TUNNEL: tunnel,
            TUNNEL6: tunnel6,
        }
        fields = b"".join(
            struct.pack("!HH", tag, len(data)) + data
            for tag, data in (
                (tag, changed.get(tag, data) + data[len(changed.get(tag, data)) :])
                for tag, data in _fields(self.hot)
            )
        )
        lines = [f"cluster-import {uid.hex()} {self.generation}"]
        lines += _cut("HOT", self.hot[:HEAD] + fields)
        for kind, data in self.cold.items():
            lines += _cut(f"COLD,{kind}", data)
        return "\n".join([*lines, "END", ""]).encode()


def _fields(part: bytes) -> Iterator[tuple[int, bytes]]:
    at = HEAD
    while at < len(part):
        tag, length = struct.unpack_from("!HH", part, at)
        yield tag, part[at + 4 : at + 4 + length]
        at += 4 + length


def _cut(prefix: str, data: bytes) -> list[str]:
    text = base64.b64encode(data).decode()
    return [f"{prefix},{text[at : at + 512]}" for at in range(0, len(text), 512)]


def widen(lab: Lab, *options: str) -> None:
    """Room for many clients, and more options for the servers."""
    file = lab.directory / "server.conf"
    text = file.read_text()
    wide = text.replace(f"server {plan.TUNNEL.network_address} {plan.TUNNEL.netmask}", POOL)
    if wide == text:
        raise LabError("the lab's server has another pool than this benchmark thinks")
    file.write_text("\n".join([wide, "max-clients 12000", *options, ""]))


def capture(lab: Lab) -> Sample:
    """The record of one real client of node a."""
    node = lab.nodes["a"]
    node.openvpn.start()
    with Manager(node.directory / "openvpn.sock") as manager:
        change_vip(lab.topology.namespace("a"), plan.OUT, "add")
        manager.ask("cluster-promote 1/a")
        lab.start_clients(1)
        uid = manager.ask("cluster-list")[0].split(",")[0]
        lines = manager.ask(f"cluster-export {uid}")
    hot, cold, _ = read_record(lines[1:-1])
    return Sample(int(lines[0].split(",")[2]), hot, cold)


def fill(manager: Manager, sample: Sample, clients: int) -> None:
    """Import so many copies of a client."""
    for at in range(1, clients + 1, BATCH):
        manager.load([sample.copy(n) for n in range(at, min(at + BATCH, clients + 1))])


def measure(clients: int) -> dict[str, float]:
    """KiB for each client."""
    with Lab(Setup(openvpn=OPENVPN, vip_manager=None)) as lab:
        widen(lab)
        sample = capture(lab)
        node = lab.nodes["b"]
        node.openvpn.start()
        with Manager(node.directory / "openvpn.sock") as manager:
            manager.load([sample.copy(0)])
            before = resident_kib(node.openvpn.pid)
            fill(manager, sample, clients)
            imported = resident_kib(node.openvpn.pid)
            manager.ask("cluster-promote 2/b")
            promoted = resident_kib(node.openvpn.pid)
        return {
            "clients": clients,
            "imported_kib_per_client": (imported - before) / clients,
            "promoted_kib_per_client": (promoted - before) / clients,
        }


def main(arguments: list[str]) -> int:
    """Measure, write and show."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.memory")
    parser.add_argument("--clients", type=int, default=5000)
    parser.add_argument("--output", type=Path, default=Path("build/bench"))
    options = parser.parse_args(arguments)
    try:
        figures = measure(options.clients)
    except LabError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "memory.json").write_text(json.dumps(figures, indent=2) + "\n")
    for name, value in figures.items():
        print(f"{name:28} {value:10.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
