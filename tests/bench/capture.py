"""Records as the real patched OpenVPN exports them: the material of the benchmark.

Two stock clients (AES-256-GCM, tls-crypt, certificate only, no client-config-dir, the peer_info
that a client sends by default) connect to it in a lab; nothing of what is exported is looked into.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ovpnha.lab import plan
from ovpnha.lab.lab import Lab
from ovpnha.lab.node import Setup
from ovpnha.lab.topology import change_vip
from ovpnha.lab.waiting import wait_until
from tests.model_openvpn import read_record

OPENVPN = Path("build/openvpn/openvpn").resolve()
HOLDER = "0123456789abcdef" * 2
SECONDS = 15.0


@dataclass(frozen=True)
class Sample:
    """One exported record."""

    hot: bytes
    cold: dict[int, bytes]
    fingerprints: tuple[bytes, ...]


def capture(count: int = 2) -> list[Sample]:
    """Connect so many clients and export each."""
    with Lab(Setup(openvpn=OPENVPN, keepalived=False)) as lab:
        node = lab.nodes["a"]
        node.openvpn.start()
        path = node.directory / "openvpn.sock"
        wait_until(path.exists, "OpenVPN's management socket", SECONDS)
        change_vip(lab.topology.namespace("a"), plan.OUT, "add")
        with _Manager(path) as manager:
            manager.ask("cluster-promote 1/a")
            lab.start_clients(count)
            uids = [line.split(",")[0] for line in manager.ask("cluster-list")]
            return [_read(manager.ask(f"cluster-export {uid} {HOLDER}")) for uid in uids]


def _read(lines: list[str]) -> Sample:
    hot, cold, grants = read_record(lines[1:])
    return Sample(hot, cold, tuple(dict.fromkeys(grant[1] for grant in grants)))


class _Manager:
    """A management client for a few commands."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(SECONDS)
        self._socket.connect(str(path))
        self._file = self._socket.makefile("r", encoding="ascii", newline="\n")

    def __enter__(self) -> _Manager:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def ask(self, command: str) -> list[str]:
        """The lines of the reply, without SUCCESS or END."""
        self._socket.sendall(f"{command}\n".encode())
        return list(self._reply())

    def _reply(self) -> Iterator[str]:
        for line in self._file:
            text = line.rstrip("\r\n")
            if text.startswith(">"):
                continue
            if text == "END" or text.startswith(("SUCCESS", "ERROR")):
                return
            yield text
