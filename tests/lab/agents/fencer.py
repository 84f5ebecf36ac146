"""The power switch of a lab: ends a node that ``tests/lab/fence_lab`` names, and answers then.

A node that is off has no process and no address. Its namespace and its links stay, so that it can
be started again. What runs this program is never ended, whatever namespace it is in just then.

    python -m tests.lab.agents.fencer HOME NAME=NAMESPACE …

HOME gets the FIFO ``requests``, the answers, and ``fenced``, a line for each node that was ended.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.lab.cleanup import NAMESPACES, end_inhabitants
from tests.lab.plan import LAN, OUT


def main(home: Path, namespaces: dict[str, str]) -> None:
    """Serve until it is ended."""
    os.mkfifo(home / "requests")
    for node, answer in _requests(home / "requests"):
        end(namespaces[node])
        with (home / "fenced").open("a") as file:
            file.write(f"{time.monotonic_ns()} {node}\n")
        (home / answer).touch()


def _requests(path: Path) -> Iterator[tuple[str, str]]:
    # Open for writing, too: without a writer a FIFO is at its end.
    with os.fdopen(os.open(path, os.O_RDWR), "r") as fifo:
        for line in fifo:
            node, answer = line.split()
            yield node, answer


def end(namespace: str) -> None:
    """All processes of a namespace, and the addresses that move."""
    end_inhabitants({(NAMESPACES / namespace).stat().st_ino}, spared=set(_ancestors(os.getpid())))
    for segment in (OUT, LAN):
        for address in (f"{segment.vip}/24", f"{segment.vip6}/64"):
            command = ["ip", "-n", namespace, "address", "del", address, "dev", segment.interface]
            subprocess.run(command, check=False, stderr=subprocess.DEVNULL)


def _ancestors(pid: int) -> Iterator[int]:
    while pid > 1:
        yield pid
        status = Path(f"/proc/{pid}/status").read_text()
        pid = int(next(line for line in status.splitlines() if line.startswith("PPid:")).split()[1])


if __name__ == "__main__":
    main(Path(sys.argv[1]), dict(one.split("=") for one in sys.argv[2:]))
