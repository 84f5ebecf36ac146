"""Junk at the socket of a standby, from the namespace of the master, at a rate that is reported."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ovpnha.replication.sealing import MAGIC, VERSION, cluster_tag
from tests.bench.cluster import ADDRESSES, PORT, Cluster
from tests.lab.process import Process

RATE = 100_000
SOURCE = Path(__file__).with_name("junk.c")


def kinds(cluster: str) -> dict[str, bytes]:
    """Heads by the check that refuses what begins with them."""
    ours = MAGIC + cluster_tag(cluster) + bytes([VERSION])
    return {
        "foreign": b"",
        "unknown_key": ours,
    }


class Junk:
    """A sender that runs for some seconds."""

    def __init__(self, cluster: Cluster, namespace: str, head: bytes, seconds: float) -> None:
        binary = cluster.directory / "junk"
        if not binary.exists():
            subprocess.run(["gcc", "-O2", "-o", binary, SOURCE], check=True)
        self._seconds = seconds
        self._process = Process(
            [binary, ADDRESSES["b"], str(PORT), str(seconds), head.hex(), str(RATE)],
            namespace=namespace,
            directory=cluster.directory,
            log=cluster.directory / "junk.log",
        )
        self._log = cluster.directory / "junk.log"

    def __enter__(self) -> Junk:
        self._process.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.discard()

    def finish(self) -> tuple[int, float]:
        """Wait for the end: how many were sent, in how many seconds."""
        self._process.wait(self._seconds + 20)
        sent, seconds = self._log.read_text().split()[-2:]
        return int(sent), float(seconds)
