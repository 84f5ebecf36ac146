"""Records as the real patched OpenVPN exports them: the material of the benchmark.

Two stock clients (AES-256-GCM, tls-crypt, certificate only, no client-config-dir, the peer_info
that a client sends by default) connect to it in a lab; nothing of what is exported is looked into.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.bench.manager import Manager
from tests.lab import plan
from tests.lab.lab import Lab
from tests.lab.node import Setup
from tests.lab.topology import change_vip
from tests.model_openvpn import read_record

OPENVPN = Path("build/openvpn/openvpn").resolve()
HOLDER = "0123456789abcdef" * 2


@dataclass(frozen=True)
class Sample:
    """One exported record."""

    hot: bytes
    cold: dict[int, bytes]
    fingerprints: tuple[bytes, ...]


def capture(count: int = 2) -> list[Sample]:
    """Connect so many clients and export each."""
    with Lab(Setup(openvpn=OPENVPN, vip_manager=None)) as lab:
        node = lab.nodes["a"]
        node.openvpn.start()
        path = node.directory / "openvpn.sock"
        change_vip(lab.topology.namespace("a"), plan.OUT, "add")
        with Manager(path) as manager:
            manager.ask("cluster-promote 1/a")
            lab.start_clients(count)
            uids = [line.split(",")[0] for line in manager.ask("cluster-list")[:-1]]
            return [_read(manager.ask(f"cluster-export {uid} {HOLDER}")) for uid in uids]


def _read(lines: list[str]) -> Sample:
    hot, cold, grants = read_record(lines[1:-1])
    return Sample(hot, cold, tuple(dict.fromkeys(grant[1] for grant in grants)))
